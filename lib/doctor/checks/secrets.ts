/**
 * Permissions of files that hold secrets.
 *
 * @module
 */
import type { HostFiles } from "../host_files.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** A file that holds a secret. */
export interface SecretFile {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
}

/** Reads the modes of the files that the options and the backend name. */
export const secrets: Check<readonly SecretFile[]> = {
  name: "secrets",
  group: "host",
  looksAt: "permissions of files that hold keys and passwords",
  async read(scene) {
    const { options } = scene;
    const { network } = await scene.store().catch(() => ({ network: undefined }));
    const paths = [
      options.etcdKeyfile,
      options.kubeconfigFile,
      options.store.kind === "sqlite" ? options.store.path : undefined,
      ...network?.backend.files?.() ?? [],
      "/etc/default/flanneld",
      "/etc/sysconfig/flanneld",
    ];
    const files: SecretFile[] = [];
    for (const path of new Set(paths)) {
      const mode = path ? await scene.files.mode(path) : undefined;
      if (path && mode !== undefined && await holdsSecret(path, scene.files)) {
        files.push({ path, mode: mode & 0o777 });
      }
    }
    return files;
  },
  judge(files) {
    const open = files.filter(({ mode }) => (mode & 0o077) !== 0);
    if (open.length === 0) return files.length === 0 ? [] : [ok("only their owners read keys and passwords")];
    return open.map(({ path, mode }): Finding => ({
      severity: (mode & 0o007) !== 0 ? "warning" : "note",
      text: `${path} holds a secret and ${(mode & 0o007) !== 0 ? "everybody" : "its group"} may open it`,
      evidence: [`mode ${mode.toString(8).padStart(4, "0")}`],
      remedy: [`chmod ${path.endsWith(".db") ? "0600" : "go-rwx"} ${path}`],
    }));
  },
};

/** A file of settings holds one only where it sets a password. */
async function holdsSecret(path: string, files: HostFiles): Promise<boolean> {
  if (!path.startsWith("/etc/default/") && !path.startsWith("/etc/sysconfig/")) return true;
  const text = await files.text(path) ?? "";
  return /^\s*[^#\n]*(PASSWORD|SECRET|TOKEN|-etcd-password)\S*\s*=\s*\S/m.test(text);
}

/**
 * Containers by crun, the runtime that containerd and podman run theirs with, as a DaemonSet's Pod has them: the host's
 * network, a read-only root, few capabilities, no new privileges.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { run } from "../../scripts/lab/process.ts";
import { builtBinary } from "./built_binary.ts";

/** A folder or file of the host in the container. */
export interface Mount {
  readonly from: string;
  readonly to: string;
  readonly isReadOnly?: boolean;
}

/** Makes the image of this checkout (a tar with an OCI layout). */
export async function makeImage(out: string): Promise<void> {
  const script = fileURLToPath(new URL("../../scripts/image.ts", import.meta.url));
  await run([Deno.execPath(), "run", "-A", script, "--binary", await builtBinary(), "--out", out]);
}

/** Whether this machine has crun. */
export function hasCrun(): boolean {
  return new Deno.Command("sh", { args: ["-c", "command -v crun"], stdout: "null" }).outputSync().success;
}

/** Unpacks an image's layers (a tar with an OCI layout) into a folder, the lowest first. @returns What it starts. */
export async function unpackImage(image: string, folder: string, root: string): Promise<string[]> {
  await Deno.mkdir(folder);
  await Deno.mkdir(root);
  await run(["tar", "-xf", image, "-C", folder]);
  const blob = async (digest: string) =>
    JSON.parse(await Deno.readTextFile(`${folder}/blobs/${digest.replace(":", "/")}`));
  const index = JSON.parse(await Deno.readTextFile(`${folder}/index.json`));
  const manifest = await blob(index.manifests[0].digest);
  for (const { digest } of manifest.layers) {
    await run(["tar", "-xzf", `${folder}/blobs/${digest.replace(":", "/")}`, "-C", root]);
  }
  return (await blob(manifest.config.digest)).config.Entrypoint;
}

/** What a container is. */
export interface PodOptions {
  readonly root: string;
  readonly entrypoint: readonly string[];
  readonly mounts: readonly Mount[];
  /** Without CAP_. */
  readonly capabilities: readonly string[];
  /** Names of variables that are passed on. */
  readonly env: readonly string[];
}

/** Cgroup v2 alone, for the runtime's eyes: it refuses a mixture of both. */
const CGROUP = "umount -R /sys/fs/cgroup 2>/dev/null || :; mount -t cgroup2 none /sys/fs/cgroup";

/**
 * Writes a program that runs the container in the network where it is started, with its own arguments, and becomes the
 * runtime. Arguments and values must need no escapes in JSON.
 *
 * @param path Its place; beside it stands the bundle.
 */
export async function writePod(path: string, options: PodOptions): Promise<void> {
  const { root, entrypoint, mounts, env } = options;
  const bundle = `${path}.bundle`;
  const capabilities = options.capabilities.map((name) => `CAP_${name}`);
  const bind = ({ from, to, isReadOnly }: Mount) => ({
    destination: to,
    type: "bind",
    source: from,
    options: ["rbind", isReadOnly ? "ro" : "rw"],
  });
  const config = {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ["@ARGS@"],
      env: ["PATH=/usr/sbin:/usr/bin", "@ENV@"],
      cwd: "/",
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
      { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "ro"] },
      { destination: "/run", type: "tmpfs", source: "tmpfs" },
      { destination: "/var/run", type: "tmpfs", source: "tmpfs" },
      ...mounts.map(bind),
    ],
    linux: {
      namespaces: ["mount", "pid", "ipc", "uts"].map((type) => ({ type })),
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"],
    },
  };
  const [head = "", middle = "", tail = ""] = JSON.stringify(config).split(/"@ARGS@"|"@ENV@"/);
  const first = entrypoint.map((word) => JSON.stringify(word)).join();
  const script = `#!/bin/sh
if [ "$1" != inside ]; then exec unshare --mount --propagation private "$0" inside "$@"; fi
shift; set -e
${CGROUP}
b='${bundle}'."$$"; mkdir "$b"
{
  printf '%s' '${head}${first}'
  for a in "$@"; do printf ',"%s"' "$a"; done
  printf '%s' '${middle}"A=b"'
  for name in ${env.join(" ")}; do
    eval "value=\\\${$name:-}"; if [ -n "$value" ]; then printf ',"%s=%s"' "$name" "$value"; fi
  done
  printf '%s' '${tail}'
} >"$b/config.json"
exec crun --root "$b/state" --cgroup-manager=disabled run --bundle "$b" "pod-$$"
`;
  await Deno.writeTextFile(path, script, { mode: 0o755 });
}

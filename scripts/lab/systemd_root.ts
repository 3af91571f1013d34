/**
 * The root folder of hosts with systemd, Docker and containerd: a Debian, made once by mmdebstrap and kept.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { run } from "./process.ts";

/** What hosts have beside a minimal Debian. */
const PACKAGES: readonly string[] = [
  ...["systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps"],
  ...["iproute2", "iptables", "nftables", "iputils-ping", "wireguard-go", "wireguard-tools"],
  ...["docker.io", "containerd", "containernetworking-plugins", "busybox-static"],
  ...["podman"],
];

/** Units that do nothing useful in a lab, or wait for what isn't there. */
const MASKED: readonly string[] = [
  ...["systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer"],
  ...["e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer"],
];

/** Changes with everything that this file does to a root beside installing packages. */
const RECIPE = 2;

const SOURCES = "/etc/apt/sources.list.d";

/** Why no such root can be made here; undefined where it can. */
export function whyNoSystemdRoot(): string | undefined {
  if (Deno.uid() !== 0) return "needs root";
  for (const program of ["mmdebstrap", "systemd-nspawn"]) {
    const { success } = new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" })
      .outputSync();
    if (!success) return `needs ${program}: deno task setup hosts`;
  }
  return undefined;
}

/** The release's code name. */
export async function release(): Promise<string> {
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(await Deno.readTextFile("/etc/os-release"))?.[1];
  if (name === undefined) throw new Error("/etc/os-release names no VERSION_CODENAME: is this a Debian?");
  return name;
}

/** This machine's own files of apt sources that have the release. */
export async function sourceFiles(suite: string): Promise<string[]> {
  const names = await Array.fromAsync(Deno.readDir(SOURCES), ({ name }) => `${SOURCES}/${name}`)
    .catch(() => []);
  const paths = ["/etc/apt/sources.list", ...names.filter((name) => /\.(list|sources)$/.test(name))];
  const found: string[] = [];
  for (const path of paths) {
    const text = await Deno.readTextFile(path).catch(() => "");
    if (new RegExp(`^[^#]*\\b${suite}\\b.*`, "m").test(text) && /^[^#]*\bmain\b/m.test(text)) {
      found.push(path);
    }
  }
  if (found.length === 0) throw new Error(`no file of apt sources has the release ${suite}`);
  return found.sort();
}

async function makeRoot(folder: string, suite: string, sources: readonly string[]): Promise<void> {
  const include = `--include=${PACKAGES.join(",")}`;
  await run(["mmdebstrap", "--quiet", "--variant=minbase", include, suite, folder, ...sources]);
  await run(["chroot", folder, "systemctl", "mask", ...MASKED]);
  // Where the containers' runtime looks for plugins; Debian keeps them elsewhere.
  await Deno.mkdir(`${folder}/opt/cni`, { recursive: true });
  await Deno.symlink("/usr/lib/cni", `${folder}/opt/cni/bin`);
  // Empty: each host gets an id of its own at its first boot, and that boot isn't taken for an installation's first.
  await Deno.writeTextFile(`${folder}/etc/machine-id`, "");
}

/**
 * The root, made where it isn't there yet. It is kept in the folder for temporary files under a name of its inputs;
 * roots of other inputs are removed. Nobody may write to it: hosts mount an overlay over it.
 */
export async function systemdRoot(): Promise<string> {
  const suite = await release();
  const sources = await sourceFiles(suite);
  const texts = await Promise.all(sources.map((path) => Deno.readTextFile(path)));
  const inputs = JSON.stringify([RECIPE, suite, Deno.build.arch, PACKAGES, MASKED, texts]);
  const temporary = Deno.env.get("TMPDIR") ?? "/tmp";
  const prefix = "flanneld-hosts-";
  const root = `${temporary}/${prefix}${createHash("sha256").update(inputs).digest("hex").slice(0, 16)}`;
  // One at a time: others wait and find it.
  using lock = await Deno.open(`${temporary}/${prefix}lock`, { create: true, write: true, mode: 0o600 });
  await lock.lock(true);
  if (await exists(root)) return root;
  for await (const { name } of Deno.readDir(temporary)) {
    if (name.startsWith(prefix) && name !== `${prefix}lock`) {
      await Deno.remove(`${temporary}/${name}`, { recursive: true });
    }
  }
  const unfinished = `${root}.new`;
  await makeRoot(unfinished, suite, sources);
  await Deno.rename(unfinished, root);
  return root;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

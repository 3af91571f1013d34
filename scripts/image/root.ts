/**
 * The file system of the image: the executable, nft and iptables with the libraries that they need, a shell for the
 * executable's launcher, and nothing else.
 *
 * @module
 */
import { dirname, join } from "../build/paths.ts";
import { run } from "../build/run.ts";
import type { Target } from "../build/runtime.ts";
import { release, sourceFiles } from "../lab/systemd_root.ts";

/** Debian's packages of which files are taken; the libraries come with them. */
const PACKAGES = ["nftables", "iptables", "busybox-static"];

/** What is taken of the packages: programs and libraries, without conversion tables, manuals and databases. */
const WANTED: readonly RegExp[] = [
  /^\/usr\/sbin\/(nft|ip6?tables(-(nft|legacy))?(-(save|restore))?|xtables-(nft|legacy)-multi)$/,
  /^\/usr\/bin\/busybox$/,
  /^\/usr\/lib64\/ld-linux[^/]*$/,
  /^\/usr\/lib\/[^/]*-linux-gnu\/[^/]+\.so[^/]*$/,
  /^\/usr\/lib\/ld-linux[^/]*$/,
  /^\/usr\/lib\/[^/]*-linux-gnu\/xtables\/[^/]+\.so$/,
  // The licences ask for it.
  /^\/usr\/share\/doc\/[^/]+\/copyright$/,
  /^\/etc\/(protocols|services|ethertypes)$/,
];

/** Of busybox: what the launcher calls, and no more. */
const APPLETS = ["sh", "stat", "uname", "id", "mkdir", "rm", "mv", "cp", "cat", "ls"];

/** Debian's busybox has no flock. What is unpacked in an image is never replaced: there is nothing to lock. */
const FLOCK =
  "#!/bin/sh\n# flanneld's launcher locks what it has unpacked; in this image nobody replaces it.\nexit 0\n";

/** Names that Debian's alternatives would give. */
const IPTABLES_LINKS = ["iptables", "ip6tables"].flatMap((name) =>
  ["", "-save", "-restore"].map((action) => [`${name}${action}`, `${name}-nft${action}`] as const)
);

/** Folders at which a DaemonSet mounts something: a read-only root can't get them later. */
const FOLDERS = [
  ...["/dev", "/proc", "/sys", "/tmp", "/root", "/run/flannel", "/var/lib/cni", "/var/run"],
  ...["/etc/kube-flannel", "/etc/cni/net.d", "/opt/cni/bin"],
];

/** What a name lookup and a log need of /etc. */
const ETC: Readonly<Record<string, string>> = {
  "/etc/passwd": "root:x:0:0:root:/root:/usr/bin/sh\n",
  "/etc/group": "root:x:0:\n",
  "/etc/nsswitch.conf": "hosts: files dns\n",
};

/** One of Debian's packages in the image. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** SHA-256 of the .deb, in hexadecimal digits. */
  readonly sha256: string;
  /** The short names of the licences in its copyright file; empty where that isn't in Debian's machine-readable form. */
  readonly licences: readonly string[];
}

/** A layer's folder and what it is made of. */
export interface DebianLayer {
  readonly folder: string;
  readonly packages: readonly DebianPackage[];
}

/** Unpacks Debian's packages for a target, whatever machine this is: nothing of them is run. */
export async function debianFiles(target: Target, scratch: string): Promise<DebianLayer> {
  const all = join(scratch, `debian-${target.debian}`), root = join(scratch, `tools-${target.debian}`);
  const suite = await release();
  const sums = join(scratch, `debian-${target.debian}.sums`);
  const list = `cd "$1/var/cache/apt/archives" && sha256sum *.deb > "${sums}"`;
  await run(scratch, [
    ...["mmdebstrap", "--quiet", "--variant=extract", `--architectures=${target.debian}`] as const,
    ...[`--include=${PACKAGES.join(",")}`, `--extract-hook=${list}`, suite, all, ...await sourceFiles(suite)],
  ]);
  await Deno.mkdir(root);
  await copyWanted(all, "", root);
  for (const [name, to] of IPTABLES_LINKS) await Deno.symlink(to, join(root, "usr/sbin", name));
  for (const name of APPLETS) await Deno.symlink("busybox", join(root, "usr/bin", name));
  await Deno.writeTextFile(join(root, "usr/bin/flock"), FLOCK, { mode: 0o755 });
  for (const name of ["bin", "sbin", "lib"]) await Deno.symlink(`usr/${name}`, join(root, name));
  if (await exists(join(root, "usr/lib64"))) await Deno.symlink("usr/lib64", join(root, "lib64"));
  for (const folder of FOLDERS) await Deno.mkdir(root + folder, { recursive: true });
  for (const [path, text] of Object.entries(ETC)) await Deno.writeTextFile(root + path, text);
  return { folder: root, packages: await packagesIn(root, await Deno.readTextFile(sums)) };
}

/** The packages of which something is in the tree. @param sums What sha256sum printed of the .debs. */
async function packagesIn(root: string, sums: string): Promise<DebianPackage[]> {
  const found: DebianPackage[] = [];
  for (const line of sums.trim().split("\n")) {
    const [sha256 = "", file = ""] = line.split(/\s+/);
    const [name = "", version = "", architecture = ""] = file.replace(/\.deb$/, "").split("_");
    const copyright = join(root, "usr/share/doc", name, "copyright");
    const text = await Deno.readTextFile(copyright).catch(() => undefined);
    if (text === undefined) continue;
    const licences = [...text.matchAll(/^License:[ \t]*(\S.*)$/gm)].map(([, licence]) => licence!.trim());
    // apt writes an epoch's colon as %3a.
    found.push({
      name,
      version: decodeURIComponent(version),
      architecture,
      sha256,
      licences: [...new Set(licences)].sort(),
    });
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Copies what is wanted of a tree; `/bin`, `/sbin` and `/lib` of older packages become those of `/usr`. */
async function copyWanted(from: string, folder: string, to: string): Promise<void> {
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(from + folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) {
      await copyWanted(from, path, to);
      continue;
    }
    const merged = path.replace(/^\/(bin|sbin|lib|lib64)\//, "/usr/$1/");
    if (!WANTED.some((pattern) => pattern.test(merged))) continue;
    await Deno.mkdir(dirname(to + merged), { recursive: true });
    if (!isSymlink) await Deno.copyFile(from + path, to + merged);
    else {
      const target = (await Deno.readLink(from + path)).replace(/^\/(bin|sbin|lib|lib64)\//, "/usr/$1/");
      await Deno.symlink(target, to + merged);
    }
  }
}

/**
 * The executable as a host has it after its first start: with what it unpacks, so that a root file system that can't be
 * written does.
 */
export async function programFiles(binary: string, target: Target, scratch: string): Promise<string> {
  const root = join(scratch, `program-${target.debian}`);
  const program = join(root, "usr/bin/flanneld");
  await Deno.mkdir(dirname(program), { recursive: true });
  await Deno.copyFile(binary, program);
  await Deno.chmod(program, 0o755);
  const head = await readHead(binary);
  if (!head.startsWith("#!/bin/sh")) return root;
  const value = (name: string) => new RegExp(`^flanneld_${name}=(\\S+)$`, "m").exec(head)?.[1] ?? "";
  if (!head.includes(` for ${target.arch}:`)) throw new Error(`${binary} isn't for ${target.arch}`);
  const base = join(root, "var/cache/flanneld"), unpacked = join(base, value("name"));
  await Deno.mkdir(unpacked, { recursive: true });
  const script = 'tail -c "+$1" "$2" | tar -xzf - -C "$3" --no-same-owner';
  await run(scratch, ["sh", "-c", script, "sh", value("offset"), binary, unpacked]);
  for (const folder of [base, unpacked]) await Deno.chmod(folder, 0o700);
  return root;
}

async function readHead(path: string): Promise<string> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(32_768);
  const length = await file.read(bytes) ?? 0;
  return new TextDecoder("latin1").decode(bytes.subarray(0, length));
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

/**
 * A root folder with what every Debian has and nothing else: the essential packages of this machine, what they
 * depend on, and their entries in dpkg's database.
 *
 * @module
 */
import { run } from "../../scripts/lab/process.ts";

/** Why no such root can be made here, or undefined. */
export const NO_MINIMAL_ROOT: string | undefined = Deno.uid() !== 0
  ? "needs root"
  : hasDpkg()
  ? undefined
  : "needs a Debian's dpkg";

function hasDpkg(): boolean {
  try {
    return new Deno.Command("dpkg-query", { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

interface PackageInfo {
  readonly isEssential: boolean;
  readonly needs: readonly string[];
}

async function installedPackages(): Promise<Map<string, PackageInfo>> {
  const format = "${Package}\t${Essential}\t${Pre-Depends}, ${Depends}\n";
  const { stdout } = await run(["dpkg-query", "-W", "-f", format]);
  return new Map(
    stdout.trim().split("\n").map((line) => {
      const [name = "", essential, dependencies = ""] = line.split("\t");
      // Alternatives: the first that is installed counts, and all of them are looked up below.
      const needs = dependencies.split(/[,|]/).map((part) => part.trim().split(/[ :(]/)[0]!).filter(Boolean);
      return [name, { isEssential: essential === "yes", needs }];
    }),
  );
}

/** The names of the essential packages and of all that they depend on. */
async function minimalPackages(): Promise<string[]> {
  const packages = await installedPackages();
  const chosen = new Set<string>();
  const waiting = [...packages].filter(([, info]) => info.isEssential).map(([name]) => name);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const info = packages.get(name);
    if (info === undefined || chosen.has(name)) continue;
    chosen.add(name);
    waiting.push(...info.needs);
  }
  return [...chosen].sort();
}

/** Copies the files of packages; folders are made on the way. */
async function copyPackages(root: string, packages: readonly string[]): Promise<void> {
  const { stdout } = await run(["dpkg-query", "-L", ...packages]);
  const isDocument = /^\/usr\/share\/(doc|man|locale|info)\//;
  const files: string[] = [];
  for (const path of new Set(stdout.split("\n"))) {
    if (!path.startsWith("/") || isDocument.test(path)) continue;
    const info = await Deno.lstat(path).catch(() => undefined);
    if (info !== undefined && !info.isDirectory) files.push(path.slice(1));
  }
  const list = `${root}/files`;
  await Deno.writeTextFile(list, files.join("\n"));
  await run(["sh", "-ec", `tar -C / -c --no-recursion -T "$0/files" | tar -x -C "$0"`, root]);
  await Deno.remove(list);
}

/** Fills `root`, which must be empty. About 70 MB. */
export async function makeMinimalRoot(root: string): Promise<void> {
  const folders = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "var/lib/dpkg/info",
    "var/lib/dpkg/updates",
    "var/cache",
    "etc",
  ];
  for (const folder of ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", ...folders]) {
    await Deno.mkdir(`${root}/${folder}`, { recursive: true });
  }
  for (const name of ["bin", "sbin", "lib", "lib64"]) await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  const packages = await minimalPackages();
  await copyPackages(root, packages);
  await Deno.symlink("dash", `${root}/usr/bin/sh`).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  });
  await Deno.writeTextFile(
    `${root}/var/lib/dpkg/status`,
    (await run(["dpkg-query", "-s", ...packages])).stdout,
  );
  for (const name of packages) await Deno.writeTextFile(`${root}/var/lib/dpkg/info/${name}.list`, "/.\n");
}

/**
 * What runs a program of `root` inside of it, in a mount namespace of its own, with /proc, /sys and /dev.
 *
 * @param shared Folders of this machine that are there, too, under the same path.
 */
export function enterRoot(root: string, shared: readonly string[] = []): readonly string[] {
  const script = [
    "set -e",
    `mount -t proc proc "${root}/proc"`,
    `mount --bind /sys "${root}/sys"`,
    `mount --bind /dev "${root}/dev"`,
    `mount -t tmpfs none "${root}/run"`,
    ...shared.flatMap((path) => [`mkdir -p "${root}${path}"`, `mount --bind "${path}" "${root}${path}"`]),
    `exec chroot "${root}" "$@"`,
  ];
  return ["unshare", "--mount", "sh", "-c", script.join("\n"), "sh"];
}

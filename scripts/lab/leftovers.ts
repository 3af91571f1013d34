/**
 * Finds and removes what killed test runs left behind: namespaces, cgroups and folders that carry the pid of the
 * process that made them.
 *
 * @module
 */
import { delay } from "./process.ts";

/** Namespaces and folders of the lab are named `flt-<pid of the owner>-<random>-…`. */
const NAME = /^flt-(\d+)-/;
const NAMESPACE_FOLDER = "/run/netns";
/** Where cgroup2 is mounted; the first on machines that have the old hierarchies, too. */
const CGROUP_FOLDERS: readonly string[] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/** The prefix of everything that this process makes. */
export function ownPrefix(): string {
  return `flt-${Deno.pid}-`;
}

/** Where labs keep their files: one folder per lab. */
export function labFolder(): string {
  return Deno.env.get("TMPDIR") ?? "/tmp";
}

async function isAlive(pid: string): Promise<boolean> {
  try {
    await Deno.stat(`/proc/${pid}`);
    return true;
  } catch {
    return false;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
  } catch {
    return [];
  }
}

/** Kills every process in a network namespace, then deletes it. What is gone already is no error. */
export async function removeNamespace(name: string): Promise<void> {
  const listed = await new Deno.Command("ip", { args: ["netns", "pids", name], stderr: "null" }).output();
  for (const pid of new TextDecoder().decode(listed.stdout).split("\n").filter(Boolean)) {
    try {
      Deno.kill(Number(pid), "SIGKILL");
    } catch {
      // Ended meanwhile.
    }
  }
  await new Deno.Command("ip", { args: ["netns", "delete", name], stdout: "null", stderr: "null" }).output();
}

/** Removes a cgroup and those below it: of a host with systemd. */
export async function removeCgroup(name: string): Promise<void> {
  for (const folder of CGROUP_FOLDERS) {
    const args = [`${folder}/${name}`, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"];
    await new Deno.Command("find", { args, stdout: "null", stderr: "null" }).output();
  }
}

/** How long a process that was killed may still write into its folder, in milliseconds. */
const REMOVE_LIMIT = 5_000;

/**
 * Removes a folder with all in it. What is gone already is no error, and neither is a file that appears meanwhile:
 * processes that were killed have not ended yet, and a reaper may remove the same folder.
 *
 * @throws {Error} If files keep appearing, or one can't be removed.
 */
export async function removeFolder(path: string): Promise<void> {
  const end = performance.now() + REMOVE_LIMIT;
  for (;;) {
    try {
      return await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (!(await exists(path))) return;
      const isChanging = error instanceof Deno.errors.NotFound ||
        (error instanceof Error && "code" in error && error.code === "ENOTEMPTY");
      if (!isChanging || performance.now() >= end) throw error;
    }
    await delay(20);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Removes the namespaces, cgroups and folders of owners that are dead.
 *
 * @returns The names of what was removed.
 */
export async function removeLeftovers(): Promise<string[]> {
  const removed: string[] = [];
  const isLeftover = async (name: string) => {
    const owner = NAME.exec(name)?.[1];
    return owner !== undefined && !(await isAlive(owner));
  };
  for (const name of await namesIn(NAMESPACE_FOLDER)) {
    if (!(await isLeftover(name))) continue;
    await removeNamespace(name);
    removed.push(name);
  }
  for (const name of new Set((await Promise.all(CGROUP_FOLDERS.map(namesIn))).flat())) {
    if (!(await isLeftover(name))) continue;
    await removeCgroup(name);
    removed.push(name);
  }
  for (const name of await namesIn(labFolder())) {
    if (!(await isLeftover(name))) continue;
    await removeFolder(`${labFolder()}/${name}`);
    removed.push(name);
  }
  return removed;
}

/**
 * Finds and removes what killed test runs left behind: namespaces and folders that carry the pid of the
 * process that made them.
 *
 * @module
 */

/** Namespaces and folders of the lab are named `flt-<pid of the owner>-<random>-…`. */
const NAME = /^flt-(\d+)-/;
const NAMESPACE_FOLDER = "/run/netns";

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

/**
 * Removes the namespaces and folders of owners that are dead.
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
  for (const name of await namesIn(labFolder())) {
    if (!(await isLeftover(name))) continue;
    await Deno.remove(`${labFolder()}/${name}`, { recursive: true });
    removed.push(name);
  }
  return removed;
}

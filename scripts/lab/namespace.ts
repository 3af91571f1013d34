/**
 * A network namespace, and programs that run in it.
 *
 * @module
 */
import { type Finished, ipBatch, run, type RunOptions } from "./process.ts";

/** Processes that end with the lab at the latest. */
export type Children = Set<Deno.ChildProcess>;

/** No option, but where the executable unpacks itself. */
const CACHE_VARIABLE = "FLANNELD_CACHE_DIR";

/** This process's environment without what would be options of the flanneld under test. */
function inheritedEnvironment(): Record<string, string> {
  const entries = Object.entries(Deno.env.toObject());
  return Object.fromEntries(
    entries.filter(([key]) => key === CACHE_VARIABLE || !key.startsWith("FLANNELD_")),
  );
}

/** A named network namespace (`ip netns`). */
export class Namespace {
  constructor(readonly name: string, readonly children: Children) {}

  /** What stands before a command that is to run inside. It ends in an exec: the pid stays the child's. */
  get enter(): readonly string[] {
    return ["ip", "netns", "exec", this.name];
  }

  /** Runs a program inside to its end. @throws {Error} If its status isn't 0; not with `mayFail`. */
  exec(command: readonly string[], options?: RunOptions): Promise<Finished> {
    return run([...this.enter, ...command], options);
  }

  /** Runs `ip` commands inside, one a line. @throws {Error} At the first failure. */
  ip(...lines: string[]): Promise<void> {
    return ipBatch(this.name, lines);
  }

  /** What `ip ARGS` prints inside, with `-j` as JSON: rows of plain objects. */
  async ipJson(...args: string[]): Promise<Record<string, unknown>[]> {
    const { stdout } = await run(["ip", "-n", this.name, "-j", "-d", ...args]);
    return stdout.trim() === "" ? [] : JSON.parse(stdout);
  }

  /** Starts a program inside; it ends with the lab at the latest. */
  spawn(command: readonly string[], env: Readonly<Record<string, string>> = {}): Deno.ChildProcess {
    const [program, ...args] = [...this.enter, ...command];
    const child = new Deno.Command(program!, {
      args,
      clearEnv: true,
      env: { ...inheritedEnvironment(), LC_ALL: "C", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.children.add(child);
    void child.status.then(() => this.children.delete(child));
    return child;
  }

  /** Sets kernel settings inside, by their path below /proc/sys. */
  async sysctl(settings: Readonly<Record<string, string>>): Promise<void> {
    const writes = Object.entries(settings).map(([key, value]) => `echo ${value} >/proc/sys/${key}`);
    await this.exec(["sh", "-ec", writes.join("\n")]);
  }
}

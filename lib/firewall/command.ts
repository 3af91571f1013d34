/**
 * Running firewall programs: arguments are arrays, input goes in through stdin, no shell ever.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { ProcessGroup } from "../ffi/process_group.ts";

/** How a program ended and what it said. */
export interface CommandResult {
  /** Exit status; {@link NOT_FOUND} where there is no such program. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. Tests put a prefix like `ip netns exec NAME` in front. */
export type CommandRunner = (
  command: string,
  args: readonly string[],
  stdin?: string,
) => Promise<CommandResult>;

/** Exit status that stands for a missing program, as shells have it. */
export const NOT_FOUND = 127;

/** Exit status that stands for a program that can't be started, as shells have it. */
export const NOT_EXECUTABLE = 126;

/** Exit status that stands for a program ended because it took too long, as timeout(1) has it. */
export const TIMED_OUT = 124;

/** A firewall program failed. The message has the program, its arguments, its status and what it said. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  constructor(readonly command: string, args: readonly string[], readonly result: CommandResult) {
    const said = result.stderr.trim().split("\n").slice(0, 5).join("; ") || "no output";
    super(`${[command, ...args].join(" ")} failed with status ${result.code}: ${said}`);
  }
}

/** Options of {@link systemRunner}. */
export interface RunnerOptions {
  /** Put in front of every command, as `["ip", "netns", "exec", "NAME"]`. */
  readonly prefix?: readonly string[];
  /** Milliseconds until a program is ended. @default 20000 */
  readonly timeout?: number;
  /** Folders in which programs are looked for, as in $PATH. @default $PATH, then the system's sbin folders */
  readonly path?: string;
}

/** A runner of this system's programs. */
export function systemRunner(options: RunnerOptions = {}): CommandRunner {
  const prefix = options.prefix ?? [];
  const env = {
    // Services and plain users often have no sbin in their path, and that is where firewall programs are.
    PATH: options.path ?? `${Deno.env.get("PATH") ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
    // Messages are read to distinguish "no such table" from other errors.
    LC_ALL: "C",
  };
  return async (command, args, stdin) => {
    const program = findProgram(command, env.PATH);
    if (program === undefined) {
      return { code: NOT_FOUND, stdout: "", stderr: `${command}: not found in ${env.PATH}` };
    }
    const [first, ...rest] = [...prefix, program, ...args];
    return await runToEnd(first!, rest, env, stdin, options.timeout ?? 20_000);
  };
}

/** The program's file in the first folder of `path` that has it. */
function findProgram(command: string, path: string): string | undefined {
  for (const folder of path.split(":")) {
    if (folder === "") continue;
    const file = `${folder}/${command}`;
    try {
      const { isFile, mode } = Deno.statSync(file);
      if (isFile && (mode ?? 0) & 0o111) return file;
    } catch {
      continue; // not there, or not for us to see
    }
  }
  return undefined;
}

async function runToEnd(
  program: string,
  args: string[],
  env: Record<string, string>,
  stdin: string | undefined,
  timeout: number,
): Promise<CommandResult> {
  let started: ProcessGroup;
  try {
    started = new ProcessGroup(program, {
      args,
      env,
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    });
  } catch (error) {
    // Not an executable, or not one that this program is permitted to run.
    return {
      code: NOT_EXECUTABLE,
      stdout: "",
      stderr: messageOf(error),
    };
  }
  using group = started;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    group.kill();
  }, timeout);
  const feeding = stdin === undefined ? undefined : feed(group.child, stdin);
  const [output] = await Promise.all([group.child.output(), feeding]).finally(() => clearTimeout(timer));
  const text = new TextDecoder();
  const result = {
    code: output.code,
    stdout: text.decode(output.stdout),
    stderr: text.decode(output.stderr),
  };
  if (!isLate) return result;
  return { ...result, code: TIMED_OUT, stderr: `ended after ${timeout} ms\n${result.stderr}` };
}

/** Writes all of `text` to the child's stdin. A child that ends early says why by its status. */
async function feed(child: Deno.ChildProcess, text: string): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

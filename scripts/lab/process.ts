/**
 * Running programs, and waiting for things to become true.
 *
 * @module
 */

/** What a finished program left. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The sbin folders: `su` without `-` leaves them out. */
const PATH = `${Deno.env.get("PATH") ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

/** How a program is run. */
export interface RunOptions {
  /** Text for its standard input. */
  readonly input?: string;
  /** Return a status other than 0 instead of throwing. @default false */
  readonly mayFail?: boolean;
}

/**
 * Runs a program to its end.
 *
 * @throws {Error} If its status isn't 0, with its arguments and what it said; not with `mayFail`.
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const [program, ...args] = command;
  const child = new Deno.Command(program!, {
    args,
    env: { PATH, LC_ALL: "C" },
    stdin: options.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (options.input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.input));
    await writer.close();
  }
  const output = await child.output();
  const text = new TextDecoder();
  const finished = {
    code: output.code,
    stdout: text.decode(output.stdout),
    stderr: text.decode(output.stderr),
  };
  if (output.code !== 0 && options.mayFail !== true) throw failure(command, finished);
  return finished;
}

function failure(command: readonly string[], { code, stdout, stderr }: Finished): Error {
  return new Error(`${command.join(" ")} ended with ${code}: ${(stderr || stdout).trim()}`);
}

/** Runs `ip` commands, one a line, in a network namespace, in one process. @throws {Error} At the first failure. */
export async function ipBatch(namespace: string | undefined, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const enter = namespace === undefined ? [] : ["-n", namespace];
  await run(["ip", ...enter, "-batch", "-"], { input: `${lines.join("\n")}\n` }).catch((error) => {
    throw new Error(`${error instanceof Error ? error.message : error}; lines:\n${lines.join("\n")}`);
  });
}

/** How often {@link until} looks, in milliseconds. */
const POLL_INTERVAL = 20;

/** Waits, in milliseconds. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Polls until `look` gives something other than undefined or false.
 *
 * An error thrown by `look` counts as "not yet"; the last one goes into the time-out's message.
 *
 * @param what What is waited for, as in "waited 2000 ms for …".
 * @param milliseconds Deadline.
 * @throws {Error} If the deadline passes.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  milliseconds: number,
): Promise<T> {
  const end = performance.now() + milliseconds;
  let last: unknown;
  for (;;) {
    const began = performance.now();
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= end) {
      const why = last === undefined ? "" : `: ${last instanceof Error ? last.message : last}`;
      throw new Error(`waited ${milliseconds} ms for ${what}${why}`);
    }
    // A look that takes long, as on a machine that is emulated, leaves time for what is waited for.
    await delay(Math.max(POLL_INTERVAL, performance.now() - began));
  }
}

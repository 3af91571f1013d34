/**
 * A running flanneld, and the command that starts it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { PERMISSIONS, V8_FLAGS } from "../build/permissions.ts";
import type { Namespace } from "./namespace.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));

/** Lines of log that are kept. */
const LOG_LINES = 2000;

/**
 * The command line of the program under test: `main.ts` in this Deno, with the permissions of the built
 * executable, or the executable that FLANNELD_BINARY names.
 */
export function flanneldCommand(): readonly string[] {
  const binary = Deno.env.get("FLANNELD_BINARY");
  if (binary !== undefined && binary !== "") return [binary];
  return [Deno.execPath(), "run", "--quiet", V8_FLAGS, ...PERMISSIONS, MAIN];
}

/** How long a daemon may take to end, in milliseconds: a test that waits for it says why it fails. */
const END_LIMIT = 60_000;

/** How a daemon ended. */
export interface DaemonEnd {
  /** Exit status; for a signal 128 and its number. */
  readonly code: number;
  /** Time since the signal was sent (or since {@link Daemon.ended} was asked), in milliseconds. */
  readonly milliseconds: number;
}

/** One process of flanneld. */
export class Daemon {
  readonly #child: Deno.ChildProcess;
  readonly #lines: string[] = [];
  readonly #reading: Promise<unknown>;
  #running = true;

  /** Starts it in `namespace`. */
  constructor(
    namespace: Namespace,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    wrap: readonly string[] = [],
  ) {
    this.#child = namespace.spawn([...wrap, ...flanneldCommand(), ...args], { NO_COLOR: "1", ...env });
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]);
    void this.#child.status.then(() => this.#running = false);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#running;
  }

  /** All that it has written so far, stdout and stderr, the last {@link LOG_LINES} lines. */
  get log(): string {
    return this.#lines.join("\n");
  }

  /** How many lines of the log match. */
  count(pattern: RegExp): number {
    return this.#lines.filter((line) => pattern.test(line)).length;
  }

  /** SIGTERM, then waits for the end. */
  stop(): Promise<DaemonEnd> {
    return this.#signal("SIGTERM");
  }

  /** SIGKILL, then waits for the end. */
  kill(): Promise<DaemonEnd> {
    return this.#signal("SIGKILL");
  }

  /** Waits until it ends by itself, however long that takes. */
  async end(): Promise<DaemonEnd> {
    const began = performance.now();
    const { code } = await this.#child.status;
    const milliseconds = performance.now() - began;
    await this.#reading;
    return { code, milliseconds };
  }

  /** Waits for an end that is due. @throws {Error} If it takes too long; with its log. */
  async ended(): Promise<DaemonEnd> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Error(`flanneld (pid ${this.pid}) hasn't ended after ${END_LIMIT} ms:\n${this.log}`)),
      END_LIMIT,
    );
    try {
      return await Promise.race([this.end(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #signal(name: Deno.Signal): Promise<DaemonEnd> {
    try {
      this.#child.kill(name);
    } catch {
      // Ended already; `ended` says how.
    }
    return this.ended();
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.#lines.push(...lines);
      if (this.#lines.length > LOG_LINES) this.#lines.splice(0, this.#lines.length - LOG_LINES);
    }
    if (rest !== "") this.#lines.push(rest);
  }
}

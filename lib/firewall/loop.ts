/**
 * One thing at a time, and again and again.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Log } from "../observe/types.ts";

/** Carries work out in the order in which it was asked for, each after the one before has ended. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` after everything that was asked before, failed or not. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** What {@link keepAt} says and counts. */
export interface KeepOptions {
  readonly log: Log;
  /** What is being kept, as in "Cannot keep the firewall rules". */
  readonly what: string;
  /** Called for every pass that fails. */
  readonly onFailure?: () => void;
}

/**
 * Does `pass` every `interval` milliseconds until the signal fires. Never rejects: a failure is logged, the
 * same trouble again and again as one line, and the next pass comes at its time.
 */
export async function keepAt(
  interval: number,
  signal: AbortSignal,
  { log, what, onFailure }: KeepOptions,
  pass: () => Promise<unknown>,
): Promise<void> {
  let failing = "";
  while (await waited(interval, signal)) {
    try {
      await pass();
      if (failing) log.info(`Keeping ${what} works again`);
      failing = "";
    } catch (error) {
      const cause = messageOf(error);
      if (cause !== failing) log.error(`Cannot keep ${what}`, { cause });
      failing = cause;
      onFailure?.();
    }
  }
}

/** Waits. @returns False as soon as the signal fires. */
function waited(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const done = (result: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      resolve(result);
    };
    const onAbort = () => done(false);
    const timer = setTimeout(done, milliseconds, true);
    signal.addEventListener("abort", onAbort);
  });
}

/**
 * Time and chance for the parts that wait: injected, so that tests need no waiting.
 *
 * @module
 */

/** What waiting needs. */
export interface Clock {
  /** Milliseconds of a clock that never jumps back. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as it fires. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** From 0 up to, but not including, 1. */
  random(): number;
}

/** The system's. A pending sleep keeps the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  random: () => Math.random(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal!.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
};

/** Milliseconds of the first and of the longest wait. */
export const BACKOFF_MIN_MS = 100;
export const BACKOFF_MAX_MS = 5000;

/** Waits that double from 100 ms to 5 s, each shortened by up to half at random, until something succeeds. */
export class Backoff {
  #next = BACKOFF_MIN_MS;

  constructor(readonly clock: Clock) {}

  /** After success: the next wait is the shortest again. */
  reset(): void {
    this.#next = BACKOFF_MIN_MS;
  }

  /** The next wait. @throws The signal's reason, as soon as it fires. */
  async wait(signal?: AbortSignal): Promise<void> {
    const ms = this.#next * (0.5 + this.clock.random() / 2);
    this.#next = Math.min(this.#next * 2, BACKOFF_MAX_MS);
    await this.clock.sleep(ms, signal);
  }
}

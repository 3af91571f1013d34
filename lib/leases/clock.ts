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

/** The longer of what two clocks say has passed: the monotonic one stands still while the machine sleeps. */
let elapsed = 0;
let wall = Date.now();
let monotonic = performance.now();

function now(): number {
  const [newWall, newMonotonic] = [Date.now(), performance.now()];
  elapsed += Math.max(newMonotonic - monotonic, newWall - wall);
  [wall, monotonic] = [newWall, newMonotonic];
  return elapsed;
}

/** The system's. A pending sleep keeps the process alive. */
export const systemClock: Clock = {
  now,
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

/** Lets one line through in a while, and counts those that it held back. */
export class Throttle {
  #next = -Infinity;
  #held = 0;

  constructor(readonly clock: Clock, readonly intervalMs: number) {}

  /** Undefined if it is too early; else how many were held back since the last one. */
  pass(): number | undefined {
    const now = this.clock.now();
    if (now < this.#next) {
      this.#held++;
      return undefined;
    }
    this.#next = now + this.intervalMs;
    const held = this.#held;
    this.#held = 0;
    return held;
  }
}

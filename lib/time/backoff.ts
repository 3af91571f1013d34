/**
 * How long to wait before something that failed is tried again.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** The first and the longest wait, in milliseconds. */
export interface BackoffRange {
  readonly first: number;
  readonly longest: number;
}

/** For a store or server that is asked again: 100 ms to 5 s. */
export const STORE_BACKOFF: BackoffRange = { first: 100, longest: 5_000 };

/**
 * The wait after the `failures`-th failure in a row: doubled with each, and up to half of it left to chance, so that
 * hosts that failed together don't come back together.
 *
 * @param failures 1 for the first.
 * @param random From 0 up to, but not including, 1.
 * @returns Milliseconds.
 */
export function backoffMs(failures: number, { first, longest }: BackoffRange, random: () => number): number {
  const full = Math.min(longest, first * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}

/** Counts failures in a row, and waits after each. */
export class Backoff {
  readonly #clock: Clock;
  readonly #range: BackoffRange;
  #failures = 0;

  constructor(clock: Clock, range: BackoffRange = STORE_BACKOFF) {
    this.#clock = clock;
    this.#range = range;
  }

  /** After success: the next wait is the shortest again. */
  reset(): void {
    this.#failures = 0;
  }

  /** The next wait, or until the signal fires. Never rejects. */
  async wait(signal?: AbortSignal): Promise<void> {
    const ms = backoffMs(++this.#failures, this.#range, () => this.#clock.random());
    await this.#clock.sleep(ms, signal);
  }
}

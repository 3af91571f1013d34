/**
 * Keeping what happens often from filling the log. What lasts is a problem instead (`lib/observe/problems.ts`).
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** Lets one line through in a while, and counts those that it held back. */
export class Throttle {
  readonly #clock: Pick<Clock, "now">;
  readonly #intervalMs: number;
  #next = -Infinity;
  #last = "";
  #held = 0;

  constructor(clock: Pick<Clock, "now">, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /**
   * @param what What the line says; something else than last time is let through at once.
   * @returns Undefined if it is too early; else how many were held back since the last one.
   */
  pass(what = ""): number | undefined {
    const now = this.#clock.now();
    if (now < this.#next && what === this.#last) {
      this.#held++;
      return undefined;
    }
    this.#next = now + this.#intervalMs;
    this.#last = what;
    const held = this.#held;
    this.#held = 0;
    return held;
  }
}

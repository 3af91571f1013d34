/**
 * A bound on how many packets leave in a second.
 *
 * @module
 */
import type { Clock } from "../time/clock.ts";

/** Gives out slots, evenly spaced, in the order in which they were asked for. */
export class Pacer {
  readonly #clock: Clock;
  readonly #spacing: number;
  #next = 0;

  /** @param rate Packets a second. */
  constructor(rate: number, clock: Clock) {
    this.#spacing = 1000 / rate;
    this.#clock = clock;
  }

  /** Waits for the next slot; ends early when the signal fires. */
  async slot(signal?: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    const at = Math.max(now, this.#next);
    this.#next = at + this.#spacing;
    if (at > now) await this.#clock.sleep(at - now, signal);
  }
}

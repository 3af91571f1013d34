/**
 * How often the own Node is written while another program undoes it.
 *
 * @module
 */

/** So many writes come at once; the wait before the next is doubled from the first to the longest, in milliseconds. */
const FREE_WRITES = 2;
const WAIT_MS = { first: 250, longest: 4_000 } as const;

/** Writes that lie further apart than this have nothing to do with each other, in milliseconds. */
const APART_MS = 60_000;

/** From so many writes on it is another program's doing, and said. */
const CONTEST = 5;

/** Two programs that undo each other's writes would do so as fast as the API server answers. */
export class WritePace {
  #count = 0;
  #last = -Infinity;

  /** How long to wait before the Node is looked at again, in milliseconds. @param now performance.now(). */
  waitMs(now: number): number {
    if (now - this.#last > APART_MS || this.#count < FREE_WRITES) return 0;
    const wait = Math.min(WAIT_MS.longest, WAIT_MS.first * 2 ** (this.#count - FREE_WRITES));
    return Math.max(0, this.#last + wait - now);
  }

  /** How often it was written lately if another program must be the reason; else 0. */
  contested(now: number): number {
    return now - this.#last <= APART_MS && this.#count >= CONTEST ? this.#count : 0;
  }

  wrote(now: number): void {
    this.#count = now - this.#last > APART_MS ? 1 : this.#count + 1;
    this.#last = now;
  }
}

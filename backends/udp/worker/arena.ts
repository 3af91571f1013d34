/**
 * Room in the packet memory.
 *
 * @module
 */

/** Hands out parts of one memory, in order: who needs what stands in one place, and nothing overlaps. */
export class Arena {
  #used = 0;

  /** @param size Bytes there are. */
  constructor(readonly size: number) {}

  /**
   * Takes `bytes` bytes at a multiple of 64 (a cache line).
   *
   * @throws {RangeError} If they aren't there.
   */
  take(bytes: number): number {
    const at = this.#used;
    this.#used += (bytes + 63) & ~63;
    if (this.#used > this.size) {
      throw new RangeError(`The packet memory is too small: ${this.size} of ${this.#used} bytes`);
    }
    return at;
  }
}

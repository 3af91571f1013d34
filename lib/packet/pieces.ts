/**
 * Scattered packets: lists of ranges of packet memory, as arrays of `struct iovec` that stand in that memory.
 *
 * @module
 */
import type { PacketMemory } from "./memory.ts";

/** Length in bytes of struct iovec (bits/types/struct_iovec.h, 64-bit): address, length. */
export const IOVEC = 16;

/**
 * An array of struct iovec at a fixed place. It grows by {@link add} until {@link capacity}; the caller says
 * when it starts anew.
 */
export class PieceList {
  /** How many pieces there are. */
  count = 0;
  readonly #u32: Uint32Array;
  readonly #at: number;
  readonly #low: number;
  readonly #high: number;

  /**
   * @param at Offset of the array in the memory, a multiple of 8; it takes `capacity` times {@link IOVEC} bytes.
   * @param base Address of the memory's first byte for the kernel; 0 makes the iovecs hold plain offsets.
   */
  constructor(readonly memory: PacketMemory, at: number, readonly capacity: number, base: number) {
    if (at % 8 !== 0 || at + capacity * IOVEC > memory.size) {
      throw new RangeError(`An array of ${capacity} pieces doesn't fit at ${at} of ${memory.size} bytes`);
    }
    this.#u32 = memory.u32;
    this.#at = at >>> 2;
    this.#low = base % 2 ** 32;
    this.#high = Math.floor(base / 2 ** 32);
  }

  /** Adds the range of `length` bytes at `offset`. There must be room. */
  add(offset: number, length: number): void {
    const word = this.#at + (this.count++ << 2);
    const low = this.#low + offset;
    this.#u32[word] = low;
    this.#u32[word + 1] = this.#high + (low > 0xffffffff ? 1 : 0);
    this.#u32[word + 2] = length;
    this.#u32[word + 3] = 0;
  }

  /** Offset in the memory of piece `i`. */
  offset(i: number): number {
    return (this.#u32[this.#at + (i << 2)]! - this.#low) >>> 0;
  }

  /** Length of piece `i` in bytes. */
  length(i: number): number {
    return this.#u32[this.#at + (i << 2) + 2]!;
  }
}

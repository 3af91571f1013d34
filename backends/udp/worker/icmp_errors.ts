/**
 * ICMP errors about packets that can't be forwarded, at a bounded rate.
 *
 * @module
 */
import { makeIcmpError, MAX_ICMP_ERROR } from "../../../lib/packet/icmp.ts";
import type { IcmpError } from "../../../lib/packet/icmp_kinds.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { COUNTER } from "../shared/counters.ts";
import type { Arena } from "./arena.ts";

/** Errors a second, and how many may come at once: what Linux allows by default (icmp_msgs_per_sec, _burst). */
const RATE = 1000, BURST = 50;

/** Makes errors in a place of its own. */
export class IcmpErrors {
  /** Where the error stands; valid until the next {@link make}. */
  readonly at: number;
  readonly #memory: PacketMemory;
  readonly #counters: Float64Array;
  readonly #now: () => number;
  #tokens = BURST;
  #last: number;

  /** @param now A clock in milliseconds. */
  constructor(memory: PacketMemory, arena: Arena, counters: Float64Array, now: () => number) {
    this.#memory = memory;
    this.#counters = counters;
    this.#now = now;
    this.#last = now();
    this.at = arena.take(MAX_ICMP_ERROR);
  }

  /**
   * Makes the error about the packet of `length` bytes at `about`.
   *
   * @param source The address it comes from, as words: of the packet's family.
   * @param mtu For TOO_BIG, in bytes.
   * @returns Its length, or 0 if none may be sent.
   */
  make(error: IcmpError, about: number, length: number, source: Int32Array, mtu = 0): number {
    const now = this.#now();
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#last) * RATE / 1000);
    this.#last = now;
    if (this.#tokens < 1) return 0;
    const made = makeIcmpError(this.#memory, error, about, length, this.at, source, mtu);
    if (made === 0) return 0;
    this.#tokens--;
    this.#counters[COUNTER.icmpErrors]!++;
    return made;
  }
}

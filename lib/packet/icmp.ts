/**
 * ICMP errors of both versions: RFC 792 with the rules of RFC 1122, 3.2.2 and RFC 1812, 4.3.2; RFC 4443, 2.4.
 *
 * @module
 */
import * as h from "./headers.ts";
import { makeIcmpv4Error } from "./icmpv4.ts";
import { makeIcmpv6Error } from "./icmpv6.ts";
import { type IcmpError, MAX_ICMPV4_ERROR, MAX_ICMPV6_ERROR } from "./icmp_kinds.ts";
import type { PacketMemory } from "./memory.ts";

/** The longest error packet of either version. */
export const MAX_ICMP_ERROR = Math.max(MAX_ICMPV4_ERROR, MAX_ICMPV6_ERROR);

/**
 * Makes the error about the IP packet of `length` bytes at `at`, addressed to its source. Both ranges must lie inside
 * the memory and mustn't overlap.
 *
 * @param to Where the error goes; {@link MAX_ICMP_ERROR} bytes must be free.
 * @param source The address it comes from, in the packet's version: words of the big-endian address, as
 *   {@link h.read32} gives them.
 * @param mtu What {@link TOO_BIG} says of the path, in bytes.
 * @returns The error's length, or 0 if no error may be sent about this packet.
 */
export function makeIcmpError(
  memory: PacketMemory,
  error: IcmpError,
  at: number,
  length: number,
  to: number,
  source: Int32Array,
  mtu = 0,
): number {
  if (length < h.IPV4_HEADER) return 0;
  const make = memory.u8[at]! >>> 4 === 4 ? makeIcmpv4Error : makeIcmpv6Error;
  return make(memory, error, at, length, to, source, mtu);
}

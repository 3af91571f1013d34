/**
 * ICMPv6 errors.
 *
 * @module
 */
import * as h from "./headers.ts";
import { ICMP_HEADER, type IcmpError, INITIAL_TTL, MAX_ICMPV6_ERROR, TOO_BIG } from "./icmp_kinds.ts";
import { findUpperLayer } from "./ipv6_extensions.ts";
import type { PacketMemory } from "./memory.ts";

/** Type * 256 + code of each kind: no route to destination, hop limit exceeded, packet too big. */
const TYPE_AND_CODE = [0x0100, 0x0300, 0x0200] as const;

/** The first type that is no error, and the one that is as good as one (RFC 4443, 2.1; RFC 4861, 4.5). */
const FIRST_INFORMATIONAL = 128, REDIRECT = 137;

/** {@link ./icmp.ts makeIcmpError} for IPv6. */
export function makeIcmpv6Error(
  memory: PacketMemory,
  error: IcmpError,
  at: number,
  length: number,
  to: number,
  source: Int32Array,
  mtu: number,
): number {
  if (length < h.IPV6_HEADER || !mayBeAnswered(memory, error, at, length)) return 0;
  const { u8 } = memory;
  const quoted = Math.min(length, MAX_ICMPV6_ERROR - h.IPV6_HEADER - ICMP_HEADER);
  const icmp = to + h.IPV6_HEADER, icmpLength = ICMP_HEADER + quoted;
  u8.fill(0, to, icmp + ICMP_HEADER);
  u8[to] = 0x60;
  h.write16(u8, to + h.IPV6_LENGTH, icmpLength);
  u8[to + h.IPV6_NEXT_HEADER] = h.ICMPV6;
  u8[to + h.IPV6_HOP_LIMIT] = INITIAL_TTL;
  source.forEach((word, i) => h.write32(u8, to + h.IPV6_SOURCE + 4 * i, word));
  u8.copyWithin(to + h.IPV6_DESTINATION, at + h.IPV6_SOURCE, at + h.IPV6_DESTINATION);
  h.write16(u8, icmp, TYPE_AND_CODE[error]);
  h.write32(u8, icmp + 4, mtu);
  u8.copyWithin(icmp + ICMP_HEADER, at, at + quoted);
  const pseudo = h.pseudoHeaderSum(memory, to, 6, h.ICMPV6, icmpLength);
  const sum = pseudo + memory.sum(icmp, icmpLength);
  h.write16(u8, icmp + 2, ~((sum & 0xffff) + (sum >>> 16)));
  return h.IPV6_HEADER + icmpLength;
}

/**
 * Never about ICMPv6 errors, nor about packets from what isn't a single host; about packets to a group only that they
 * are too big (RFC 4443, 2.4 (e)). What can't be read to its upper-layer header might be an error, too.
 */
function mayBeAnswered(memory: PacketMemory, error: IcmpError, at: number, length: number): boolean {
  const { u8 } = memory;
  if (!isHost(u8, at + h.IPV6_SOURCE)) return false;
  if (u8[at + h.IPV6_DESTINATION] === 0xff && error !== TOO_BIG) return false;
  const upper = findUpperLayer(memory, at, length);
  if (upper.offset < 0) return false;
  if (upper.protocol !== h.ICMPV6) return true;
  if (upper.offset >= length) return false;
  const type = u8[at + upper.offset]!;
  return type >= FIRST_INFORMATIONAL && type !== REDIRECT;
}

/** Whether the address at `at` is a single host's that is reached through a router: no group, loopback or link-local one. */
function isHost(u8: Uint8Array, at: number): boolean {
  if (u8[at] === 0xff || (u8[at] === 0xfe && (u8[at + 1]! & 0xc0) === 0x80)) return false;
  for (let i = 0; i < 15; i++) {
    if (u8[at + i] !== 0) return true;
  }
  return false;
}

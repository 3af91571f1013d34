/**
 * The Internet checksum (RFC 1071, RFC 1624) in a packet's headers: the complement of a folded sum.
 *
 * @module
 */
import { IPV4_TTL, IPV6_HOP_LIMIT } from "./headers.ts";
import type { PacketMemory } from "./memory.ts";
import { addSums } from "./sum.ts";

/**
 * Finishes a checksum that the sender left to the hardware (virtio's NEEDS_CSUM): the field at `start + field`
 * holds the pseudo-header's sum, and the checksum covers everything from `start` to the packet's end.
 *
 * @param at Offset of the packet.
 * @param length Its length in bytes.
 * @param start csum_start, from the packet's first byte.
 * @param field csum_offset, from csum_start.
 * @returns False, with nothing changed, if the field doesn't lie inside the packet.
 */
export function finishChecksum(
  memory: PacketMemory,
  at: number,
  length: number,
  start: number,
  field: number,
): boolean {
  if (start + field + 2 > length) return false;
  const { u8 } = memory;
  const checksum = ~memory.sum(at + start, length - start) & 0xffff;
  const position = at + start + field;
  // 0 means "no checksum" in UDP; elsewhere 0xffff says the same as 0 (as skb_checksum_help does).
  const stored = checksum === 0 ? 0xffff : checksum;
  u8[position] = stored >>> 8;
  u8[position + 1] = stored;
  return true;
}

/** What {@link decrementTtl} did. */
export const TTL_DECREMENTED = 0, TTL_EXPIRED = 1;

/**
 * Takes one from an IPv4 header's TTL and patches the header checksum (RFC 1624, equation 3), or one from an IPv6
 * header's hop limit. A wrong checksum stays wrong.
 *
 * @param at Offset of a whole IP header.
 * @param version 4 or 6.
 * @returns {@link TTL_EXPIRED}, with nothing changed, if the TTL was 0 or would become 0.
 */
export function decrementTtl(memory: PacketMemory, at: number, version: number): number {
  const { u8 } = memory;
  const place = at + (version === 4 ? IPV4_TTL : IPV6_HOP_LIMIT);
  const ttl = u8[place]!;
  if (ttl <= 1) return TTL_EXPIRED;
  u8[place] = ttl - 1;
  if (version !== 4) return TTL_DECREMENTED;
  const old = (u8[at + 10]! << 8) | u8[at + 11]!;
  // The word of TTL and protocol loses 0x0100: HC' = ~(~HC + ~m + m'), where ~m + m' is -0x0100, that is 0xfeff.
  const checksum = ~addSums(~old & 0xffff, 0xfeff) & 0xffff;
  u8[at + 10] = checksum >>> 8;
  u8[at + 11] = checksum;
  return TTL_DECREMENTED;
}

/**
 * The Internet checksum (RFC 1071, RFC 1624): sums of big-endian 16-bit words in one's complement.
 *
 * A *sum* here is folded (0 to 0xffff) and not complemented; a *checksum* is the complement that stands in a
 * header.
 *
 * @module
 */
import type { PacketMemory } from "./memory.ts";

/** Folds a sum of less than 2^32 into 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return (sum & 0xffff) + (sum >>> 16);
}

/** Adds two folded sums. */
export function addSums(a: number, b: number): number {
  const sum = a + b;
  return (sum & 0xffff) + (sum >>> 16);
}

/**
 * The sum of `length` bytes (at most 65,536) at byte `offset` of little-endian words. The range must lie inside
 * the array; an offset of any alignment is fine.
 *
 * Works on whole words, the first and the last one masked, with the two halves of each word added apart: neither
 * half's total overflows 31 bits. The byte order of the words then only swaps the result's bytes (RFC 1071, 2(B)),
 * and an odd offset swaps them back.
 */
export function sumWords(words: Uint32Array, offset: number, length: number): number {
  if (length <= 0) return 0;
  const end = offset + length - 1;
  const last = end >>> 2;
  let i = offset >>> 2;
  const headMask = -1 << ((offset & 3) << 3);
  const tailMask = -1 >>> ((3 - (end & 3)) << 3);
  let word = words[i]! & headMask;
  if (i === last) word &= tailMask;
  let low = word & 0xffff, high = word >>> 16;
  for (i++; i + 4 <= last; i += 4) {
    const a = words[i]!, b = words[i + 1]!, c = words[i + 2]!, d = words[i + 3]!;
    low = (low + (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff)) | 0;
    high = (high + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16)) | 0;
  }
  for (; i < last; i++) {
    const a = words[i]!;
    low = (low + (a & 0xffff)) | 0;
    high = (high + (a >>> 16)) | 0;
  }
  if (i === last) {
    word = words[i]! & tailMask;
    low = (low + (word & 0xffff)) | 0;
    high = (high + (word >>> 16)) | 0;
  }
  const sum = fold(fold(low) + fold(high));
  return (offset & 1) === 1 ? sum : ((sum & 0xff) << 8) | (sum >>> 8);
}

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
 * Takes one from an IPv4 header's TTL and patches the header checksum (RFC 1624, equation 3). A wrong checksum
 * stays wrong.
 *
 * @param at Offset of an IPv4 header of at least 20 bytes.
 * @returns {@link TTL_EXPIRED}, with nothing changed, if the TTL was 0 or would become 0.
 */
export function decrementTtl(memory: PacketMemory, at: number): number {
  const { u8 } = memory;
  const ttl = u8[at + 8]!;
  if (ttl <= 1) return TTL_EXPIRED;
  u8[at + 8] = ttl - 1;
  const old = (u8[at + 10]! << 8) | u8[at + 11]!;
  // The word of TTL and protocol loses 0x0100: HC' = ~(~HC + ~m + m'), where ~m + m' is -0x0100, that is 0xfeff.
  const checksum = ~addSums(~old & 0xffff, 0xfeff) & 0xffff;
  u8[at + 10] = checksum >>> 8;
  u8[at + 11] = checksum;
  return TTL_DECREMENTED;
}

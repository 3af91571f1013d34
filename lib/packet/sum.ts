/**
 * Sums in one's complement (RFC 1071) of big-endian 16-bit words: folded (0 to 0xffff), not complemented.
 *
 * @module
 */

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

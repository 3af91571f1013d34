/**
 * Inputs for decoders: corpus files with a few changes, and now and then bytes without any sense.
 *
 * @module
 */
import type { RandomSource } from "../../scripts/lab/random.ts";

/** What mutations are made from. */
export interface Material {
  /** At least one. */
  readonly corpus: readonly Uint8Array[];
  readonly dictionary: readonly Uint8Array[];
  readonly maxLength: number;
}

type Bytes = Uint8Array<ArrayBuffer>;
type Mutation = (bytes: Bytes, random: RandomSource, material: Material) => Bytes;

/** Most mutations of one input. */
const MAX_MUTATIONS = 6;
/** One input in so many is random from its first byte to its last. */
const RANDOM_EACH = 32;

/** Numbers at which lengths, counters and types change their meaning. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 19, 20, 31, 32, 33, 39, 40, 63, 64, 65, 127, 128, 129, 255];
const WIDE_EDGES = [
  256,
  1023,
  1024,
  4095,
  0x7fff,
  0x8000,
  0xfffe,
  0xffff,
  0x7fffffff,
  0x80000000,
  0xffffffff,
];
const NUMBER_TEXTS = [
  ...["0", "1", "-1", "24", "32", "33", "64", "128", "129", "255", "256", "65535", "65536", "4294967295"],
  ...["4294967296", "9007199254740993", "18446744073709551616", "1e999", "-0", "0.5", "1e3", "00", "NaN"],
];

/** The next input. */
export function makeInput(random: RandomSource, material: Material): Bytes {
  if (random.below(RANDOM_EACH) === 0) {
    return randomBytes(random, random.below(Math.min(256, material.maxLength)));
  }
  let bytes = new Uint8Array(pick(random, material.corpus));
  for (let left = 1 + random.below(MAX_MUTATIONS); left > 0; left--) {
    bytes = pick(random, MUTATIONS)(bytes, random, material);
  }
  return bytes.length <= material.maxLength ? bytes : bytes.slice(0, material.maxLength);
}

const MUTATIONS: readonly Mutation[] = [
  changeBytes((byte, random) => byte ^ (1 << random.below(8))),
  changeBytes((_, random) => random.below(256)),
  changeBytes((_, random) => pick(random, EDGES)),
  writeNumber,
  writeNumber,
  truncate,
  remove,
  repeat,
  splice,
  insertWord,
  insertWord,
  replaceDigits,
  (bytes, random) => put(bytes, random.below(bytes.length + 1), 0, randomBytes(random, 1 + random.below(8))),
];

function changeBytes(change: (byte: number, random: RandomSource) => number): Mutation {
  return (bytes, random) => {
    if (bytes.length === 0) return bytes;
    for (let left = 1 + random.below(3); left > 0; left--) {
      const at = random.below(bytes.length);
      bytes[at] = change(bytes[at]!, random);
    }
    return bytes;
  };
}

/** A length, type or port of 16 or 32 bits in either order: an edge, or what is left of the input. */
function writeNumber(bytes: Bytes, random: RandomSource): Bytes {
  const size = 2 << random.below(2);
  if (bytes.length < size) return bytes;
  // Fields of structures stand at even places.
  const at = Math.min(bytes.length - size, random.below(bytes.length) & ~1);
  const left = bytes.length - at + random.below(5) - 2;
  const value = [left, pick(random, EDGES), pick(random, WIDE_EDGES)][random.below(3)]!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = random.below(2) === 0;
  if (size === 2) view.setUint16(at, value, little);
  else view.setUint32(at, value, little);
  return bytes;
}

function truncate(bytes: Bytes, random: RandomSource): Bytes {
  return bytes.slice(0, random.below(bytes.length + 1));
}

function remove(bytes: Bytes, random: RandomSource): Bytes {
  const { at, length } = range(bytes, random);
  return put(bytes, at, length, new Uint8Array());
}

/** A part stands several times: lists grow, keys double. */
function repeat(bytes: Bytes, random: RandomSource, { maxLength }: Material): Bytes {
  const { at, length } = range(bytes, random);
  if (length === 0) return bytes;
  const times = 1 + random.below(random.below(8) === 0 ? 200 : 3);
  const part = bytes.slice(at, at + length);
  const copies = new Uint8Array(Math.min(times * length, maxLength));
  for (let to = 0; to < copies.length; to += length) copies.set(part.subarray(0, copies.length - to), to);
  return put(bytes, at, 0, copies);
}

/** The beginning of this one and the end of another, or a part of another somewhere within. */
function splice(bytes: Bytes, random: RandomSource, { corpus }: Material): Bytes {
  const other = new Uint8Array(pick(random, corpus));
  const from = range(other, random);
  if (random.below(2) === 0) return put(bytes, random.below(bytes.length + 1), 0, other.slice(from.at));
  const into = range(bytes, random);
  return put(bytes, into.at, into.length, other.slice(from.at, from.at + from.length));
}

function insertWord(bytes: Bytes, random: RandomSource, { dictionary }: Material): Bytes {
  if (dictionary.length === 0) return bytes;
  const word = new Uint8Array(pick(random, dictionary));
  const { at, length } = range(bytes, random);
  return put(bytes, at, random.below(2) === 0 ? 0 : Math.min(length, word.length), word);
}

/** Digits of a text are replaced by another number. */
function replaceDigits(bytes: Bytes, random: RandomSource): Bytes {
  const start = random.below(bytes.length + 1);
  const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
  const found = bytes.subarray(start).findIndex(isDigit);
  if (found < 0) return bytes;
  const at = start + found;
  let length = 1;
  while (at + length < bytes.length && isDigit(bytes[at + length]!)) length++;
  return put(bytes, at, length, new TextEncoder().encode(pick(random, NUMBER_TEXTS)));
}

/** Some bytes: short ones are as likely as long ones. */
function range(bytes: Bytes, random: RandomSource): { at: number; length: number } {
  const at = random.below(bytes.length + 1);
  const most = bytes.length - at;
  return { at, length: random.below(1 + (random.below(2) === 0 ? most : Math.min(most, 16))) };
}

function put(bytes: Bytes, at: number, length: number, inserted: Bytes): Bytes {
  const result = new Uint8Array(bytes.length - length + inserted.length);
  result.set(bytes.subarray(0, at));
  result.set(inserted, at);
  result.set(bytes.subarray(at + length), at + inserted.length);
  return result;
}

function randomBytes(random: RandomSource, length: number): Bytes {
  return Uint8Array.from({ length }, () => random.below(256));
}

function pick<T>(random: RandomSource, list: readonly T[]): T {
  return list[random.below(list.length)]!;
}

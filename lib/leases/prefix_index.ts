/**
 * Which keys claim a part of a prefix, found without looking at all of them.
 *
 * Prefixes are kept by length: a network has one or two lengths, so an answer takes that many look-ups.
 *
 * @module
 */
import { FAMILIES, type Family, type FamilyName } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";

/** Keys by the base of their prefix. */
type Bucket = Map<bigint, Set<string>>;

/** Keys by prefix, of both families. */
export class PrefixIndex {
  readonly #lengths: Readonly<Record<FamilyName, Map<number, Bucket>>>;

  constructor() {
    this.#lengths = Object.fromEntries(
      FAMILIES.map(({ name }) => [name, new Map<number, Bucket>()]),
    ) as Record<
      FamilyName,
      Map<number, Bucket>
    >;
  }

  add(prefix: Prefix, key: string): void {
    const lengths = this.#lengths[prefix.family.name];
    let bucket = lengths.get(prefix.length);
    if (!bucket) lengths.set(prefix.length, bucket = new Map());
    const keys = bucket.get(prefix.base);
    if (keys) keys.add(key);
    else bucket.set(prefix.base, new Set([key]));
  }

  delete(prefix: Prefix, key: string): void {
    const lengths = this.#lengths[prefix.family.name];
    const bucket = lengths.get(prefix.length);
    const keys = bucket?.get(prefix.base);
    if (!bucket || !keys?.delete(key) || keys.size > 0) return;
    bucket.delete(prefix.base);
    if (bucket.size === 0) lengths.delete(prefix.length);
  }

  /** Keys of all prefixes that share an address with `prefix`. */
  *overlapping(prefix: Prefix): Iterable<string> {
    for (const [length, bucket] of this.#lengths[prefix.family.name]) {
      for (const base of basesWithin(prefix, length, bucket)) yield* bucket.get(base) ?? [];
    }
  }
}

/** Bases of the prefixes of `length` that overlap `prefix`: some of them may not be in the bucket. */
function* basesWithin(prefix: Prefix, length: number, bucket: Bucket): Iterable<bigint> {
  const { family, base } = prefix;
  if (length <= prefix.length) return yield clear(family, base, length);
  const step = 1n << BigInt(family.bits - length);
  const count = 1n << BigInt(length - prefix.length);
  if (count <= BigInt(bucket.size)) {
    for (let i = 0n; i < count; i++) yield base + i * step;
    return;
  }
  for (const other of bucket.keys()) {
    if (clear(family, other, prefix.length) === base) yield other;
  }
}

/** The base with all bits below `length` cleared. */
function clear({ bits }: Family, base: bigint, length: number): bigint {
  const host = BigInt(bits - length);
  return (base >> host) << host;
}

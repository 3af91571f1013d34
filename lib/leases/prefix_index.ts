/**
 * Which claims share an address with a prefix, found without looking at all of them.
 *
 * Prefixes are kept by length: a network has one or two lengths, so an answer takes that many look-ups.
 *
 * @module
 */
import type { Family, FamilyName } from "../net/family.ts";
import { ipKey } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";

/** Claims of one prefix. Nearly always there is one: then there is no array. */
type Claims<T> = T | readonly T[];

/** Claims by the key of their prefix's base. */
type Bucket<T> = Map<number | string, Claims<T>>;

/** Claims (which are no arrays) by prefix, of both families. */
export class PrefixIndex<T extends object> {
  readonly #lengths: Readonly<Record<FamilyName, Map<number, Bucket<T>>>> = {
    ipv4: new Map(),
    ipv6: new Map(),
  };

  add({ family, base, length }: Prefix, claim: T): void {
    const lengths = this.#lengths[family.name];
    let bucket = lengths.get(length);
    if (!bucket) lengths.set(length, bucket = new Map());
    const key = ipKey(family, base);
    const there = bucket.get(key);
    bucket.set(key, there === undefined ? claim : [...listOf(there), claim]);
  }

  delete({ family, base, length }: Prefix, claim: T): void {
    const lengths = this.#lengths[family.name];
    const bucket = lengths.get(length);
    const key = ipKey(family, base);
    const there = bucket?.get(key);
    if (!bucket || there === undefined) return;
    const left = listOf(there).filter((each) => each !== claim);
    if (left.length > 0) bucket.set(key, left.length === 1 ? left[0]! : left);
    else bucket.delete(key);
    if (bucket.size === 0) lengths.delete(length);
  }

  /** Whether there is a claim that shares an address with `prefix`. @param baseOf The base of a claim's prefix. */
  overlaps(prefix: Prefix, baseOf: (claim: T) => bigint): boolean {
    return this.overlapping(prefix, baseOf).next().done === false;
  }

  /** The claims of all prefixes that share an address with `prefix`. @param baseOf The base of a claim's prefix. */
  *overlapping(prefix: Prefix, baseOf: (claim: T) => bigint): Generator<T, void> {
    for (const [length, bucket] of this.#lengths[prefix.family.name]) {
      for (const claims of within(prefix, length, bucket, baseOf)) yield* listOf(claims);
    }
  }
}

/** The claims of the prefixes of `length` that overlap `prefix`. */
function* within<T extends object>(
  { family, base, length: own }: Prefix,
  length: number,
  bucket: Bucket<T>,
  baseOf: (claim: T) => bigint,
): Iterable<Claims<T>> {
  if (length <= own) {
    const claims = bucket.get(ipKey(family, clear(family, base, length)));
    if (claims !== undefined) yield claims;
    return;
  }
  const step = 1n << BigInt(family.bits - length);
  const count = 1n << BigInt(length - own);
  if (count > BigInt(bucket.size)) {
    for (const claims of bucket.values()) {
      if (clear(family, baseOf(listOf(claims)[0]!), own) === base) yield claims;
    }
    return;
  }
  for (let i = 0n; i < count; i++) {
    const claims = bucket.get(ipKey(family, base + i * step));
    if (claims !== undefined) yield claims;
  }
}

function listOf<T extends object>(claims: Claims<T>): readonly T[] {
  return Array.isArray(claims) ? claims : [claims as T];
}

/** The base with all bits below `length` cleared. */
function clear({ bits }: Family, base: bigint, length: number): bigint {
  const host = BigInt(bits - length);
  return (base >> host) << host;
}

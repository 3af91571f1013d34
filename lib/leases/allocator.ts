/**
 * Which subnets are free, and a random one of them.
 *
 * Subnets of a network are counted from SubnetMin; what is taken is kept as ranges of these numbers. So a
 * choice costs memory and time by the number of leases, not by the size of the network.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import { familiesOf, type Family, type PerFamily } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import {
  containsPrefix,
  firstIp,
  formatPrefix,
  lastIp,
  type Prefix,
  prefixesOverlap,
} from "../net/prefix.ts";
import { decodeLeaseKey } from "./codec.ts";
import type { StoredLease } from "./types.ts";

/** A uniformly random whole number from 0 up to, but not including, `below`. */
export type RandomBelow = (below: bigint) => bigint;

/** Whether the subnets are exactly what the config wants: its families, its length, within its bounds. */
export function fits(config: readonly FamilyConfig[], subnets: PerFamily<Prefix>): boolean {
  return familiesOf(subnets).length === config.length && config.every((family) => {
    const subnet = subnets[family.family.name];
    return subnet !== undefined && fitsFamily(family, subnet);
  });
}

/** As {@link fits}, for one family. */
function fitsFamily(config: FamilyConfig, subnet: Prefix): boolean {
  return subnet.family === config.family && subnet.length === config.subnetLength &&
    subnet.base >= config.subnetMin.value && subnet.base <= config.subnetMax.value;
}

/** No subnet is free. The message says how many there are and who holds them. */
export class OutOfSubnetsError extends Error {
  override readonly name = "OutOfSubnetsError";
}

/** First and last taken number. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** The subnets of one network, with what is taken of them. */
export class SubnetPool {
  readonly family: Family;
  /** How many subnets there are. */
  readonly total: bigint;
  readonly #config: FamilyConfig;
  readonly #hostBits: bigint;
  readonly #taken: Prefix[] = [];

  constructor(config: FamilyConfig) {
    this.#config = config;
    this.family = config.family;
    this.#hostBits = BigInt(config.family.bits - config.subnetLength);
    this.total = ((config.subnetMax.value - config.subnetMin.value) >> this.#hostBits) + 1n;
  }

  /**
   * Marks everything that overlaps `subnet` as taken. What isn't a part of the network changes nothing: every
   * host refuses such a lease, also one that is larger than the network.
   */
  take(subnet: Prefix): void {
    if (containsPrefix(this.#config.network, subnet)) this.#taken.push(subnet);
  }

  /** What of the pool `subnet` overlaps with, if it is taken. */
  holderOf(subnet: Prefix): Prefix | undefined {
    return this.#taken.find((taken) => prefixesOverlap(taken, subnet));
  }

  /** How many subnets are free. */
  free(): bigint {
    return this.#ranges().reduce((free, { first, last }) => free - (last - first + 1n), this.total);
  }

  /** A random free subnet; undefined if there is none. It isn't marked as taken. */
  choose(random: RandomBelow): Prefix | undefined {
    const ranges = this.#ranges();
    const free = ranges.reduce((sum, { first, last }) => sum - (last - first + 1n), this.total);
    if (free <= 0n) return undefined;
    // The number of the n-th free subnet: every taken range that starts at or below it pushes it up.
    let number = random(free);
    for (const { first, last } of ranges) {
      if (first > number) break;
      number += last - first + 1n;
    }
    const base = this.#config.subnetMin.value + (number << this.#hostBits);
    return { family: this.family, base, length: this.#config.subnetLength };
  }

  /** Taken numbers as ranges within the pool, in order, none touching another. */
  #ranges(): Range[] {
    const ranges: Range[] = [];
    const min = this.#config.subnetMin.value;
    for (const prefix of this.#taken) {
      const first = (prefix.base - min) >> this.#hostBits;
      const last = (lastIp(prefix).value - min) >> this.#hostBits;
      if (last < 0n || first >= this.total) continue;
      ranges.push({ first: first < 0n ? 0n : first, last: last >= this.total ? this.total - 1n : last });
    }
    return merge(ranges);
  }
}

function merge(ranges: Range[]): Range[] {
  ranges.sort((a, b) => a.first < b.first ? -1 : a.first > b.first ? 1 : 0);
  const merged: Range[] = [];
  for (const range of ranges) {
    const previous = merged.at(-1);
    if (!previous || range.first > previous.last + 1n) merged.push(range);
    else if (range.last > previous.last) {
      merged[merged.length - 1] = { first: previous.first, last: range.last };
    }
  }
  return merged;
}

/** Chooses the subnets of a lease, one of each family. */
export class Allocator {
  readonly #pools: readonly SubnetPool[];
  readonly #config: readonly FamilyConfig[];
  #expiring = 0;
  #reserved = 0;

  /** @param leases All that stands in the store, malformed values included: their keys count. */
  constructor(config: readonly FamilyConfig[], leases: Iterable<Pick<StoredLease, "key" | "expires">>) {
    this.#config = config;
    this.#pools = config.map((family) => new SubnetPool(family));
    for (const { key, expires } of leases) {
      const subnets = decodeLeaseKey(key);
      if (!subnets) continue;
      this.take(subnets);
      if (expires) this.#expiring++;
      else this.#reserved++;
    }
  }

  /** Marks the subnets as taken. */
  take(subnets: PerFamily<Prefix>): void {
    for (const pool of this.#pools) {
      const subnet = subnets[pool.family.name];
      if (subnet) pool.take(subnet);
    }
  }

  /** Whether every family has a free subnet. */
  hasFree(): boolean {
    return this.#pools.every((pool) => pool.free() > 0n);
  }

  /** Of `wanted`, those that fit the config and are free. */
  available(wanted: PerFamily<Prefix>): PerFamily<Prefix> {
    const result: { ipv4?: Prefix; ipv6?: Prefix } = {};
    for (const [index, pool] of this.#pools.entries()) {
      const subnet = wanted[pool.family.name];
      if (subnet && fitsFamily(this.#config[index]!, subnet) && !pool.holderOf(subnet)) {
        result[pool.family.name] = subnet;
      }
    }
    return result;
  }

  /**
   * Subnets for a new lease: `preferred` where given (see {@link available}), a random free one else.
   *
   * @throws {OutOfSubnetsError} If a family has none left.
   */
  choose(random: RandomBelow, preferred: PerFamily<Prefix> = {}): PerFamily<Prefix> {
    const chosen: { ipv4?: Prefix; ipv6?: Prefix } = {};
    for (const [index, pool] of this.#pools.entries()) {
      const subnet = preferred[pool.family.name] ?? pool.choose(random);
      if (!subnet) throw new OutOfSubnetsError(this.#shortage(pool, this.#config[index]!));
      chosen[pool.family.name] = subnet;
    }
    return chosen;
  }

  #shortage(pool: SubnetPool, config: FamilyConfig): string {
    const { network, subnetLength, subnetMin, subnetMax } = config;
    const last = { family: config.family, base: subnetMax.value, length: subnetLength };
    return `Out of ${pool.family.label} subnets: ${
      formatPrefix(network)
    } has ${pool.total} of /${subnetLength} ` +
      `from ${formatIp(subnetMin)} to ${formatIp(firstIp(last))}, ${pool.total - pool.free()} are used: ` +
      `${this.#expiring} leases that expire unless renewed, ${this.#reserved} reservations. ` +
      `Free some, wait for expiry, or enlarge the network in the config`;
  }
}

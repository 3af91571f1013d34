/**
 * A network's pool of subnets as a map: what of it is used, reserved, about to expire and free. Pure; whoever shows the
 * pool (`flanneld leases`, the page, the SVG) shows this one.
 *
 * Subnets are counted from SubnetMin (number 0) to SubnetMax, each of the config's length. {@link mapPools} gives one
 * {@link PoolMap} for each family of the config:
 *
 * - counts: `total` = `used` + `reserved` + `free`; `expiring` is a part of `used`. A lease of another length than the
 *   config's counts with all subnets that it overlaps;
 * - `runs`: the whole pool in its order, as runs of subnets in one state without a gap between them. A picture needs
 *   nothing else, and a network with one lease has three runs whatever its size;
 * - `largestFree`: the longest run that is free;
 * - `outside`: leases that take nothing of the pool (another network, below SubnetMin, above SubnetMax).
 *
 * Numbers are bigint: an IPv6 network may hold more subnets than a double counts.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import type { Family, PerFamily } from "../net/family.ts";
import { containsPrefix, lastIp, type Prefix } from "../net/prefix.ts";

/** What may be with a subnet. Where leases overlap, the earlier one in this list counts. */
export const SUBNET_STATES = ["reserved", "used", "expiring", "free"] as const;

/** One of them. */
export type SubnetState = typeof SUBNET_STATES[number];

/** A lease, as far as the map is concerned. */
export interface PoolClaim {
  /** Absent where the key names none: it takes nothing. */
  readonly subnets?: PerFamily<Prefix> | undefined;
  /** False for a reservation. */
  readonly expires: boolean;
  /** Seconds until it expires; absent where that isn't known. */
  readonly secondsLeft?: number | undefined;
}

/** Subnets next to each other that are in one state. */
export interface SubnetRun {
  readonly state: SubnetState;
  /** Numbers of the first and the last one. */
  readonly first: bigint;
  readonly last: bigint;
}

/** The pool of one family. */
export interface PoolMap {
  readonly family: Family;
  readonly config: FamilyConfig;
  readonly total: bigint;
  /** Leased with a time to live. */
  readonly used: bigint;
  /** Of the used ones, those that expire soon unless they are renewed. */
  readonly expiring: bigint;
  readonly reserved: bigint;
  readonly free: bigint;
  readonly runs: readonly SubnetRun[];
  /** Absent where nothing is free. */
  readonly largestFree?: SubnetRun;
  readonly outside: number;
}

/** A lease that has less left than this is about to expire, in seconds: hosts renew an hour before the end. */
const EXPIRING_SECONDS = 3600;

/**
 * Maps the pools.
 *
 * @param config The families, as the network config has them.
 * @param leases All leases of the store, malformed values included: their keys count.
 * @param expiringSeconds A lease with less left than this is `expiring`.
 */
export function mapPools(
  config: readonly FamilyConfig[],
  leases: readonly PoolClaim[],
  expiringSeconds = EXPIRING_SECONDS,
): PoolMap[] {
  return config.map((family) => mapPool(family, leases, expiringSeconds));
}

/** The subnet with this number. */
export function subnetAt({ family, subnetMin, subnetLength }: FamilyConfig, number: bigint): Prefix {
  const hostBits = BigInt(family.bits - subnetLength);
  return { family, base: subnetMin.value + (number << hostBits), length: subnetLength };
}

/** A lease as numbers of subnets. */
interface Range {
  readonly rank: number;
  readonly first: bigint;
  readonly last: bigint;
}

const FREE = SUBNET_STATES.indexOf("free");

function mapPool(config: FamilyConfig, leases: readonly PoolClaim[], expiringSeconds: number): PoolMap {
  const { family, subnetLength, subnetMin, subnetMax, network } = config;
  const hostBits = BigInt(family.bits - subnetLength);
  const total = ((subnetMax.value - subnetMin.value) >> hostBits) + 1n;
  const ranges: Range[] = [];
  let outside = 0;
  for (const claim of leases) {
    const subnet = claim.subnets?.[family.name];
    if (!subnet) continue;
    const first = (subnet.base - subnetMin.value) >> hostBits;
    const last = (lastIp(subnet).value - subnetMin.value) >> hostBits;
    if (!containsPrefix(network, subnet) || last < 0n || first >= total) {
      outside++;
      continue;
    }
    const rank = SUBNET_STATES.indexOf(stateOf(claim, expiringSeconds));
    ranges.push({ rank, first: first < 0n ? 0n : first, last: last < total ? last : total - 1n });
  }
  const runs = runsOf(ranges, total);
  const count = (...states: SubnetState[]) =>
    runs.reduce((sum, { state, first, last }) => states.includes(state) ? sum + last - first + 1n : sum, 0n);
  const largestFree = largest(runs.filter(({ state }) => state === "free"));
  return {
    ...{ family, config, total, runs, outside },
    used: count("used", "expiring"),
    expiring: count("expiring"),
    reserved: count("reserved"),
    free: count("free"),
    ...largestFree ? { largestFree } : {},
  };
}

function stateOf({ expires, secondsLeft }: PoolClaim, expiringSeconds: number): SubnetState {
  if (!expires) return "reserved";
  return secondsLeft !== undefined && secondsLeft < expiringSeconds ? "expiring" : "used";
}

function largest(runs: readonly SubnetRun[]): SubnetRun | undefined {
  return runs.reduce<SubnetRun | undefined>(
    (best, run) => !best || run.last - run.first > best.last - best.first ? run : best,
    undefined,
  );
}

/** Sweeps over the ends of the ranges; between two ends the state is that of the lowest rank that is open. */
function runsOf(ranges: readonly Range[], total: bigint): SubnetRun[] {
  const ends = ranges.flatMap(({ rank, first, last }) => [
    { at: first, rank, change: 1 },
    { at: last + 1n, rank, change: -1 },
  ]).sort((a, b) => a.at < b.at ? -1 : a.at > b.at ? 1 : 0);
  const open = SUBNET_STATES.map(() => 0);
  const runs: SubnetRun[] = [];
  let from = 0n;
  const close = (until: bigint) => {
    if (until === from) return;
    const rank = open.findIndex((count) => count > 0);
    const state = SUBNET_STATES[rank < 0 ? FREE : rank]!;
    const before = runs.at(-1);
    if (before?.state === state) runs[runs.length - 1] = { ...before, last: until - 1n };
    else runs.push({ state, first: from, last: until - 1n });
    from = until;
  };
  for (const { at, rank, change } of ends) {
    close(at);
    open[rank]! += change;
  }
  close(total);
  return runs;
}

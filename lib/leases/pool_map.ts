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
import type { Prefix } from "../net/prefix.ts";
import { countRuns, poolSize, type Run, runsOf, subnetsIn } from "../config/pool_runs.ts";

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
  /** A cluster gave it to a host: taken, though it has no time to live. */
  readonly assigned?: true;
  /** Seconds until it expires; absent where that isn't known. */
  readonly secondsLeft?: number | undefined;
}

/** Subnets next to each other that are in one state. */
export type SubnetRun = Run<SubnetState>;

/** The pool of one family. */
export interface PoolMap {
  readonly family: Family;
  readonly config: FamilyConfig;
  readonly total: bigint;
  /** Leased with a time to live, or assigned by a cluster. */
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

function mapPool(config: FamilyConfig, leases: readonly PoolClaim[], expiringSeconds: number): PoolMap {
  const total = poolSize(config);
  const ranges: SubnetRun[] = [];
  let outside = 0;
  for (const claim of leases) {
    const subnet = claim.subnets?.[config.family.name];
    if (!subnet) continue;
    const range = subnetsIn(config, subnet);
    if (range) ranges.push({ state: stateOf(claim, expiringSeconds), first: range[0], last: range[1] });
    else outside++;
  }
  const runs = runsOf(ranges, total, SUBNET_STATES);
  const largestFree = largest(runs.filter(({ state }) => state === "free"));
  return {
    ...{ family: config.family, config, total, runs, outside },
    used: countRuns(runs, "used", "expiring"),
    expiring: countRuns(runs, "expiring"),
    reserved: countRuns(runs, "reserved"),
    free: countRuns(runs, "free"),
    ...largestFree ? { largestFree } : {},
  };
}

function stateOf({ expires, assigned, secondsLeft }: PoolClaim, expiringSeconds: number): SubnetState {
  if (assigned === true) return "used";
  if (!expires) return "reserved";
  return secondsLeft !== undefined && secondsLeft < expiringSeconds ? "expiring" : "used";
}

function largest(runs: readonly SubnetRun[]): SubnetRun | undefined {
  return runs.reduce<SubnetRun | undefined>(
    (best, run) => !best || run.last - run.first > best.last - best.first ? run : best,
    undefined,
  );
}

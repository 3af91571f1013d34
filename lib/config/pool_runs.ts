/**
 * A pool of subnets as runs of one state each: what is counted of a pool, and drawn, is made of them. Pure.
 *
 * @module
 */
import type { FamilyConfig } from "./types.ts";
import { containsPrefix, lastIp, type Prefix } from "../net/prefix.ts";

/** The part of a config that says which subnets there are. */
export type PoolConfig = Pick<
  FamilyConfig,
  "family" | "network" | "subnetLength" | "subnetMin" | "subnetMax"
>;

/** Subnets next to each other that are in one state; numbers of the first and the last one. */
export interface Run<State> {
  readonly state: State;
  readonly first: bigint;
  readonly last: bigint;
}

/** How many subnets a pool has. */
export function poolSize({ family, subnetLength, subnetMin, subnetMax }: PoolConfig): bigint {
  return ((subnetMax.value - subnetMin.value) >> BigInt(family.bits - subnetLength)) + 1n;
}

/** The subnet with this number. */
export function subnetAt({ family, subnetMin, subnetLength }: PoolConfig, number: bigint): Prefix {
  const hostBits = BigInt(family.bits - subnetLength);
  return { family, base: subnetMin.value + (number << hostBits), length: subnetLength };
}

/**
 * The subnets of the pool that a lease overlaps, as numbers of the first and the last; undefined where it takes nothing
 * of the pool: another family or network, below SubnetMin, above SubnetMax.
 */
export function subnetsIn(config: PoolConfig, subnet: Prefix): readonly [bigint, bigint] | undefined {
  const { family, network, subnetLength, subnetMin } = config;
  if (subnet.family !== family || !containsPrefix(network, subnet)) return undefined;
  const hostBits = BigInt(family.bits - subnetLength), most = poolSize(config) - 1n;
  const first = (subnet.base - subnetMin.value) >> hostBits;
  const last = (lastIp(subnet).value - subnetMin.value) >> hostBits;
  if (last < 0n || first > most) return undefined;
  return [first < 0n ? 0n : first, last < most ? last : most];
}

/**
 * The whole pool in its order. Where ranges overlap, the state that comes first in `order` counts; what none covers has
 * the last one.
 */
export function runsOf<State>(
  ranges: readonly Run<State>[],
  total: bigint,
  order: readonly State[],
): Run<State>[] {
  const ends = ranges.flatMap(({ state, first, last }) => {
    const rank = order.indexOf(state);
    return [{ at: first, rank, change: 1 }, { at: last + 1n, rank, change: -1 }];
  }).sort((a, b) => a.at < b.at ? -1 : a.at > b.at ? 1 : 0);
  const open = order.map(() => 0);
  const runs: Run<State>[] = [];
  let from = 0n;
  // Between two ends the state is that of the lowest rank that is open.
  const close = (until: bigint) => {
    if (until === from) return;
    const rank = open.findIndex((count) => count > 0);
    const state = order.at(rank)!;
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

/** How many subnets are in any of these states. */
export function countRuns<State>(runs: readonly Run<State>[], ...states: State[]): bigint {
  return runs.reduce(
    (sum, { state, first, last }) => states.includes(state) ? sum + last - first + 1n : sum,
    0n,
  );
}

/**
 * A network's subnets as a map: cells in rows, each one subnet or, of a large network, equally many. Pure, and shared by
 * the page and `flanneld leases map`.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import { firstIp, formatPrefix, type Prefix } from "../net/prefix.ts";
import { formatIp } from "../net/ip.ts";

/** What a subnet is. `expiring`: its lease wasn't renewed when it was due. */
export type SubnetState = "own" | "reserved" | "expiring" | "used" | "free";

/** A subnet that isn't free. */
export interface TakenSubnet {
  readonly subnet: Prefix;
  readonly state: Exclude<SubnetState, "free">;
  /** Whose it is, for people. */
  readonly holder: string;
}

/** What a cell can be: what matters more goes first. */
const STATES = ["own", "expiring", "reserved", "used", "free"] as const satisfies readonly SubnetState[];

/** One cell. */
export interface MapCell {
  /** The subnet, or the first and the last of those in it. */
  readonly label: string;
  readonly state: SubnetState;
  /** Share of its subnets that aren't free, 0 to 1. */
  readonly taken: number;
  /** Of the first few, whose they are. */
  readonly holders: readonly string[];
  /** Subnets in it that aren't free. */
  readonly count: number;
}

/** A network. */
export interface PoolGrid {
  readonly network: string;
  readonly subnetLength: number;
  readonly columns: number;
  readonly cells: readonly MapCell[];
  /** Subnets in one cell. */
  readonly perCell: bigint;
  readonly total: bigint;
  /** How many subnets there are of each state. */
  readonly counts: Readonly<Record<SubnetState, bigint>>;
  /** First address of the first, and of the last subnet. */
  readonly first: string;
  readonly last: string;
}

/** More cells than this are too small to see: then a cell is several subnets. */
const MAX_CELLS = 1024n;

/** Names in a cell. */
const NAMED = 5;

/** The part of a config that says which subnets there are. */
export type PoolConfig = Pick<
  FamilyConfig,
  "family" | "network" | "subnetLength" | "subnetMin" | "subnetMax"
>;

/** Lays the subnets out. Leases outside of the pool, or of another family, aren't on it. */
export function poolGrid(config: PoolConfig, taken: Iterable<TakenSubnet>, columns = 32): PoolGrid {
  const { family, network, subnetLength, subnetMin, subnetMax } = config;
  const hostBits = BigInt(family.bits - subnetLength);
  const total = ((subnetMax.value - subnetMin.value) >> hostBits) + 1n;
  let perCell = 1n;
  while ((total + perCell - 1n) / perCell > MAX_CELLS) perCell *= 2n;
  const cellCount = Number((total + perCell - 1n) / perCell);
  const inside = new Map<number, TakenSubnet[]>();
  const counts = { own: 0n, expiring: 0n, reserved: 0n, used: 0n, free: total };
  for (const one of taken) {
    if (one.subnet.family !== family) continue;
    const number = (one.subnet.base - subnetMin.value) >> hostBits;
    if (number < 0n || number >= total) continue;
    counts[one.state]++;
    counts.free--;
    const cell = Number(number / perCell);
    inside.set(cell, [...inside.get(cell) ?? [], one]);
  }
  const subnetAt = (number: bigint): Prefix => ({
    family,
    base: subnetMin.value + (number << hostBits),
    length: subnetLength,
  });
  const cells = Array.from({ length: cellCount }, (_, index): MapCell => {
    const first = BigInt(index) * perCell;
    const last = first + perCell - 1n < total ? first + perCell - 1n : total - 1n;
    const here = inside.get(index) ?? [];
    return {
      label: first === last
        ? formatPrefix(subnetAt(first))
        : `${formatPrefix(subnetAt(first))} to ${formatPrefix(subnetAt(last))}`,
      state: STATES.find((state) => here.some((one) => one.state === state)) ?? "free",
      taken: Math.min(1, here.length / Number(last - first + 1n)),
      holders: here.slice(0, NAMED).map(({ holder }) => holder),
      count: here.length,
    };
  });
  return {
    network: formatPrefix(network),
    subnetLength,
    columns: Math.min(columns, cellCount),
    cells,
    perCell,
    total,
    counts,
    first: formatIp(firstIp(subnetAt(0n))),
    last: formatIp(firstIp(subnetAt(total - 1n))),
  };
}

/** `1 subnet`, `12 subnets`. */
export function countOf(count: bigint | number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${BigInt(count) === 1n ? "" : "s"}`;
}

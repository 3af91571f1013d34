/**
 * A network's subnets as a map: cells in rows, each one subnet or, of a large network, equally many. Pure, and shared by
 * the page and `flanneld leases map`.
 *
 * @module
 */
import {
  countRuns,
  type PoolConfig,
  poolSize,
  type Run,
  runsOf,
  subnetAt,
  subnetsIn,
} from "../config/pool_runs.ts";
import { firstIp, formatPrefix, type Prefix } from "../net/prefix.ts";
import { formatIp } from "../net/ip.ts";

/** What a subnet is. `expiring`: its lease wasn't renewed when it was due. */
export type SubnetState = "own" | "reserved" | "expiring" | "used" | "free";

/** A subnet that isn't free. */
export interface TakenSubnet {
  readonly subnet: Prefix;
  readonly state: Exclude<SubnetState, "free">;
  /** Whose it is, for people; empty for a reservation for no host. */
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
  /** Of the first few leases, whose they are. */
  readonly holders: readonly string[];
  /** Leases with a holder that take something of it. */
  readonly leases: number;
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

/** Of leases that overlap, the one whose state comes first counts; as for `flanneld leases pool`. */
const ORDER = ["own", "reserved", "used", "expiring", "free"] as const satisfies readonly SubnetState[];

/** A lease, with the numbers of the first and the last subnet that it takes. */
interface Taken extends Run<SubnetState> {
  readonly holder: string;
}

/** Lays the subnets out. Leases outside of the pool, or of another family, aren't on it. */
export function poolGrid(config: PoolConfig, taken: Iterable<TakenSubnet>, columns = 32): PoolGrid {
  const total = poolSize(config);
  const leases = [...taken].flatMap(({ subnet, state, holder }): Taken[] => {
    const range = subnetsIn(config, subnet);
    return range ? [{ state, holder, first: range[0], last: range[1] }] : [];
  });
  const runs = runsOf(leases, total, ORDER);
  let perCell = 1n;
  while ((total + perCell - 1n) / perCell > MAX_CELLS) perCell *= 2n;
  const cells = cellsOf(config, runs, leases, perCell);
  return {
    network: formatPrefix(config.network),
    subnetLength: config.subnetLength,
    columns: Math.min(columns, cells.length),
    cells,
    perCell,
    total,
    counts: {
      own: countRuns(runs, "own"),
      expiring: countRuns(runs, "expiring"),
      reserved: countRuns(runs, "reserved"),
      used: countRuns(runs, "used"),
      free: countRuns(runs, "free"),
    },
    first: formatIp(firstIp(subnetAt(config, 0n))),
    last: formatIp(firstIp(subnetAt(config, total - 1n))),
  };
}

function cellsOf(
  config: PoolConfig,
  runs: readonly Run<SubnetState>[],
  leases: readonly Taken[],
  perCell: bigint,
): MapCell[] {
  const total = poolSize(config), count = Number((total + perCell - 1n) / perCell);
  const runsIn = byCell(runs.filter(({ state }) => state !== "free"), perCell, count);
  const leasesIn = byCell(leases, perCell, count);
  const name = (number: bigint) => formatPrefix(subnetAt(config, number));
  return Array.from({ length: count }, (_, index): MapCell => {
    const first = BigInt(index) * perCell;
    const last = first + perCell - 1n < total ? first + perCell - 1n : total - 1n;
    const here = runsIn[index]!.map((run) => ({
      ...run,
      first: run.first > first ? run.first : first,
      last: run.last < last ? run.last : last,
    }));
    const taken = countRuns(here, ...STATES);
    const holders = leasesIn[index]!.map(({ holder }) => holder).filter((holder) => holder !== "");
    return {
      label: first === last ? name(first) : `${name(first)} to ${name(last)}`,
      state: STATES.find((state) => here.some((run) => run.state === state)) ?? "free",
      taken: Number(taken) / Number(last - first + 1n),
      holders: holders.slice(0, NAMED),
      leases: holders.length,
      count: Number(taken),
    };
  });
}

/** What overlaps each cell. */
function byCell<T extends Run<SubnetState>>(ranges: readonly T[], perCell: bigint, count: number): T[][] {
  const cells = Array.from({ length: count }, (): T[] => []);
  for (const range of ranges) {
    for (let cell = Number(range.first / perCell); cell <= Number(range.last / perCell); cell++) {
      cells[cell]!.push(range);
    }
  }
  return cells;
}

/** `1 subnet`, `12 subnets`. */
export function countOf(count: bigint | number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${BigInt(count) === 1n ? "" : "s"}`;
}

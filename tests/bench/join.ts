/**
 * How long a host takes to join a network of many leases, and how fast it follows peers that join while it
 * runs. Real etcd, real kernel; the peers exist only as leases.
 *
 *     deno task bench join [--sizes=1000,5000,20000] [--runs=3] [--live=1000]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Column, markdownTable } from "../../scripts/demo/table.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { Lab } from "../../scripts/lab/lab.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import { PREFIX } from "../../scripts/lab/store.ts";
import { fill } from "./fill.ts";
import type { FillTimes } from "./fill_etcd.ts";
import { describeMachine, median } from "./machine.ts";
import { BENCH_CONFIG } from "./peers.ts";
import { cpuSeconds, memory, prefixCount } from "./procfs.ts";
import { watchRoutes } from "./route_watch.ts";

const DEVICE = "flannel.1";
/** No change for this long means that the last route is there, in milliseconds. */
const QUIET = 1000;
/** Give up on routes after this long, in milliseconds. */
const LIMIT = 60_000;
/** Keys in one of etcd's transactions (its limit is 128). */
const PER_TRANSACTION = 100;

/** One join, measured. Times in seconds since exec, memory in MB. */
interface Join {
  readonly subnetFile: number;
  readonly lastRoute: number;
  readonly cpu: number;
  readonly memoryNow: number;
  readonly memoryPeak: number;
  /** Routes at the end. */
  readonly routes: number;
}

/** Peers that joined a running daemon. */
interface Live {
  /** Seconds from etcd's answer to the last write until the last route. */
  readonly delay: number;
  readonly writing: number;
  readonly came: number;
}

/** Waits for the file, looking often: a time is measured. */
async function untilFile(host: Host): Promise<number> {
  for (;;) {
    try {
      Deno.statSync(host.subnetFile);
      return Date.now();
    } catch {
      if (!host.daemon.isRunning) throw new Error(`flanneld ended:\n${host.daemon.log}`);
      await delay(1);
    }
  }
}

/** Ends the daemon and takes its lease away, so that the next host finds only the peers. */
async function leave(lab: Lab, host: Host): Promise<void> {
  const subnet = /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(await Deno.readTextFile(host.subnetFile))?.[1];
  await host.daemon.kill();
  await lab.etcd.ctl("del", `${PREFIX}/subnets/${subnet}.0-24`);
}

async function measureJoin(lab: Lab, host: Host, size: number): Promise<Join> {
  const began = Date.now();
  const daemon = host.start();
  const file = await untilFile(host);
  // The subnet file comes before the peers' routes.
  const { lastChange } = await watchRoutes(daemon.pid, {
    until: () => prefixCount(daemon.pid) >= size,
    quiet: QUIET,
    limit: LIMIT,
  });
  const { now, peak } = memory(daemon.pid);
  const cpu = cpuSeconds(daemon.pid);
  const routes = (await host.routes("-4", DEVICE)).length;
  await leave(lab, host);
  const seconds = (time: number) => (time - began) / 1000;
  return {
    subnetFile: seconds(file),
    lastRoute: seconds(lastChange),
    cpu,
    memoryNow: now,
    memoryPeak: peak,
    routes,
  };
}

async function measureLive(lab: Lab, host: Host, count: number, perTransaction: number): Promise<Live> {
  await host.startReady();
  let written: FillTimes | undefined;
  const filling = fill(lab, "put", 0, count, perTransaction).then((times) => written = times);
  const growth = await watchRoutes(host.daemon.pid, {
    until: () => written !== undefined,
    quiet: QUIET,
    limit: LIMIT,
  });
  const { began, ended } = await filling;
  const came = (await host.routes("-4", DEVICE)).length;
  await fill(lab, "delete");
  await until("all routes to go", async () => (await host.routes("-4", DEVICE)).length === 0, LIMIT);
  await host.daemon.kill();
  return { delay: Math.max(0, growth.lastChange - ended) / 1000, writing: (ended - began) / 1000, came };
}

const JOIN_COLUMNS: readonly Column[] = [
  "leases",
  "subnet file (s)",
  "last route (s)",
  "CPU (s)",
  "memory (MB)",
  "peak (MB)",
  "routes",
].map((title) => ({ title, align: "right" }));

function joinRow(size: number, joins: readonly Join[]): string[] {
  const of = (key: keyof Join, digits: number) => median(joins.map((join) => join[key])).toFixed(digits);
  return [
    size.toLocaleString("en"),
    of("subnetFile", 2),
    size === 0 ? "–" : of("lastRoute", 2),
    of("cpu", 2),
    of("memoryNow", 0),
    of("memoryPeak", 0),
    Math.min(...joins.map(({ routes }) => routes)).toLocaleString("en"),
  ];
}

const LIVE_COLUMNS: readonly Column[] = [
  { title: "peers join while it runs", align: "left" },
  { title: "writing took (s)", align: "right" },
  { title: "last route after the last write (s)", align: "right" },
  { title: "came", align: "right" },
];

function liveRow(label: string, count: number, lives: readonly Live[]): string[] {
  return [
    label,
    median(lives.map((live) => live.writing)).toFixed(2),
    median(lives.map((live) => live.delay)).toFixed(3),
    `${Math.min(...lives.map(({ came }) => came))} of ${count}`,
  ];
}

interface Options {
  readonly sizes: readonly number[];
  readonly runs: number;
  readonly live: number;
}

function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sizes: { type: "string", default: "0,1000,5000,20000" },
      runs: { type: "string", default: "3" },
      live: { type: "string", default: "1000" },
    },
  });
  const sizes = values.sizes.split(",").map(Number).toSorted((a, b) => a - b);
  return { sizes, runs: Number(values.runs), live: Number(values.live) };
}

/** Hosts are used once each: an old host's tables would help the next measurement, or hinder it. */
async function benchJoins(lab: Lab, options: Options, hosts: Host[]): Promise<string> {
  const rows: string[][] = [];
  let filled = 0;
  for (const size of options.sizes) {
    if (size > filled) await fill(lab, "put", filled, size - filled, PER_TRANSACTION);
    filled = size;
    const joins: Join[] = [];
    for (let run = 0; run < options.runs; run++) joins.push(await measureJoin(lab, hosts.shift()!, size));
    rows.push(joinRow(size, joins));
    console.log(rows.at(-1)!.join("  "));
  }
  await fill(lab, "delete");
  return markdownTable(JOIN_COLUMNS, rows);
}

async function benchLive(lab: Lab, options: Options, hosts: Host[]): Promise<string> {
  const cases = [
    { label: `${PER_TRANSACTION} keys in a transaction`, perTransaction: PER_TRANSACTION },
    { label: "one by one", perTransaction: 1 },
  ];
  const rows: string[][] = [];
  for (const { label, perTransaction } of cases) {
    const lives: Live[] = [];
    for (let run = 0; run < options.runs; run++) {
      lives.push(await measureLive(lab, hosts.shift()!, options.live, perTransaction));
    }
    rows.push(liveRow(label, options.live, lives));
    console.log(rows.at(-1)!.join("  "));
  }
  return markdownTable(LIVE_COLUMNS, rows);
}

/** Runs the benchmark and prints its tables. */
export async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args);
  const hosts = options.runs * (options.sizes.length + (options.live > 0 ? 2 : 0));
  await using lab = await Lab.create({ hosts, config: BENCH_CONFIG });
  const unused = [...lab.hosts];
  const tables = [await benchJoins(lab, options, unused)];
  if (options.live > 0) tables.push(await benchLive(lab, options, unused));
  console.log(`\nA host joins (${describeMachine(new Date())}; medians of ${options.runs})\n`);
  console.log(tables.join("\n\n"));
}

/**
 * The wireguard and ipip backends against devices that are made by hand in the same run, and a host that joins a
 * network of many WireGuard peers.
 *
 *     deno task bench tunnels [--rounds=12] [--seconds=1] [--sizes=2000,20000]
 *
 * What the kernel doesn't have is left out: without its WireGuard both sides run wireguard-go.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Column, markdownTable } from "../../scripts/demo/table.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { throughput } from "../../scripts/lab/measure.ts";
import { delay } from "../../scripts/lab/process.ts";
import { ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import { programs, wg } from "../lab/wireguard_lab.ts";
import { fill } from "./fill.ts";
import { connectTunnelsByHand, hasKind } from "./hand_tunnels.ts";
import { describeMachine, median } from "./machine.ts";
import { BENCH_CONFIG } from "./peers.ts";
import { cpuSeconds, memory } from "./procfs.ts";

/** Emulated machines are slow. */
const READY_MS = 120_000;

const COLUMNS: readonly Column[] = [
  { title: "backend", align: "left" },
  { title: "flanneld (Mbit/s)", align: "right" },
  { title: "by hand (Mbit/s)", align: "right" },
  { title: "ratio", align: "right" },
];

/**
 * What a backend carries and what a device made by hand carries, in turns. The ratio is the median of each round's: its
 * two halves are seconds apart.
 *
 * @returns The backend, both in Mbit/s, and the ratio, as text.
 */
export async function compare(
  type: "wireguard" | "ipip",
  rounds: number,
  seconds: number,
): Promise<string[]> {
  const config = networkConfig(["ipv4"], { Type: type });
  await using ours = await Lab.create({ hosts: 2, store: "sqlite", config });
  await using byHand = await Lab.create({ hosts: 2, store: "sqlite", config: null });
  // The devices are compared: nobody has firewall rules.
  const args = ["-iptables-forward-rules=false"];
  for (const host of ours.hosts) host.start({ args, ...ownWireguard(host) });
  const ready = ours.hosts.map((host) => host.waitReady(READY_MS));
  await Promise.all([...ready, connectTunnelsByHand(byHand, type)]);
  for (const lab of [ours, byHand]) {
    await lab.connect();
    await lab.pingAll(READY_MS);
  }
  const carry = async (lab: Lab) => {
    const [from, to] = lab.containers;
    return await throughput(from!, to!, to!.addresses.ipv4!, seconds);
  };
  const results: { own: number; hand: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const first = await carry(round % 2 === 0 ? ours : byHand);
    const second = await carry(round % 2 === 0 ? byHand : ours);
    results.push(round % 2 === 0 ? { own: first, hand: second } : { own: second, hand: first });
  }
  return [
    type,
    median(results.map(({ own }) => own)).toFixed(0),
    median(results.map(({ hand }) => hand)).toFixed(0),
    median(results.map(({ own, hand }) => own / hand)).toFixed(3),
  ];
}

const JOIN_COLUMNS: readonly Column[] = [
  "peers",
  "all on the device (s)",
  "CPU (s)",
  "memory (MB)",
  "peak (MB)",
  "the program's CPU (s)",
  "its memory (MB)",
].map((title) => ({ title, align: "right" }));

/** A host that joins, up to the moment when it is ready: its device has every peer then. */
async function join(lab: Lab, host: Host, size: number): Promise<string[]> {
  const began = performance.now();
  const daemon = host.start(ownWireguard(host));
  while (await host.probe("/readyz") !== 200) {
    if (!daemon.isRunning) throw new Error(`flanneld ended:\n${daemon.log}`);
    await delay(20);
  }
  const seconds = (performance.now() - began) / 1000;
  // `wrap` ends in an exec: the daemon's pid is the child's.
  const { now, peak } = memory(daemon.pid);
  const cpu = cpuSeconds(daemon.pid);
  const lines = (await wg(host, "show", "flannel-wg", "peers")).trim().split("\n");
  if (lines.length !== size) throw new Error(`${lines.length} of ${size} peers:\n${lab.logs()}`);
  const [program] = await programs(host);
  const carrier = program === undefined
    ? ["–", "–"]
    : [cpuSeconds(program).toFixed(2), memory(program).now.toFixed(0)];
  await daemon.kill();
  const own = [seconds.toFixed(2), cpu.toFixed(2), now.toFixed(0), peak.toFixed(0)];
  return [size.toLocaleString("en"), ...own, ...carrier];
}

async function joins(sizes: readonly number[]): Promise<string[][]> {
  const rows: string[][] = [];
  for (const size of sizes) {
    await using lab = await Lab.create({
      hosts: 1,
      config: { ...BENCH_CONFIG, Backend: { Type: "wireguard" } },
    });
    await fill(lab, "put", 0, size, 100, "wireguard");
    rows.push(await join(lab, lab.host(1), size));
  }
  return rows;
}

/** Runs the benchmark and prints its tables. */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "12" },
      seconds: { type: "string", default: "1" },
      sizes: { type: "string", default: "2000,20000" },
    },
  });
  const rows = [await compare("wireguard", Number(values.rounds), Number(values.seconds))];
  if (await hasKind("ipip")) rows.push(await compare("ipip", Number(values.rounds), Number(values.seconds)));
  const carrier = await hasKind("wireguard") ? "the kernel's WireGuard" : "wireguard-go";
  console.log(
    `TCP, one stream, container to container, ${carrier} on both sides (${describeMachine(new Date())})\n`,
  );
  console.log(markdownTable(COLUMNS, rows));
  const sizes = values.sizes.split(",").filter(Boolean).map(Number);
  if (sizes.length === 0) return;
  console.log(`\nA host joins a network of WireGuard peers, ${carrier}\n`);
  console.log(markdownTable(JOIN_COLUMNS, await joins(sizes)));
}

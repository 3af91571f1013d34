/**
 * What the udp backend carries, offload by offload, against the bare wire, the kernel's VXLAN and the same loop in C.
 *
 *     deno task bench udp [--rounds=2] [--seconds=3] [--only=PART OF A NAME] [--family=4|6]
 *
 * All ways are measured on one pair of hosts in network namespaces, between containers on bridges; on few cores
 * everything shares them with both ends of iperf3, so that only ratios within one run mean something.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Column, markdownTable } from "../../scripts/demo/table.ts";
import type { Namespace } from "../../scripts/lab/namespace.ts";
import { throughput } from "../../scripts/lab/measure.ts";
import { delay } from "../../scripts/lab/process.ts";
import { IPV4_ONLY, IPV6_ONLY, type UdpMode, UdpRig } from "../lab/udp_rig.ts";
import { describeMachine, median } from "./machine.ts";
import { baselinePath, type Path, udpPath, vxlan, wire } from "./udp_paths.ts";

const COLUMNS: readonly Column[] = [
  { title: "path", align: "left" },
  { title: "TCP (Gbit/s)", align: "right" },
  { title: "of VXLAN", align: "right" },
  { title: "CPU s/GB", align: "right" },
  { title: "64-byte packets/s", align: "right" },
  { title: "idle p50/p99 (µs)", align: "right" },
  { title: "loaded p50/p99 (µs)", align: "right" },
];

/** USER_HZ. */
const TICKS_PER_SECOND = 100;
/** Payload of a UDP packet that has 64 bytes with an IPv4 header; the same over IPv6, where it has 84. */
const SMALL = 36;

/** What was measured of one path, a value per round. */
interface Results {
  readonly gbits: number[];
  readonly cpu: number[];
  readonly packets: number[];
  readonly idle: number[];
  readonly loaded: number[];
}

/** CPU time of the whole machine that wasn't idle, in seconds. */
function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq, steal] = Deno.readTextFileSync("/proc/stat").split("\n")[0]!
    .split(/\s+/).map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / TICKS_PER_SECOND;
}

/** Round-trip times in microseconds, sorted. */
async function pings(from: Namespace, to: string, count: number): Promise<number[]> {
  const { stdout } = await from.exec(["ping", "-c", `${count}`, "-i", "0.003", to], { mayFail: true });
  return [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]) * 1000).sort((a, b) =>
    a - b
  );
}

/** UDP packets of 64 bytes that arrive in a second. */
async function smallPackets(
  from: Namespace,
  to: Namespace,
  address: string,
  seconds: number,
): Promise<number> {
  const server = to.spawn(["iperf3", "--server", "--one-off"]);
  try {
    await delay(300);
    const { stdout } = await from.exec([
      ...["iperf3", "--client", address, "--udp", "--bitrate", "0", "--length", `${SMALL}`],
      ...["--time", `${seconds}`, "--json"],
    ], { mayFail: true });
    const { end } = JSON.parse(stdout) as {
      end?: { sum: { packets: number; lost_packets: number; seconds: number } };
    };
    return end?.sum ? (end.sum.packets - end.sum.lost_packets) / end.sum.seconds : NaN;
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It served its one client and ended.
    }
    await Promise.allSettled([server.status, server.stdout.cancel(), server.stderr.cancel()]);
  }
}

async function measure(path: Path, rig: UdpRig, seconds: number, results: Results): Promise<void> {
  await using _open = await path.open(rig);
  const [one, two] = rig.hosts;
  const from = path.bare ? one.namespace : one.container, to = path.bare ? two.namespace : two.container;
  const address = path.bare ? two.address : two.inner;
  // A second of traffic first: the forwarder's code is compiled as it gets hot.
  await throughput(from, to, address, 1);
  const idle = await pings(from, address, 300);
  const before = busySeconds();
  const mbits = await throughput(from, to, address, seconds);
  const busy = busySeconds() - before;
  results.gbits.push(mbits / 1000);
  results.cpu.push(busy / (mbits * seconds / 8000));
  const [loaded] = await Promise.all([
    delay(300).then(() => pings(from, address, 300)),
    throughput(from, to, address, Math.min(seconds, 2)),
  ]);
  results.packets.push(await smallPackets(from, to, address, Math.min(seconds, 2)));
  results.idle.push(...idle);
  results.loaded.push(...loaded);
}

function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number) => (sorted[Math.floor(sorted.length * q)] ?? NaN).toFixed(0);
  return `${at(0.5)}/${at(0.99)}`;
}

function cells({ rig, path, results }: Row, reference: number): string[] {
  const { gbits, cpu, packets, idle, loaded } = results;
  const rate = median(gbits);
  return [
    `${path.name} (${rig.mode.name})`,
    rate.toFixed(2),
    (rate / reference).toFixed(2),
    median(cpu).toFixed(2),
    median(packets).toFixed(0),
    quantiles(idle),
    quantiles(loaded),
  ];
}

/** The ways of one family; `only` leaves the wire's reference and those whose name has it. */
async function pathsOf(mode: UdpMode, folder: string, only: string): Promise<Path[]> {
  const baseline = mode === IPV4_ONLY ? await baselinePath(folder) : undefined;
  const all = [
    wire,
    vxlan,
    udpPath("udp, every offload", {}),
    udpPath("udp without USO", { USO: false }),
    udpPath("udp without merging", { Merge: false }),
    udpPath("udp without UDP_GRO", { UDPGRO: false }),
    udpPath("udp without UDP_SEGMENT", { UDPSegment: false }),
    udpPath("udp without virtio headers", { TSO: false }),
    udpPath("udp, several packets a call", { Offload: false, Batch: true }),
    udpPath("udp, one packet a call", { Offload: false }),
    ...baseline ? [baseline] : [],
  ];
  return all.filter((path) => path === vxlan || path.name.includes(only));
}

/** A row of the table: one way in one family. */
interface Row {
  readonly rig: UdpRig;
  readonly path: Path;
  readonly results: Results;
}

/** The rows of both families, those of one way next to each other. */
async function rowsOf(rigs: readonly UdpRig[], folder: string, only: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const rig of rigs) {
    for (const path of await pathsOf(rig.mode, folder, only)) {
      rows.push({ rig, path, results: { gbits: [], cpu: [], packets: [], idle: [], loaded: [] } });
    }
  }
  const names = rows.map(({ path }) => path.name);
  return rows.toSorted((a, b) => names.indexOf(a.path.name) - names.indexOf(b.path.name));
}

/** Runs the benchmark and prints its table. */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "2" },
      seconds: { type: "string", default: "3" },
      only: { type: "string", default: "" },
      family: { type: "string", default: "" },
    },
  });
  const folder = await Deno.makeTempDir();
  await using rigs = new AsyncDisposableStack();
  rigs.defer(() => Deno.remove(folder, { recursive: true }));
  const open: UdpRig[] = [];
  for (const mode of [IPV4_ONLY, IPV6_ONLY].filter(({ name }) => name.endsWith(values.family))) {
    open.push(rigs.use(await UdpRig.make(mode)));
  }
  const rows = await rowsOf(open, folder, values.only);
  for (let round = 0; round < Number(values.rounds); round++) {
    // Every other round backwards: a machine that slows down does so for both ends of the list.
    for (const { path, rig, results } of round % 2 === 0 ? rows : rows.toReversed()) {
      await measure(path, rig, Number(values.seconds), results);
    }
  }
  const references = new Map(
    rows.filter(({ path }) => path === vxlan).map(({ rig, results }) => [rig, median(results.gbits)]),
  );
  console.log(`One TCP stream, container to container (${describeMachine(new Date())})\n`);
  console.log(markdownTable(COLUMNS, rows.map((one) => cells(one, references.get(one.rig)!))));
}

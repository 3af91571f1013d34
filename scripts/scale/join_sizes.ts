/**
 * A daemon joins networks that only leases make large: when its subnet file is there, when its last route is, and what
 * it takes of CPU and memory.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { cpuSeconds, memory, prefixCount } from "../../tests/bench/procfs.ts";
import { watchRoutes } from "../../tests/bench/route_watch.ts";
import type { Host } from "../lab/host.ts";
import { Lab } from "../lab/lab.ts";
import { delay } from "../lab/process.ts";
import { SCALE_CONFIG } from "./peers.ts";
import type { ScaleOptions, Section } from "./types.ts";

const WRITER = fileURLToPath(new URL("./write_leases.ts", import.meta.url));
const DEVICE = "flannel.1";
/** No route for this long: that was the last one, in milliseconds. */
const QUIET_MS = 2_000;
const LIMIT_MS = 180_000;
/** A daemon whose memory stays the same for so long is at rest, in milliseconds; it isn't waited for longer than that. */
const REST_MS = 3_000, REST_LIMIT_MS = 30_000;
/** Memory is the same where it differs by less than this, in megabytes. */
const SAME_MB = 1;
/** A neighbour table that holds that many entries of each kind (net.ipv4.neigh.default.gc_thresh3 is 1,024). */
const NEIGHBOURS = "1000000";

/** One join. Seconds and megabytes. */
interface Join {
  readonly leases: number;
  readonly subnetFile: number;
  readonly lastRoute: number;
  readonly cpu: number;
  readonly rest: number;
  readonly peak: number;
  readonly routes: number;
}

/** Writes `count` leases where etcd is. */
export async function fill(lab: Lab, count: number): Promise<void> {
  const command = [
    Deno.execPath(),
    "run",
    "-A",
    "--no-lock",
    WRITER,
    lab.etcd.endpoint,
    "fill",
    String(count),
  ];
  if (count > 0) await lab.switch.exec(command);
}

/** Starts the daemon and looks often. @returns Seconds until its subnet file. */
export async function startTimed(host: Host): Promise<number> {
  const began = performance.now();
  host.start();
  for (;;) {
    try {
      Deno.statSync(host.subnetFile);
      return (performance.now() - began) / 1000;
    } catch {
      if (!host.daemon.isRunning) throw new Error(`flanneld ended:\n${host.daemon.log}`);
      if (performance.now() - began > LIMIT_MS) throw new Error(`No subnet file:\n${host.daemon.log}`);
      await delay(2);
    }
  }
}

/** The memory of a daemon that has nothing more to do: on a busy machine a large network's last pass takes seconds. */
async function atRest(pid: number): Promise<ReturnType<typeof memory>> {
  const end = performance.now() + REST_LIMIT_MS;
  let last = memory(pid);
  for (let same = 0; same < REST_MS && performance.now() < end; same += 500) {
    await delay(500);
    const next = memory(pid);
    if (Math.abs(next.now - last.now) >= SAME_MB) same = 0;
    last = next;
  }
  return last;
}

async function join(leases: number): Promise<Join> {
  await using lab = await Lab.create({ hosts: 1, config: SCALE_CONFIG });
  const host = lab.hosts[0]!;
  await host.sysctl({ "net/ipv4/neigh/default/gc_thresh3": NEIGHBOURS }).catch(() => {
    // The whole machine's setting in some kernels; permanent entries don't count there.
  });
  await fill(lab, leases);
  const began = Date.now();
  const subnetFile = await startTimed(host);
  const { pid } = host.daemon;
  const { lastChange } = await watchRoutes(pid, {
    until: () => prefixCount(pid) >= leases,
    quiet: QUIET_MS,
    limit: LIMIT_MS,
  });
  const cpu = cpuSeconds(pid);
  const { now, peak } = await atRest(pid);
  const routes = (await host.routes("-4", DEVICE)).length;
  await host.daemon.stop();
  return { leases, subnetFile, lastRoute: (lastChange - began) / 1000, cpu, rest: now, peak, routes };
}

/** Runs the part. */
export async function runJoins({ sizes }: ScaleOptions): Promise<Section> {
  const joins: Join[] = [];
  for (const size of sizes) {
    joins.push(await join(size));
    console.log(JSON.stringify(joins.at(-1)));
  }
  const base = joins[0]!;
  const perPeer = (each: Join) => ((each.rest - base.rest) * 1e3) / (each.leases - base.leases);
  return {
    title: "A daemon joins a network of many leases",
    columns: [
      ...["leases", "subnet file (s)", "last route (s)", "CPU (s)", "at rest (MB)", "peak (MB)"],
      ...["KB a peer", "routes"],
    ],
    rows: joins.map((each) => [
      each.leases.toLocaleString("en"),
      each.subnetFile.toFixed(2),
      each.leases === 0 ? "–" : each.lastRoute.toFixed(2),
      each.cpu.toFixed(1),
      each.rest.toFixed(0),
      each.peak.toFixed(0),
      each === base ? "–" : perPeer(each).toFixed(2),
      each.routes.toLocaleString("en"),
    ]),
    plot: {
      xLabel: "leases",
      yLabel: "s",
      lines: [
        { label: "subnet file", points: joins.map((each) => [each.leases, each.subnetFile]) },
        { label: "last route", points: joins.map((each) => [each.leases, each.leases ? each.lastRoute : 0]) },
      ],
    },
  };
}

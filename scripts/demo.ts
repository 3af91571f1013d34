/**
 * A network of hosts on this machine, in under a minute: what flanneld does, to look at.
 *
 *     deno run -A scripts/demo.ts [--hosts N] [--backend vxlan|host-gw|udp] [--etcd]
 *
 * Every host is a network namespace with a flanneld and a container of its own. All of it is taken away again,
 * after Ctrl-C too.
 *
 * @module
 */
import type { Container, SubnetFile } from "./lab/container.ts";
import { Lab } from "./lab/lab.ts";
import { removeLeftovers } from "./lab/leftovers.ts";
import { ping, type PingCount, throughput } from "./lab/measure.ts";
import { DEMO_USAGE, type DemoOptions, DemoUsageError, parseDemoOptions } from "./demo/options.ts";
import { Progress, standardOutput } from "./demo/progress.ts";
import { type Column, plainTable } from "./demo/table.ts";

/** Pings from each container to each other one. */
const PINGS = 5;
/** Length of each throughput measurement, in seconds. */
const MEASUREMENT = 1;

const COLUMNS: readonly Column[] = [
  { title: "host", align: "left" },
  { title: "address", align: "left" },
  { title: "subnet", align: "left" },
  { title: "backend", align: "left" },
  { title: "MTU", align: "right" },
  { title: "ping", align: "right" },
  { title: "Mbit/s", align: "right" },
];

/** What was measured of one host's container. */
interface HostResult {
  readonly pings: readonly PingCount[];
  /** To the next host's container. */
  readonly megabits: number;
}

async function pingFrom(container: Container, all: readonly Container[]): Promise<PingCount[]> {
  const others = all.filter((other) => other !== container);
  return await Promise.all(
    others.map((other) => ping(container, other.addresses.ipv4!, { count: PINGS, interval: 100 })),
  );
}

function sum(counts: readonly PingCount[], key: "sent" | "received"): number {
  return counts.reduce((total, count) => total + count[key], 0);
}

function formatPings(counts: readonly PingCount[]): string {
  const times = counts.map(({ milliseconds }) => milliseconds).filter((time) => !Number.isNaN(time));
  const mean = times.reduce((total, time) => total + time, 0) / times.length;
  const share = `${sum(counts, "received")}/${sum(counts, "sent")}`;
  return times.length === 0 ? share : `${share}, ${mean.toFixed(2)} ms`;
}

function networkOf(subnet: string): string {
  const [address, length] = subnet.split("/");
  return `${address!.replace(/\.\d+$/, ".0")}/${length}`;
}

function table(
  lab: Lab,
  options: DemoOptions,
  files: readonly SubnetFile[],
  results: readonly HostResult[],
): string {
  return plainTable(
    COLUMNS,
    lab.hosts.map((host, index) => {
      const { pings, megabits } = results[index]!;
      const { subnets, mtu } = files[index]!;
      return [
        `h${host.number}`,
        host.addresses.ipv4!,
        networkOf(subnets.ipv4!),
        options.backend,
        `${mtu}`,
        formatPings(pings),
        megabits.toFixed(0),
      ];
    }),
  );
}

async function measure(progress: Progress, containers: readonly Container[]): Promise<HostResult[]> {
  const pings = await progress.step(
    "pinging every container from every other one",
    () => Promise.all(containers.map((container) => pingFrom(container, containers))),
    (counts) => `${sum(counts.flat(), "received")} of ${sum(counts.flat(), "sent")} pings answered`,
  );
  const results: HostResult[] = [];
  await progress.step(`TCP throughput, ${MEASUREMENT} s from each host to the next`, async () => {
    for (const [index, from] of containers.entries()) {
      const to = containers[(index + 1) % containers.length]!;
      const megabits = await throughput(from, to, to.addresses.ipv4!, MEASUREMENT);
      results.push({ pings: pings[index]!, megabits });
    }
  });
  return results;
}

async function show(options: DemoOptions, progress: Progress): Promise<boolean> {
  const { hosts, backend, store } = options;
  const config = { Network: "10.5.0.0/16", Backend: { Type: backend } };
  const place = store === "etcd" ? "etcd" : "an SQLite file";
  await removeLeftovers();
  await using lab = await progress.step(
    `${hosts} hosts on a switch, the config in ${place}`,
    () => Lab.create({ hosts, store, config }),
  );
  try {
    const files = await progress.step(
      `starting a flanneld in each host`,
      () => lab.startAll(),
      () => `${hosts} flannelds ready`,
    );
    const containers = await progress.step("a container on every host's subnet", () => lab.connect());
    await progress.step("waiting until all containers reach each other", () => lab.pingAll());
    const results = await measure(progress, containers);
    progress.sink.write(`\n${table(lab, options, files, results)}\n\n`);
    return results.every(({ pings }) => sum(pings, "received") === sum(pings, "sent"));
  } catch (error) {
    console.error(lab.logs(15));
    throw error;
  }
}

/** @returns The exit status. */
async function main(): Promise<number> {
  try {
    const options = parseDemoOptions(Deno.args);
    if (options === undefined) {
      console.log(DEMO_USAGE);
      return 0;
    }
    if (Deno.uid() !== 0) {
      console.error(
        "The demo makes network namespaces, and that needs root. Run it as root: sudo deno task demo",
      );
      return 1;
    }
    const began = performance.now();
    console.log(`flanneld: a ${options.backend} network of ${options.hosts} hosts on this machine\n`);
    const connected = await show(options, new Progress(standardOutput, () => performance.now()));
    console.log(
      `Done in ${((performance.now() - began) / 1000).toFixed(0)} s; everything is taken away again.`,
    );
    if (!connected) console.error("Some pings were lost.");
    return connected ? 0 : 1;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    console.error(
      error instanceof DemoUsageError ? `${message}\n\n${DEMO_USAGE}` : `The demo failed: ${message}`,
    );
    return error instanceof DemoUsageError ? 2 : 1;
  }
}

Deno.exit(await main());

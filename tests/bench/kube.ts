/**
 * How long a node takes to join a cluster of many, and what it costs to follow kubelets that write all the time.
 * A fake API server with Nodes of 20 KB, a real kernel, the built executable.
 *
 *     deno task bench kube [--sizes=1000,5000,10000] [--runs=3] [--churn=60]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Column, markdownTable } from "../../scripts/demo/table.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import { largeNode, peerName } from "../fakes/kube/scale.ts";
import { builtCommand, useCommand } from "../lab/built_binary.ts";
import { type KubeLab, nodeObject, withKubeLab } from "../lab/kube_lab.ts";
import { describeMachine, median } from "./machine.ts";
import { cpuSeconds, memory } from "./procfs.ts";
import { watchRoutes } from "./route_watch.ts";

const CONFIG = { Network: "10.0.0.0/8", Backend: { Type: "vxlan" } };
/** Peers of the test of following, and heartbeats each second: a kubelet writes every ten seconds. */
const CHURN = { peers: 5_200, perSecond: 500 } as const;
/** Between two changes whose lag is measured, in milliseconds. */
const PROBE_PAUSE = 200;
/** Between two looks at how late timers come, in milliseconds. */
const LATENESS_PAUSE = 20;

interface Join {
  readonly subnetFile: number;
  readonly lastRoute: number;
  readonly cpu: number;
  readonly rest: number;
  readonly peak: number;
  readonly routes: number;
}

const COLUMNS: readonly Column[] = [
  ...["nodes", "lists", "subnet file (s)", "last route (s)", "CPU (s)", "memory at rest (MB)", "peak (MB)"],
  "routes",
].map((title) => ({ title, align: "right" }));

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

async function measureJoin({ lab, start }: KubeLab, number: number): Promise<Join> {
  const host = lab.host(number);
  const began = Date.now();
  start(number);
  const file = await untilFile(host);
  const { pid } = host.daemon;
  const { lastChange } = await watchRoutes(pid, { until: () => true, quiet: 1_000, limit: 60_000 });
  const cpu = cpuSeconds(pid);
  const { peak } = memory(pid);
  await delay(4_000);
  const rest = memory(pid).now;
  const routes = (await host.routes("-4", "flannel.1")).length;
  await host.daemon.kill();
  const seconds = (time: number) => (time - began) / 1000;
  return { subnetFile: seconds(file), lastRoute: seconds(lastChange), cpu, rest, peak, routes };
}

/** Own subnets beside those of the peers. */
async function moveHosts({ lab, kube }: KubeLab): Promise<void> {
  for (const { number } of lab.hosts) {
    const cidr = `10.0.${number}.0/24`;
    await kube.call("update", "nodes", { ...nodeObject(number), spec: { podCIDR: cidr, podCIDRs: [cidr] } });
  }
}

async function benchJoins(sizes: readonly number[], runs: number): Promise<string> {
  const rows: string[][] = [];
  await withKubeLab({ hosts: sizes.length * 2 * runs, config: CONFIG }, async (kubeLab) => {
    await moveHosts(kubeLab);
    let filled = 0, host = 0;
    for (const size of sizes) {
      await kubeLab.kube.call("fill", filled, size - filled);
      filled = size;
      for (const gzip of [true, false]) {
        await kubeLab.kube.call("faults", { gzip });
        const joins: Join[] = [];
        for (let run = 0; run < runs; run++) joins.push(await measureJoin(kubeLab, ++host));
        const of = (key: keyof Join, digits: number) =>
          median(joins.map((join) => join[key])).toFixed(digits);
        rows.push([
          size.toLocaleString("en"),
          gzip ? "gzip" : "plain",
          ...[of("subnetFile", 2), of("lastRoute", 2), of("cpu", 2), of("rest", 0), of("peak", 0)],
          Math.min(...joins.map(({ routes }) => routes)).toLocaleString("en"),
        ]);
        console.log(rows.at(-1)!.join("  "));
      }
    }
  });
  return markdownTable(COLUMNS, rows);
}

/** How late timers of this process come, in milliseconds: what a busy machine adds to every lag. */
async function measureLateness(isOver: () => boolean): Promise<number[]> {
  const late: number[] = [];
  while (!isOver()) {
    const began = performance.now();
    await delay(LATENESS_PAUSE);
    late.push(performance.now() - began - LATENESS_PAUSE);
  }
  return late.toSorted((a, b) => a - b);
}

/** Creates peers one after the other, and waits for each one's route. @returns Milliseconds each took. */
async function measureLags({ lab, kube }: KubeLab, isOver: () => boolean): Promise<number[]> {
  const monitor = lab.host(1).spawn(["ip", "monitor", "route"]);
  let seen = "";
  const reading = (async () => {
    for await (const text of monitor.stdout.pipeThrough(new TextDecoderStream())) seen += text;
  })();
  const lags: number[] = [];
  for (let index = CHURN.peers; !isOver(); index++) {
    const node = largeNode(index), cidr = (node["spec"] as { podCIDR: string }).podCIDR;
    seen = "";
    const began = performance.now();
    await kube.call("create", "nodes", node);
    await until(`the route to ${peerName(index)}`, () => seen.includes(cidr), 10_000);
    lags.push(performance.now() - began);
    await delay(PROBE_PAUSE);
  }
  monitor.kill("SIGKILL");
  await Promise.allSettled([reading, monitor.stderr.cancel()]);
  return lags.toSorted((a, b) => a - b);
}

async function benchChurn(seconds: number): Promise<string> {
  let row: string[] = [];
  await withKubeLab({ hosts: 1, config: CONFIG }, async (kubeLab) => {
    const { lab, kube, start } = kubeLab;
    await moveHosts(kubeLab);
    await kube.call("fill", 0, CHURN.peers);
    start(1);
    await lab.host(1).waitReady();
    const { pid } = lab.host(1).daemon;
    await watchRoutes(pid, { until: () => true, quiet: 1_000, limit: 60_000 });
    // Garbage of the start goes in the first seconds.
    await kube.call("churn", CHURN.perSecond, 5);
    const before = { cpu: cpuSeconds(pid), memory: memory(pid).now, at: performance.now() };
    let over = false;
    const churning = kube.call<number>("churn", CHURN.perSecond, seconds).finally(() => over = true);
    const isOver = () => over;
    const [written, lags, late] = await Promise.all([
      churning,
      measureLags(kubeLab, isOver),
      measureLateness(isOver),
    ]);
    const cores = (cpuSeconds(pid) - before.cpu) / ((performance.now() - before.at) / 1000);
    const at = (sorted: readonly number[], part: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!.toFixed(0);
    row = [
      (written / seconds).toFixed(0),
      cores.toFixed(2),
      `${before.memory.toFixed(0)} → ${memory(pid).now.toFixed(0)}`,
      ...[0.5, 0.99, 1].map((part) => at(lags, part)),
      ...[0.99, 1].map((part) => at(late, part)),
    ];
  });
  const titles = [
    ...["status writes a second", "cores", "memory (MB)", "lag p50 (ms)", "p99", "max"],
    ...["timers late p99 (ms)", "max"],
  ];
  return markdownTable(titles.map((title) => ({ title, align: "right" })), [row]);
}

/** Runs the benchmark and prints its tables. */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sizes: { type: "string", default: "1000,5000,10000" },
      runs: { type: "string", default: "3" },
      churn: { type: "string", default: "60" },
    },
  });
  using _command = useCommand(await builtCommand());
  const sizes = values.sizes.split(",").filter(Boolean).map(Number);
  const tables = sizes.length > 0 ? [await benchJoins(sizes, Number(values.runs))] : [];
  if (Number(values.churn) > 0) tables.push(await benchChurn(Number(values.churn)));
  console.log(`\nA node joins a cluster (${describeMachine(new Date())}; medians of ${values.runs})\n`);
  console.log(tables.join("\n\n"));
}

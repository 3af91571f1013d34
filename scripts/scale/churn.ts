/**
 * Leases come and go all the time: how far behind a daemon's routes are, and what following takes.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { cpuSeconds, memory, prefixCount } from "../../tests/bench/procfs.ts";
import { watchRoutes } from "../../tests/bench/route_watch.ts";
import { Lab } from "../lab/lab.ts";
import type { Namespace } from "../lab/namespace.ts";
import { delay } from "../lab/process.ts";
import { TextLineStream } from "../text_lines.ts";
import { quantile } from "./join_hosts.ts";
import { fill, startTimed } from "./join_sizes.ts";
import { peerBase, SCALE_CONFIG } from "./peers.ts";
import type { ScaleOptions, Section } from "./types.ts";

const WRITER = fileURLToPath(new URL("./write_leases.ts", import.meta.url));
const LOGGER = fileURLToPath(new URL("./log_routes.ts", import.meta.url));
/** Leases of the network whose peers come and go. */
const LEASES = 10_000;
const LIMIT_MS = 120_000;
/** What was written last reaches the kernel and the log, in milliseconds. */
const TAIL_MS = 3_000;
/** Memory is looked at this often, in milliseconds. */
const SAMPLE_MS = 2_000;

/** Reads a program's lines until it ends. */
async function readLines(child: Deno.ChildProcess, take: (words: string[]) => void): Promise<void> {
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) take(line.split(" "));
}

function start(where: Namespace, ...args: string[]): Deno.ChildProcess {
  const child = where.spawn([Deno.execPath(), "run", "-A", "--no-lock", ...args]);
  void child.stderr.cancel();
  return child;
}

/** When each change was written and when its route came or went, in their order for each address. */
class Changes {
  readonly #written = new Map<string, number[]>();
  readonly #seen = new Map<string, number[]>();
  overruns = 0;

  written(address: string, at: number): void {
    push(this.#written, address, at);
  }

  seen(address: string, at: number): void {
    push(this.#seen, address, at);
  }

  /** Milliseconds from each write to its route, sorted; and how many routes are missing. */
  lags(): { lags: number[]; missing: number } {
    const lags: number[] = [];
    let missing = 0;
    for (const [address, writes] of this.#written) {
      const seen = this.#seen.get(address) ?? [];
      missing += Math.max(0, writes.length - seen.length);
      writes.slice(0, seen.length).forEach((at, i) => lags.push(Math.max(0, seen[i]! - at)));
    }
    return { lags: lags.toSorted((a, b) => a - b), missing };
  }
}

function push(map: Map<string, number[]>, key: string, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

/** Runs the part. */
export async function runChurn({ rate, seconds }: ScaleOptions): Promise<Section> {
  await using lab = await Lab.create({ hosts: 1, config: SCALE_CONFIG });
  const host = lab.hosts[0]!;
  await fill(lab, LEASES);
  await startTimed(host);
  const { pid } = host.daemon;
  await watchRoutes(pid, { until: () => prefixCount(pid) >= LEASES, quiet: TAIL_MS, limit: LIMIT_MS });
  const changes = new Changes();
  const logger = start(host, LOGGER);
  const logging = readLines(logger, ([change, address, at]) => {
    if (change === "overrun") changes.overruns++;
    else changes.seen(address!, Number(at));
  });
  await delay(1_000);
  const cpuBefore = cpuSeconds(pid);
  const began = performance.now();
  const samples: [number, number][] = [];
  const sampler = setInterval(
    () => samples.push([(performance.now() - began) / 1000, memory(pid).now]),
    SAMPLE_MS,
  );
  const writer = start(
    lab.switch,
    WRITER,
    lab.etcd.endpoint,
    "churn",
    ...[LEASES, rate, seconds].map(String),
  );
  await readLines(writer, ([index, , at]) => changes.written(peerBase(Number(index)), Number(at)));
  const elapsed = (performance.now() - began) / 1000;
  const cpu = (cpuSeconds(pid) - cpuBefore) / elapsed;
  await delay(TAIL_MS);
  clearInterval(sampler);
  logger.kill();
  await logging;
  await host.daemon.stop();
  const { lags, missing } = changes.lags();
  const at = (share: number) => quantile(samples.map(([, mb]) => mb), share).toFixed(0);
  return {
    title: `${rate} changes a second for ${seconds} s, among ${LEASES.toLocaleString("en")} leases`,
    columns: [
      ...["changes", "p50 (ms)", "p99 (ms)", "longest (ms)", "missing", "daemon's CPU (cores)"],
      ...["MB at first", "MB at the end", "MB at most"],
    ],
    rows: [[
      (lags.length + missing).toLocaleString("en"),
      quantile(lags, 0.5).toFixed(0),
      quantile(lags, 0.99).toFixed(0),
      (lags.at(-1) ?? NaN).toFixed(0),
      String(missing),
      cpu.toFixed(2),
      at(0),
      (samples.at(-1)?.[1] ?? NaN).toFixed(0),
      Math.max(...samples.map(([, mb]) => mb)).toFixed(0),
    ]],
    notes: changes.overruns > 0 ? [`The observer lost notifications ${changes.overruns} times.`] : [],
    plot: { xLabel: "s", yLabel: "MB", lines: [{ label: "resident memory", points: samples }] },
  };
}

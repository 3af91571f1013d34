/**
 * Thousands of hosts start at once: calls to etcd, its CPU and memory, the time until all have their subnets; and a
 * real daemon among them.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { cpuSeconds, memory } from "../../tests/bench/procfs.ts";
import { watchRoutes } from "../../tests/bench/route_watch.ts";
import { Lab } from "../lab/lab.ts";
import { delay } from "../lab/process.ts";
import { TextLineStream } from "../text_lines.ts";
import { startTimed } from "./join_sizes.ts";
import type { JoinReport, WatchReport } from "./light_hosts.ts";
import { SCALE_CONFIG } from "./peers.ts";
import { ProxiedEtcd } from "./proxied_etcd.ts";
import type { ScaleOptions, Section } from "./types.ts";

const LIGHT_HOSTS = fileURLToPath(new URL("./light_hosts.ts", import.meta.url));
/** Light hosts in one process. */
const PER_PROCESS = 1_250;
const QUIET_MS = 3_000;
const LIMIT_MS = 300_000;

/** What serves the hosts. */
type Kind = "one etcd" | "three, grpc-proxy";

/** One process of light hosts, in the switch's namespace. */
class Crowd {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #command: readonly string[];

  constructor(lab: Lab, endpoints: readonly string[], first: number, count: number, seconds: number) {
    const args = [endpoints.join(","), first, count, seconds].map(String);
    this.#command = [...lab.switch.enter, Deno.execPath(), "run", "-A", "--no-lock", LIGHT_HOSTS, ...args];
    const [program, ...rest] = this.#command;
    this.#child = new Deno.Command(program!, { args: rest, stdin: "piped", stdout: "piped" }).spawn();
    lab.children.add(this.#child);
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())
      .getReader();
  }

  async #line<T>(): Promise<T> {
    const { value } = await this.#lines.read();
    if (value === undefined) throw new Error(`${this.#command.join(" ")} ended early`);
    return JSON.parse(value);
  }

  joined(): Promise<JoinReport> {
    return this.#line();
  }

  async end(): Promise<WatchReport> {
    await this.#child.stdin.close();
    const report = await this.#line<WatchReport>();
    await this.#child.status;
    return report;
  }
}

/** What is measured of one kind. */
interface Outcome {
  readonly kind: Kind;
  readonly reports: readonly JoinReport[];
  /** Seconds from the first start until the last host had its subnet. */
  readonly all: number;
  readonly daemonFile: number;
  /** Seconds after the last subnet until the daemon has its route. */
  readonly lag: number;
  readonly routes: number;
  readonly etcdCpu: number;
  readonly etcdPeak: number;
  readonly watched: number;
  readonly broken: number;
}

async function measure(kind: Kind, { hosts, within }: ScaleOptions): Promise<Outcome> {
  const store = kind === "one etcd" ? "etcd" : ProxiedEtcd.start;
  await using lab = await Lab.create({ hosts: 1, config: SCALE_CONFIG, store });
  const proxied = lab.store instanceof ProxiedEtcd ? lab.store : undefined;
  const endpoints = proxied ? proxied.endpoints : [lab.etcd.endpoint];
  const pids = proxied ? [...proxied.pids.members, ...proxied.pids.proxies] : [lab.etcd.pid];
  const processes = Math.ceil(hosts / PER_PROCESS);
  const began = performance.now();
  const crowds = Array.from({ length: processes }, (_, i) => {
    const first = i * PER_PROCESS;
    return new Crowd(lab, endpoints, first, Math.min(PER_PROCESS, hosts - first), within);
  });
  const joining = Promise.all(crowds.map((crowd) => crowd.joined()));
  await delay(within * 500);
  const daemonFile = await startTimed(lab.hosts[0]!);
  const reports = await joining;
  const ended = Date.now();
  const all = (performance.now() - began) / 1000;
  const { pid } = lab.hosts[0]!.daemon;
  const { lastChange } = await watchRoutes(pid, { until: () => true, quiet: QUIET_MS, limit: LIMIT_MS });
  const routes = (await lab.hosts[0]!.routes("-4", "flannel.1")).length;
  const etcdCpu = pids.reduce((sum, each) => sum + cpuSeconds(each), 0);
  const etcdPeak = pids.reduce((sum, each) => sum + memory(each).peak, 0);
  await lab.hosts[0]!.daemon.stop();
  const ends = await Promise.all(crowds.map((crowd) => crowd.end()));
  return {
    ...{ kind, reports, all, daemonFile, routes, etcdCpu, etcdPeak },
    lag: Math.max(0, (lastChange - ended) / 1000),
    watched: ends.reduce((sum, { bytes }) => sum + bytes, 0),
    broken: ends.reduce((sum, { broken }) => sum + broken, 0),
  };
}

/** The value below which a share of all lies. @param values Sorted. */
export function quantile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;
}

function row(outcome: Outcome, hosts: number): string[] {
  const joined = outcome.reports.flatMap((report) => report.joined).toSorted((a, b) => a - b);
  const calls = outcome.reports.reduce((sum, report) => sum + report.calls, 0);
  return [
    outcome.kind,
    `${joined.length.toLocaleString("en")} of ${hosts.toLocaleString("en")}`,
    outcome.all.toFixed(0),
    (quantile(joined, 0.5) / 1000).toFixed(2),
    (quantile(joined, 0.99) / 1000).toFixed(2),
    (calls / hosts).toFixed(1),
    outcome.etcdCpu.toFixed(0),
    outcome.etcdPeak.toFixed(0),
    (outcome.watched / 1e6).toFixed(0),
    outcome.daemonFile.toFixed(2),
    outcome.lag.toFixed(1),
    `${outcome.routes.toLocaleString("en")}`,
  ];
}

/** Runs the part. */
export async function runHosts(options: ScaleOptions): Promise<Section> {
  const rows: string[][] = [];
  const notes: string[] = [];
  for (const kind of ["one etcd", "three, grpc-proxy"] as const) {
    const outcome = await measure(kind, options);
    rows.push(row(outcome, options.hosts));
    console.log(rows.at(-1)!.join("  "));
    const failures = [...new Set(outcome.reports.flatMap((report) => report.failures))];
    if (failures.length > 0) notes.push(`${kind}: hosts failed to join: ${failures.slice(0, 3).join("; ")}.`);
    if (outcome.broken > 0) notes.push(`${kind}: ${outcome.broken} connections broke.`);
  }
  return {
    title: `${options.hosts.toLocaleString("en")} hosts start within ${options.within} s`,
    columns: [
      ...["store", "joined", "all after (s)", "p50 (s)", "p99 (s)", "calls a host", "etcd CPU (s)"],
      ...["etcd peak (MB)", "watched (MB)", "daemon's subnet file (s)", "daemon behind (s)", "its routes"],
    ],
    rows,
    notes,
  };
}

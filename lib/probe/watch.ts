/**
 * Probes every peer again and again, at a bounded rate: what `-probe-interval` does in the daemon.
 *
 * Each round sends three packets to a peer and family: a small one and one of the device's MTU through the overlay,
 * and a small one beside it. What they mean is judged by the last 20 rounds.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { familiesOf, type Family } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Clock } from "../time/clock.ts";
import { Echoer, type EchoOutcome, type Side } from "./echoer.ts";
import type { EchoHistory } from "./history.ts";
import { KernelReader, pathOf } from "./kernel_path.ts";
import { PROBE_INTERVAL, PROBE_PEERS, PROBE_REQUESTS, PROBE_ROUND_TRIPS } from "./metrics.ts";
import { Pacer } from "./pacer.ts";
import {
  addressBeyond,
  addressToAsk,
  mayBeSilent,
  ownAddresses,
  type ProbeNetwork,
  type ProbeTarget,
} from "./target.ts";
import type { Severity, Verdict } from "./types.ts";
import { judge } from "./verdict.ts";
import { type FamilyHistory, findingsOf, lossOf, newHistory, SMALL_PAYLOAD } from "./watch_findings.ts";

/** Packets a second, whatever the number of peers. */
const RATE = 100;
/** A peer and family get so many in a round. */
const PACKETS = 3;
const TIMEOUT_MS = 1_000;
/** Hosts that start together don't probe together: the first round begins within this time. */
const JITTER_MS = 10_000;
/** Lines about peers that a round writes to the log. */
const LOG_LINES = 10;

/** What is watched, and where what is found goes. */
export interface WatchParts {
  /** The network as it is now. */
  network(): ProbeNetwork;
  /** The peers as they are now. */
  targets(): readonly ProbeTarget[];
  /** MTU of what goes through the overlay, in bytes. */
  mtu(): number;
  readonly intervalMs: number;
  readonly socket: NetlinkSocket;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** What the last rounds found of a peer. */
export interface WatchResult {
  /** The last round's end, in milliseconds since 1970. */
  readonly at: number;
  /** Median, in milliseconds; undefined where nothing came back. */
  readonly rttMs: number | undefined;
  /** 0 to 1. */
  readonly loss: number;
  readonly underlayLoss: number;
  readonly verdict: Verdict;
}

/** Which verdict of several families counts. */
const ORDER: readonly Severity[] = ["fault", "warning", "unknown", "ok"];

/** How long a round takes: as asked for, or as long as it takes at the highest rate. */
export function roundMs(intervalMs: number, peerFamilies: number): number {
  return Math.max(intervalMs, peerFamilies * PACKETS * 1000 / RATE);
}

/** See the module's text. */
export class PeerWatch {
  readonly #o: WatchParts;
  readonly #pacer: Pacer;
  readonly #kernel: KernelReader;
  readonly #peers = new Map<string, { at: number; readonly families: Map<Family, FamilyHistory> }>();
  /** Verdicts that were counted once: a gauge that no peer is in any more goes to 0. */
  readonly #codes = new Set<string>();
  #roundMs: number;
  #changes: { readonly severity: Severity; readonly line: string }[] = [];

  constructor(parts: WatchParts) {
    this.#o = parts;
    this.#pacer = new Pacer(RATE, parts.clock);
    this.#kernel = new KernelReader(parts.socket);
    this.#roundMs = parts.intervalMs;
  }

  /** Time between two probes of a peer, in milliseconds: what was asked for, or more where there are many peers. */
  get roundMs(): number {
    return this.#roundMs;
  }

  /** What is known of a peer; undefined before its first round. */
  result(key: string): WatchResult | undefined {
    const peer = this.#peers.get(key);
    const families = [...peer?.families.values() ?? []].filter(({ verdict }) => verdict !== undefined);
    if (!peer || families.length === 0) return undefined;
    const worst = families.sort((a, b) =>
      ORDER.indexOf(a.verdict!.severity) - ORDER.indexOf(b.verdict!.severity)
    )[0]!;
    const { small, underlay, verdict } = worst;
    return {
      at: peer.at,
      rttMs: small.p50,
      loss: lossOf(small),
      underlayLoss: lossOf(underlay),
      verdict: verdict!,
    };
  }

  /** Rounds until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs, problems } = this.#o;
    await clock.sleep(clock.random() * Math.min(intervalMs, JITTER_MS), signal);
    while (!signal.aborted) {
      const began = clock.now();
      try {
        await this.#round(signal);
        problems.clear("probe", "probes run");
      } catch (error) {
        problems.set("probe", `cannot probe peers, retrying: ${messageOf(error)}`);
      }
      await clock.sleep(Math.max(0, began + this.#roundMs - clock.now()), signal);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { clock, metrics, intervalMs } = this.#o;
    const network = this.#o.network(), targets = this.#o.targets();
    const families = familiesOf(network.subnets);
    this.#roundMs = roundMs(intervalMs, targets.length * families.length);
    metrics.gauge(PROBE_INTERVAL, this.#roundMs / 1000);
    this.#forget(targets);
    this.#kernel.refresh();
    const began = clock.now();
    const own = ownAddresses(network, families);
    await using echoer = new Echoer(families, own, this.#pacer);
    const running: Promise<void>[] = [];
    for (const [index, target] of targets.entries()) {
      // Spread over the round: a burst would measure itself.
      const due = began + index * this.#roundMs / targets.length;
      await clock.sleep(Math.max(0, due - clock.now()), signal);
      if (signal.aborted) break;
      running.push(this.#probe(target, network, echoer, signal));
    }
    await Promise.all(running);
    if (!signal.aborted) this.#report();
  }

  #forget(targets: readonly ProbeTarget[]): void {
    const present = new Set(targets.map(({ key }) => key));
    for (const key of this.#peers.keys()) if (!present.has(key)) this.#peers.delete(key);
  }

  async #probe(
    target: ProbeTarget,
    network: ProbeNetwork,
    echoer: Echoer,
    signal: AbortSignal,
  ): Promise<void> {
    const { subnets } = target.lease;
    const families = familiesOf(subnets).filter(({ name }) => network.subnets[name]);
    let peer = this.#peers.get(target.key);
    if (!peer) this.#peers.set(target.key, peer = { at: 0, families: new Map() });
    const { families: histories } = peer;
    await Promise.all(families.map(async (family) => {
      let history = histories.get(family);
      if (!history) histories.set(family, history = newHistory());
      await this.#ask(target, family, history, { network, echoer, signal });
      if (!signal.aborted) this.#judge(target, family, history, network);
    }));
    peer.at = Date.now();
  }

  async #ask(
    { lease }: ProbeTarget,
    family: Family,
    history: FamilyHistory,
    { network, echoer, signal }: {
      readonly network: ProbeNetwork;
      readonly echoer: Echoer;
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const subnet = lease.subnets[family.name]!;
    const overlay = addressToAsk(network.type, subnet);
    const publicIp = lease.attributes.publicIps[family.name];
    const smallBytes = family.headerBytes + SMALL_PAYLOAD;
    const echo = (side: Side, to: Ip, packetBytes: number, ttl?: number) =>
      echoer.echo(
        { side, to, packetBytes, timeoutMs: TIMEOUT_MS, ...ttl === undefined ? {} : { ttl } },
        signal,
      );
    const [small, large, underlay] = await Promise.all([
      echo("overlay", overlay, smallBytes),
      echo("overlay", overlay, Math.max(smallBytes, this.#o.mtu())),
      publicIp && echo("underlay", publicIp, smallBytes),
    ]);
    if (signal.aborted) return;
    let trip = tripOf(small);
    if (trip === undefined && mayBeSilent(network.type) && pathOf(network.type) === "direct") {
      // Nothing need have the address: the peer itself says that it can't deliver what may take one hop only.
      const beyond = await echo("overlay", addressBeyond(subnet), smallBytes, 1);
      if (beyond.kind === "error" && beyond.error.reason === "time exceeded") trip = beyond.rttMs;
    }
    this.#add("overlay", history.small, trip);
    if (tripOf(small) !== undefined) history.large.add(tripOf(large));
    if (underlay) this.#add("underlay", history.underlay, tripOf(underlay));
  }

  #add(side: Side, history: EchoHistory, rttMs: number | undefined): void {
    const { metrics } = this.#o;
    history.add(rttMs);
    metrics.count(PROBE_REQUESTS, { side, result: rttMs === undefined ? "lost" : "answered" });
    if (rttMs !== undefined) metrics.observe(PROBE_ROUND_TRIPS, rttMs / 1000, { side });
  }

  #judge(target: ProbeTarget, family: Family, history: FamilyHistory, network: ProbeNetwork): void {
    const before = history.verdict?.code;
    history.verdict = judge(
      findingsOf(target, family, history, network, { reader: this.#kernel, mtu: this.#o.mtu() }),
    );
    const { code, severity, text } = history.verdict;
    if (code === before || (before === undefined && severity === "ok")) return;
    const was = before === undefined ? "" : ` (was ${before})`;
    this.#changes.push({ severity, line: `peer ${target.key}, ${family.label}: ${code}${was}: ${text}` });
  }

  /** What changed in this round goes to the log, and how many peers are how to the metrics. */
  #report(): void {
    const { log, metrics } = this.#o;
    for (const { severity, line } of this.#changes.slice(0, LOG_LINES)) {
      if (severity === "fault") log.warn(line);
      else log.info(line);
    }
    const more = this.#changes.length - LOG_LINES;
    if (more > 0) log.info(`${more} more peers changed; flanneld status --peers shows all`);
    this.#changes = [];
    const counts = new Map([...this.#codes].map((code) => [code, 0]));
    for (const key of this.#peers.keys()) {
      const code = this.result(key)?.verdict.code;
      if (code !== undefined) counts.set(code, (counts.get(code) ?? 0) + 1);
    }
    for (const [verdict, count] of counts) {
      this.#codes.add(verdict);
      metrics.gauge(PROBE_PEERS, count, { verdict });
    }
  }
}

function tripOf(outcome: EchoOutcome): number | undefined {
  return outcome.kind === "reply" ? outcome.rttMs : undefined;
}

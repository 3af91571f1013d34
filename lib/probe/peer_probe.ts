/**
 * Probes one peer in one address family: overlay and underlay side by side, and where one fails, why.
 *
 * @module
 */
import { familiesOf, type Family } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import { type Echoer, type EchoOutcome, type Side } from "./echoer.ts";
import { isRoutedByOthers, type KernelPath, type KernelReader, pathOf } from "./kernel_path.ts";
import { findPathMtu, type PathMtu, Series } from "./measure.ts";
import type { WatchTarget } from "./outer_watch.ts";
import {
  addressBeyond,
  addressToAsk,
  describeCarrier,
  mayBeSilent,
  peerPorts,
  type ProbeNetwork,
  type ProbeTarget,
} from "./target.ts";
import type { FamilyView, PathView, ProbeView } from "./types.ts";
import type { Findings, OuterFindings, SideFindings } from "./findings.ts";
import { judge } from "./verdict.ts";

/** The data of ping(8), 56 bytes, with the ICMP header. */
const SMALL_PAYLOAD = 64;
/** Packets beyond those that were asked for, where some are lost: a share needs a number. */
const MORE_AFTER_LOSS = 20;
/** A size counts as too large after this many packets without an answer, and where packets get lost anyway. */
const MTU_TRIES = 3, MTU_TRIES_WITH_LOSS = 6;
/** How long an answer may take in a search for the MTU, in milliseconds, and how many round trips. */
const MTU_TIMEOUT_MS = 250, MTU_ROUND_TRIPS = 4;

/** How much is asked. */
export interface ProbeSettings {
  /** Echo requests over each side. */
  readonly count: number;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** What a probe works with. */
export interface ProbeTools {
  readonly network: ProbeNetwork;
  readonly echoer: Echoer;
  readonly kernel: KernelReader;
  readonly settings: ProbeSettings;
  readonly signal: AbortSignal;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Looks at the tunnel's outer packets while `during` runs. */
  watchOuter?(target: WatchTarget, during: () => Promise<void>): Promise<OuterFindings | undefined>;
  /** Whether a TCP connection to a closed port is refused. */
  tryTcp?(to: Ip, source: Ip | undefined): Promise<Findings["tcp"]>;
  /** Seconds since the last handshake; null: there was none. */
  handshakeAge?(target: ProbeTarget, family: Family, device: string): Promise<number | null | undefined>;
}

/** Probes a peer in every family of the network. */
export async function probePeer(target: ProbeTarget, tools: ProbeTools): Promise<ProbeView> {
  const families = familiesOf(target.lease.subnets).filter(({ name }) => tools.network.subnets[name]);
  const views = await Promise.all(families.map((family) => new FamilyProbe(target, family, tools).run()));
  return { key: target.key, at: Date.now(), families: views };
}

/** One side's measurements. */
interface SideResult {
  readonly series: Series;
  mtu?: PathMtu;
}

class FamilyProbe {
  readonly #target: ProbeTarget;
  readonly #family: Family;
  readonly #tools: ProbeTools;
  readonly #overlayIp: Ip;
  readonly #publicIp: Ip | undefined;

  constructor(target: ProbeTarget, family: Family, tools: ProbeTools) {
    this.#target = target;
    this.#family = family;
    this.#tools = tools;
    this.#overlayIp = addressToAsk(tools.network.type, target.lease.subnets[family.name]!);
    this.#publicIp = target.lease.attributes.publicIps[family.name];
  }

  async run(): Promise<FamilyView> {
    const { kernel: reader, network } = this.#tools;
    const before = reader.path(network.type, this.#target.lease, this.#overlayIp);
    const overlay: SideResult = { series: new Series() };
    const underlay: SideResult = { series: new Series() };
    await Promise.all([
      this.#measure("overlay", this.#overlayIp, overlay.series),
      this.#publicIp && this.#measure("underlay", this.#publicIp, underlay.series),
    ]);
    await this.#measureMore(overlay, underlay);
    await Promise.all([
      this.#findMtu("overlay", this.#overlayIp, overlay, before.link?.mtu),
      this.#publicIp && this.#findMtu("underlay", this.#publicIp, underlay, before.underlay.link?.mtu),
    ]);
    const findings = await this.#findings(before, overlay, underlay);
    const verdict = judge(findings);
    return {
      family: this.#family.name,
      path: findings.path,
      overlay: viewOf(this.#overlayIp, overlay, this.#note()),
      underlay: viewOf(this.#publicIp, underlay),
      verdict,
    };
  }

  #note(): { note?: string } {
    const problem = this.#tools.echoer.sourceProblems[this.#family.name];
    return problem === undefined ? {} : { note: `asked from this host's public address: ${problem}` };
  }

  async #measure(side: Side, to: Ip, series: Series, count = this.#tools.settings.count): Promise<void> {
    const { settings, sleep, signal } = this.#tools;
    const running: Promise<void>[] = [];
    for (let i = 0; i < count && !signal.aborted; i++) {
      if (i > 0) await sleep(settings.intervalMs, signal);
      running.push(this.#echo(side, to, this.#small).then((outcome) => series.add(outcome)));
    }
    await Promise.all(running);
  }

  get #small(): number {
    return this.#family.headerBytes + SMALL_PAYLOAD;
  }

  #echo(side: Side, to: Ip, packetBytes: number, timeoutMs = this.#tools.settings.timeoutMs, ttl?: number) {
    const { echoer, signal } = this.#tools;
    return echoer.echo({ side, to, packetBytes, timeoutMs, ...ttl === undefined ? {} : { ttl } }, signal);
  }

  /** Where some packets are lost, more are sent: of five, one lost says little. */
  async #measureMore(overlay: SideResult, underlay: SideResult): Promise<void> {
    const loses = ({ series }: SideResult) => series.received > 0 && series.received < series.sent;
    if (!loses(overlay) && !loses(underlay)) return;
    await Promise.all([
      overlay.series.received > 0 &&
      this.#measure("overlay", this.#overlayIp, overlay.series, MORE_AFTER_LOSS),
      this.#publicIp && underlay.series.received > 0 &&
      this.#measure("underlay", this.#publicIp, underlay.series, MORE_AFTER_LOSS),
    ]);
  }

  async #findMtu(side: Side, to: Ip, result: SideResult, most: number | undefined): Promise<void> {
    const { series } = result;
    if (series.received === 0 || most === undefined) return;
    const tries = series.loss > 0 ? MTU_TRIES_WITH_LOSS : MTU_TRIES;
    const timeoutMs = Math.min(
      this.#tools.settings.timeoutMs,
      Math.max(MTU_TIMEOUT_MS, (series.trips?.p99 ?? 0) * MTU_ROUND_TRIPS),
    );
    const send = (bytes: number): Promise<EchoOutcome> => this.#echo(side, to, bytes, timeoutMs);
    result.mtu = await findPathMtu({ least: this.#small, most, tries }, send);
  }

  async #findings(before: KernelPath, overlay: SideResult, underlay: SideResult): Promise<Findings> {
    const { network, kernel: reader } = this.#tools;
    const isDead = overlay.series.received === 0;
    if (isDead) reader.refresh();
    let kernel = isDead ? reader.path(network.type, this.#target.lease, this.#overlayIp) : before;
    const carrier = kernel.path === "direct" ? undefined : describeCarrier(network);
    const more = isDead ? await this.#diagnose(kernel) : await this.#tryTcp();
    if (isDead && underlay.series.received === 0 && this.#publicIp) {
      const { sleep, signal } = this.#tools;
      const verified = await reader.verifyNextHop(this.#publicIp, (ms) => sleep(ms, signal));
      kernel = { ...kernel, underlay: verified };
    }
    const { nextHop, neighbour, link } = kernel.underlay;
    return {
      publicIp: this.#publicIp ? formatIp(this.#publicIp) : "its public address",
      path: kernel.path === "none" ? pathOf(network.type) : kernel.path,
      ...carrier === undefined ? {} : { carrier },
      ...kernel.link ? { device: kernel.link.name } : {},
      ...link ? { externalDevice: link.name } : {},
      overlay: sideFindings(overlay),
      underlay: sideFindings(underlay),
      ...kernel.fault ? { kernel: kernel.fault } : {},
      ...nextHop && neighbour
        ? { nextHop: { address: formatIp(nextHop), resolved: neighbour === "resolved" } }
        : {},
      ...mayBeSilent(network.type) ? { mayBeSilent: true } : {},
      ...more,
    };
  }

  /** Nothing came back through the overlay: what can be seen from here. */
  async #diagnose(kernel: KernelPath): Promise<Partial<Findings>> {
    const { watchOuter, handshakeAge } = this.#tools;
    const found: { -readonly [key in keyof Findings]?: Findings[key] } = {};
    if (kernel.fault) return found;
    if (await this.#hostAnswers(kernel)) return { answeredByHost: true };
    Object.assign(found, await this.#tryTcp());
    // That nothing answers TCP either says nothing more.
    if (found.tcp === "silent") delete found.tcp;
    if (watchOuter && this.#publicIp && !isRoutedByOthers(kernel.path)) {
      const { tunnel } = this.#tools.network;
      const subnet = this.#target.lease.subnets[this.#family.name]!;
      const ports = peerPorts(this.#target);
      const watched = { publicIp: this.#publicIp, subnet, kernel, ports, ...tunnel ? { tunnel } : {} };
      const again = new Series();
      const outer = await watchOuter(watched, () => this.#measure("overlay", this.#overlayIp, again, 3));
      if (outer) found.outer = outer;
    }
    if (handshakeAge && kernel.path === "wireguard" && kernel.link) {
      const age = await handshakeAge(this.#target, this.#family, kernel.link.name);
      if (age !== undefined) found.handshakeAge = age;
    }
    return found;
  }

  /**
   * A packet that may take one hop only, and is for an address that isn't the peer's own: a peer that forwards says
   * that it can't deliver it. Works where nothing in its subnet answers, and past what its firewall does with
   * packets for the peer itself.
   */
  async #hostAnswers({ path }: KernelPath): Promise<boolean> {
    // By way of a cloud's routers nobody knows whose answer that is.
    if (isRoutedByOthers(path)) return false;
    const beyond = addressBeyond(this.#target.lease.subnets[this.#family.name]!);
    // The udp backend's forwarder on this host is a hop of its own.
    const hops = path === "udp" ? 2 : 1;
    const outcome = await this.#echo("overlay", beyond, this.#small, undefined, hops);
    return outcome.kind === "error" && outcome.error.reason === "time exceeded";
  }

  async #tryTcp(): Promise<Partial<Findings>> {
    const { tryTcp, network } = this.#tools;
    if (!tryTcp || mayBeSilent(network.type)) return {};
    await this.#tools.echoer.slot(this.#tools.signal);
    const own = network.subnets[this.#family.name];
    const tcp = await tryTcp(this.#overlayIp, own && addressToAsk(network.type, own));
    return tcp === undefined ? {} : { tcp };
  }
}

function viewOf(target: Ip | undefined, { series, mtu }: SideResult, note: { note?: string } = {}): PathView {
  const { trips } = series;
  return {
    ...target ? { target: formatIp(target) } : {},
    sent: series.sent,
    received: series.received,
    ...trips ? { rttMs: trips } : {},
    ...mtu ? { mtu: mtu.mtu } : {},
    ...note,
  };
}

function sideFindings({ series, mtu }: SideResult): SideFindings {
  const { trips, unsent, error } = series;
  return {
    sent: series.sent,
    received: series.received,
    ...trips ? { p50: trips.p50 } : {},
    ...unsent ? { unsent: unsent.code } : {},
    ...error ? { error: { reason: error.error.reason, from: formatIp(error.from) } } : {},
    ...mtu
      ? {
        mtu: {
          ...{ mtu: mtu.mtu, most: mtu.most, blackHole: mtu.blackHole },
          ...mtu.reported ? { reportedBy: formatIp(mtu.reported.from) } : {},
        },
      }
      : {},
  };
}

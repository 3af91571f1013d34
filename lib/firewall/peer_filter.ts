/**
 * The peer filter: packets to the tunnel whose outer source isn't a live peer are dropped before the tunnel sees them,
 * and what this host's containers send to a peer's tunnel before it leaves.
 *
 * The peers' addresses are sets in a table of its own, which only this module writes.
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import { type Log, type Metrics, noMetrics } from "../observe/types.ts";
import { checkTunnel, isUdpTunnel, type Tunnel } from "../net/tunnel.ts";
import { type NftablesNotification } from "../netlink/nftables.ts";
import { CommandError, type CommandRunner, systemRunner } from "./command.ts";
import { blindProbe, type HostProbe, systemProbe } from "./host_probe.ts";
import { Turns } from "../time/turns.ts";
import { keepAt } from "./loop.ts";
import { firewallNames } from "./names.ts";
import { listTable } from "./nftables.ts";
import {
  differenceScript,
  DROPPED_COUNTER,
  droppedCount,
  filterRemoval,
  filterScript,
  filterSignature,
  listedElements,
  type PeerSets,
  peerSets,
} from "./peer_filter_text.ts";
import { detectNft, FirewallUnavailableError } from "./tools.ts";
import { WriteBackoff } from "./write_backoff.ts";
import { PEER_FILTER_REPAIRS } from "./metrics.ts";

/** Options of {@link PeerFilter.open}. */
export interface PeerFilterOptions {
  /** What the filter guards. */
  readonly tunnel: Tunnel;
  /** What identifies this network among others on the same host: the etcd prefix or the path of the SQLite store. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics?: Metrics;
  /** @default programs of this system, in this process's network namespace */
  readonly run?: CommandRunner;
  /** @default this process's network namespace; with a `run` of your own: none */
  readonly probe?: HostProbe;
}

/** The live peers. */
export interface PeerEnds {
  /** Their public addresses; read once, when the write begins. */
  readonly addresses: Iterable<Ip>;
  /** UDP ports at which their tunnels listen, besides the own ones; read as the addresses are. */
  readonly ports?: Iterable<number>;
}

/** Up to so many elements are looked at in every pass in which nftables has changed. */
const FEW_ELEMENTS = 1000;

/** Reading the sets takes nft 5 us an element: more elements are looked at this rarely, which costs 0.1 %. */
const MILLISECONDS_PER_ELEMENT = 5;

/** When the filter was found as it was left, to see later whether anybody may have touched it. */
interface Sighting {
  readonly generation: number | undefined;
  /** In milliseconds, as performance.now(). */
  readonly time: number;
}

/**
 * One network's peer filter. Until the first {@link setPeers} nothing is filtered, or what an earlier process
 * left stays in force. Calls are carried out one after the other.
 */
export class PeerFilter implements Disposable {
  readonly #run: CommandRunner;
  readonly #probe: HostProbe;
  readonly #log: Log;
  readonly #table: string;
  readonly #tunnel: Tunnel;
  readonly #metrics: Metrics;
  readonly #backoff: WriteBackoff;
  /** What the last {@link setPeers} was given; undefined after {@link remove}. */
  #asked: PeerEnds | undefined;
  /** What is to be in the sets; undefined before the first call and after {@link remove}. */
  #wanted: PeerSets | undefined;
  /** What this process put into the sets; undefined when that isn't sure. */
  #held: PeerSets | undefined;
  #signature = "";
  /** When everything but the sets' elements was found as it was left. */
  #frameVerified: Sighting | undefined;
  /** When the elements were. */
  #elementsVerified: Sighting | undefined;
  /** Packets that tables dropped which this process has replaced. */
  #droppedBefore = 0;
  /** A write that is asked for and hasn't begun. */
  #pending: Promise<void> | undefined;
  readonly #turns = new Turns();

  private constructor(options: PeerFilterOptions, run: CommandRunner) {
    this.#run = run;
    this.#log = options.log;
    this.#table = firewallNames(options.networkId).peerTable;
    this.#tunnel = options.tunnel;
    this.#metrics = options.metrics ?? noMetrics;
    this.#probe = options.probe ?? (options.run ? blindProbe : systemProbe());
    this.#backoff = new WriteBackoff({ metrics: this.#metrics, stamp: () => this.#probe.generation() });
  }

  /**
   * @throws {RangeError} If a port isn't 1 to 65535, or the protocol number not 0 to 255.
   * @throws {FirewallUnavailableError} If this host has no nft that works.
   */
  static async open(options: PeerFilterOptions): Promise<PeerFilter> {
    checkTunnel(options.tunnel);
    const run = options.run ?? systemRunner();
    const problems: string[] = [];
    if (!await detectNft(run, problems)) {
      const why = problems.join("; ") || "nft isn't installed";
      throw new FirewallUnavailableError(
        `PeerFilter needs nftables: ${why}. Install Debian's package nftables, or take PeerFilter out of the config`,
      );
    }
    return new PeerFilter(options, run);
  }

  /**
   * Lets exactly these peers send into the tunnel. The first call puts the whole filter in place, in one
   * transaction; later ones write the difference. Calls that come while one is under way are put together.
   *
   * @returns When the kernel has them.
   * @throws {CommandError} If nft fails; the next call or {@link resync} tries again.
   */
  setPeers(peers: PeerEnds): Promise<void> {
    this.#asked = peers;
    return this.#pending ??= this.#turns.take(async () => {
      this.#pending = undefined;
      if (!this.#asked) return;
      const ownPorts = isUdpTunnel(this.#tunnel) ? this.#tunnel.udpPorts : [];
      this.#wanted = peerSets(this.#asked.addresses, [...ownPorts, ...this.#asked.ports ?? []]);
      await this.#write(this.#wanted);
    });
  }

  /**
   * How many packets were dropped since this process put the filter in place.
   *
   * @throws {CommandError} If nft fails.
   */
  droppedPackets(): Promise<number> {
    return this.#turns.take(async () => this.#droppedBefore + await this.#readCounter());
  }

  /** The same at once and without a program; undefined where the kernel doesn't say. */
  droppedPacketsNow(): number | undefined {
    const packets = this.#probe.counterPackets("inet", this.#table, DROPPED_COUNTER);
    return packets === undefined ? undefined : this.#droppedBefore + Number(packets);
  }

  /**
   * Looks whether the filter is as it was left, and restores it. Costs next to nothing when nothing in nftables
   * changed.
   *
   * @returns Whether anything was written.
   * @throws {CommandError} If nft fails.
   * @throws {IneffectiveWriteError} If what was written isn't there afterwards; then writes become rare.
   */
  resync(): Promise<boolean> {
    return this.#turns.take(async () => {
      if (!this.#wanted) return false;
      if (!this.#held) {
        await this.#write(this.#wanted);
        return true;
      }
      if (await this.#isAsLeft(this.#held)) {
        this.#backoff.reset();
        return false;
      }
      await this.#restore(this.#wanted);
      return true;
    });
  }

  /**
   * Calls {@link resync} every `interval` milliseconds, and when something of the filter is removed, until the
   * signal fires. Never rejects.
   *
   * @param onResult Called after each pass, with what it failed with, if it did.
   */
  keep(signal: AbortSignal, interval: number, onResult: (error?: unknown) => void = () => {}): Promise<void> {
    return keepAt({ interval, signal, events: this.#ownRemovals(signal), onResult }, () => this.resync());
  }

  /** Removes the filter: the tunnel is open again. Twice is no error. @throws {CommandError} If nft fails. */
  remove(): Promise<void> {
    this.#asked = undefined;
    return this.#turns.take(async () => {
      this.#wanted = undefined;
      this.#droppedBefore += await this.#readCounter();
      this.#held = undefined;
      await this.#nft(`${filterRemoval(this.#table)}\n`);
    });
  }

  /** Closes what was opened. The filter stays in force: an overlay isn't open while its daemon is replaced. */
  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]();
  }

  async *#ownRemovals(signal: AbortSignal): AsyncIterable<NftablesNotification> {
    for await (const removal of this.#probe.removals(signal) ?? []) {
      if (removal === "overrun" || removal.table === this.#table) yield removal;
    }
  }

  /** Puts the filter in the place of what another program has made of it. */
  async #restore(wanted: PeerSets): Promise<void> {
    const changes = [{ what: `table inet ${this.#table} changed`, isRepair: true }];
    this.#backoff.check("nft", changes);
    this.#held = undefined;
    await this.#write(wanted);
    this.#elementsVerified = undefined;
    if (!await this.#isAsLeft(wanted)) this.#backoff.fail("nft", changes, 1);
    this.#log.warn(`Another program changed table inet ${this.#table}, which is restored`);
    this.#metrics.count(PEER_FILTER_REPAIRS);
  }

  async #write(wanted: PeerSets): Promise<void> {
    const held = this.#held;
    if (held) {
      const script = differenceScript(this.#table, held, wanted);
      if (script === "") return;
      const result = await this.#run("nft", ["-f", "-"], script);
      if (result.code === 0) {
        this.#held = wanted;
        return;
      }
      // Somebody else has been at the sets: nothing is known of them any more.
      this.#held = undefined;
    }
    await this.#replace(wanted);
  }

  async #replace(wanted: PeerSets): Promise<void> {
    // What an earlier process's table dropped is not this one's to report.
    if (this.#signature !== "") this.#droppedBefore += await this.#readCounter();
    await this.#nft(filterScript(this.#table, this.#tunnel, wanted));
    const listing = await listTable(this.#run, "inet", this.#table, ["-t"]);
    this.#signature = listing === undefined ? "gone" : filterSignature(listing);
    this.#held = wanted;
    this.#frameVerified = undefined;
    this.#elementsVerified = { generation: undefined, time: performance.now() };
  }

  /** Whether the filter is as it was left, as far as it is time to look. */
  async #isAsLeft(held: PeerSets): Promise<boolean> {
    const now: Sighting = { generation: this.#probe.generation(), time: performance.now() };
    const changed = (last: Sighting | undefined) =>
      last?.generation === undefined || last.generation !== now.generation;
    if (changed(this.#frameVerified)) {
      const listing = await listTable(this.#run, "inet", this.#table, ["-t"]);
      if (listing === undefined || filterSignature(listing) !== this.#signature) return false;
      this.#frameVerified = now;
    }
    const elements = [...held.values()].reduce((sum, set) => sum + set.size, 0);
    const since = now.time - (this.#elementsVerified?.time ?? -Infinity);
    const due = elements <= FEW_ELEMENTS || since >= elements * MILLISECONDS_PER_ELEMENT;
    if (due && changed(this.#elementsVerified)) {
      const listing = await listTable(this.#run, "inet", this.#table);
      const listed = listing === undefined ? undefined : listedElements(listing);
      if (!listed || differenceScript(this.#table, listed, held) !== "") return false;
      this.#elementsVerified = now;
    }
    return true;
  }

  async #readCounter(): Promise<number> {
    const packets = this.#probe.counterPackets("inet", this.#table, DROPPED_COUNTER);
    if (packets !== undefined) return Number(packets);
    const result = await this.#run("nft", ["-j", "list", "counter", "inet", this.#table, DROPPED_COUNTER]);
    return result.code === 0 ? droppedCount(result.stdout) : 0;
  }

  async #nft(script: string): Promise<void> {
    const result = await this.#run("nft", ["-f", "-"], script);
    if (result.code !== 0) throw new CommandError("nft", ["-f", "-"], result);
  }
}

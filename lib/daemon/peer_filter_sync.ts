/**
 * PeerFilter: the tunnel takes packets from live peers only.
 *
 * @module
 */
import type { OpenedBackend, PeerView } from "../backend/types.ts";
import { messageOf } from "../errors.ts";
import type { PeerFilter } from "../firewall/peer_filter.ts";
import { removePeerFilter } from "../firewall/peer_filter_removal.ts";
import type { Ip } from "../net/ip.ts";
import { FAMILIES } from "../net/family.ts";
import { isUdpTunnel, type Tunnel } from "../net/tunnel.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { Turns } from "../time/turns.ts";
import type { TaskGroup } from "./task_group.ts";
import { PEER_FILTER_DROPPED } from "./metrics.ts";

/** The part that problems are reported for. */
const KEY = "peer filter";

/** What a filter is kept for, and with. */
export interface PeerFilterParts {
  readonly backend: Pick<OpenedBackend, "tunnel" | "peerPorts">;
  /** The config's type of backend, for the log. */
  readonly backendType: string;
  readonly networkId: string;
  readonly peers: PeerView;
  /** Passes are at most this many milliseconds apart. */
  readonly interval: number;
  readonly tasks: TaskGroup;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Switches the filter on and off, as the config has it. */
export class PeerFilterSwitch implements Disposable {
  readonly #parts: PeerFilterParts;
  #sync: PeerFilterSync | undefined;
  readonly #turns = new Turns();

  constructor(parts: PeerFilterParts) {
    this.#parts = parts;
  }

  /**
   * Puts the filter in place for the peers that are known now, or takes it away. What an earlier daemon left goes:
   * a filter that nobody keeps drops the packets of every new peer.
   *
   * @throws {FirewallUnavailableError} If the host has no nft: a tunnel to be guarded isn't left open.
   * @throws {CommandError} If nft fails.
   */
  set(on: boolean): Promise<void> {
    return this.#turns.take(() => on ? this.#switchOn() : this.#switchOff());
  }

  /** The same while the host is in the network: a failure is a problem of the host, and ends nothing. */
  async follow(on: boolean): Promise<void> {
    const { problems } = this.#parts;
    try {
      await this.set(on);
      problems.clear(KEY, on ? "in force" : "removed");
    } catch (error) {
      const state = on ? "the tunnel is open to everyone" : "new peers cannot send";
      problems.set(KEY, `cannot switch PeerFilter ${on ? "on" : "off"}, ${state}: ${messageOf(error)}`);
    }
  }

  [Symbol.dispose](): void {
    this.#sync?.[Symbol.dispose]();
    this.#sync = undefined;
  }

  async #switchOn(): Promise<void> {
    const { backend: { tunnel }, backendType, log } = this.#parts;
    if (!tunnel) {
      log.warn(`PeerFilter has no effect: ${backendType} has no tunnel`);
      return this.#switchOff();
    }
    if (this.#sync) return;
    this.#sync = await PeerFilterSync.open(this.#parts, tunnel);
    log.info("PeerFilter is on: the tunnel takes packets from live peers only");
  }

  async #switchOff(): Promise<void> {
    this.#sync?.[Symbol.dispose]();
    this.#sync = undefined;
    const { networkId, log } = this.#parts;
    if (await removePeerFilter(networkId)) log.info("PeerFilter is off: its rules are removed");
  }
}

/** Keeps the filter in step with the peers. */
class PeerFilterSync implements Disposable {
  readonly #parts: PeerFilterParts;
  readonly #filter: PeerFilter;
  readonly #stop = new AbortController();
  readonly #subscriptions: readonly Disposable[];

  private constructor(parts: PeerFilterParts, filter: PeerFilter) {
    this.#parts = parts;
    this.#filter = filter;
    this.#subscriptions = [
      parts.peers.subscribe(() => void this.#follow()),
      parts.metrics.onCollect(() => this.#count()),
    ];
  }

  /** Puts the filter in place and keeps it. @throws {FirewallUnavailableError} If the host has no nft. */
  static async open(parts: PeerFilterParts, tunnel: Tunnel): Promise<PeerFilterSync> {
    const { networkId, log, metrics, tasks, interval } = parts;
    // Loaded when it is used: most networks have no filter.
    const { PeerFilter } = await import("../firewall/peer_filter.ts");
    const filter = await PeerFilter.open({ tunnel, networkId, log, metrics });
    const sync = new PeerFilterSync(parts, filter);
    try {
      await filter.setPeers(sync.#peers());
    } catch (error) {
      sync[Symbol.dispose]();
      throw error;
    }
    tasks.start((signal) => {
      const either = AbortSignal.any([signal, sync.#stop.signal]);
      return filter.keep(either, interval, (error) => sync.#report(error));
    });
    return sync;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#filter[Symbol.dispose]();
  }

  async #follow(): Promise<void> {
    await this.#filter.setPeers(this.#peers()).then(() => this.#report(), (error) => this.#report(error));
  }

  #report(error?: unknown): void {
    if (this.#stop.signal.aborted) return;
    if (error === undefined) this.#parts.problems.clear(KEY, "in force");
    else this.#parts.problems.set(KEY, `cannot keep the filter, retrying: ${messageOf(error)}`);
  }

  #count(): void {
    const dropped = this.#filter.droppedPacketsNow();
    if (dropped === undefined) return;
    this.#parts.metrics.total(PEER_FILTER_DROPPED, dropped);
  }

  #peers(): { addresses: Iterable<Ip>; ports: Iterable<number> } {
    return { addresses: this.#addresses(), ports: this.#ports() };
  }

  *#addresses(): Iterable<Ip> {
    for (const { attributes } of this.#parts.peers.peers.values()) {
      for (const { name } of FAMILIES) {
        const ip = attributes.publicIps[name];
        if (ip) yield ip;
      }
    }
  }

  *#ports(): Iterable<number> {
    const { backend: { tunnel, peerPorts }, peers } = this.#parts;
    if (!peerPorts || !tunnel || !isUdpTunnel(tunnel)) return;
    for (const peer of peers.peers.values()) yield* peerPorts(peer);
  }
}

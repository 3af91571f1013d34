/**
 * PeerFilter: the tunnel takes packets from live peers only.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { PeerView } from "../backend/types.ts";
import { PeerFilter, type PeerFilterOptions } from "../firewall/peer_filter.ts";
import type { Ip } from "../net/ip.ts";
import { FAMILIES } from "../net/family.ts";
import type { Log, Metrics } from "../observe/types.ts";

/** Keeps the filter in step with the peers. */
export class ClosedOverlay implements Disposable {
  readonly #filter: PeerFilter;
  readonly #peers: PeerView;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #subscription: Disposable;

  private constructor(filter: PeerFilter, peers: PeerView, log: Log, metrics: Metrics) {
    this.#filter = filter;
    this.#peers = peers;
    this.#log = log;
    this.#metrics = metrics;
    this.#subscription = peers.subscribe(() => void this.#follow());
  }

  /**
   * Puts the filter in place for the peers that are known now.
   *
   * @throws {FirewallUnavailableError} If the host has no nft: an overlay that is to be closed isn't left open.
   */
  static async open(options: PeerFilterOptions, peers: PeerView, metrics: Metrics): Promise<ClosedOverlay> {
    const filter = await PeerFilter.open(options);
    const overlay = new ClosedOverlay(filter, peers, options.log, metrics);
    await filter.setPeers(overlay.#addresses());
    return overlay;
  }

  /** Puts the filter back when somebody changes it, and reads its counter, until the signal fires. */
  async keep(signal: AbortSignal, interval: number): Promise<void> {
    const timer = setInterval(() => void this.#report(), Math.max(interval, 5_000));
    await this.#filter.keep(signal, interval);
    clearInterval(timer);
  }

  /** How many packets were dropped so far. */
  droppedPackets(): Promise<number> {
    return this.#filter.droppedPackets();
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#filter[Symbol.dispose]();
  }

  async #follow(): Promise<void> {
    try {
      await this.#filter.setPeers(this.#addresses());
    } catch (error) {
      this.#log.error("Cannot bring the peer filter up to date; trying again with the next check", {
        error: messageOf(error),
      });
    }
  }

  async #report(): Promise<void> {
    try {
      const dropped = await this.#filter.droppedPackets();
      this.#metrics.gauge(
        "peer_filter_dropped_packets",
        "Datagrams to the tunnel that came from no live peer",
        dropped,
      );
    } catch (error) {
      this.#log.debug("Cannot read the peer filter's counter", { error: messageOf(error) });
    }
  }

  *#addresses(): Iterable<Ip> {
    for (const { attributes } of this.#peers.peers.values()) {
      for (const { name } of FAMILIES) {
        const ip = attributes.publicIps[name];
        if (ip) yield ip;
      }
    }
  }
}

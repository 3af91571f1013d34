/**
 * Keeps a PeerSet in step with the store: list, then watch from the list's revision, for as long as it runs.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { type Log, type Metrics, noMetrics } from "../observe/types.ts";
import { Backoff, BACKOFF_MAX_MS, type Clock, Throttle } from "./clock.ts";
import type { PeerSet } from "./peer_set.ts";
import {
  CompactedError,
  type LeaseEvent,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
} from "./types.ts";

/** Who wants to know of the own lease (the keeper). */
export interface OwnLeaseObserver {
  observe(event: LeaseEvent): void;
  observeSnapshot(snapshot: LeaseSnapshot): void;
}

/** What a sync needs. */
export interface SyncOptions {
  readonly store: LeaseStore;
  readonly peers: PeerSet;
  readonly own?: OwnLeaseObserver;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics;
}

/** How the connection to the store is. */
export interface SyncHealth {
  /** Whether a watch stands at the moment. */
  readonly connected: boolean;
  /** Milliseconds since that began or ended. */
  readonly sinceMs: number;
  /** Everything up to this revision is in the PeerSet. */
  readonly revision: bigint;
  /** What ended the last watch or list; absent before the first failure. */
  readonly lastError?: string;
  /** Lists that were read because the watch couldn't go on. */
  readonly resyncs: number;
}

/** Lists and watches until told to stop. */
export class LeaseSync {
  readonly #o: SyncOptions;
  readonly #metrics: Metrics;
  readonly #backoff: Backoff;
  readonly #throttle: Throttle;
  #revision = 0n;
  #connected = false;
  #since: number;
  #lastError: string | undefined;
  #resyncs = 0;
  #told = false;

  constructor(options: SyncOptions) {
    this.#o = options;
    this.#metrics = options.metrics ?? noMetrics;
    this.#backoff = new Backoff(options.clock);
    this.#throttle = new Throttle(options.clock, 30_000);
    this.#since = options.clock.now();
  }

  health(): SyncHealth {
    return {
      connected: this.#connected,
      sinceMs: this.#o.clock.now() - this.#since,
      revision: this.#revision,
      ...this.#lastError !== undefined ? { lastError: this.#lastError } : {},
      resyncs: this.#resyncs,
    };
  }

  /**
   * Runs until the signal fires; no error of the store ends it.
   *
   * @param start A list that was just read, or the revision of one that the PeerSet holds already; without one it
   * begins with a list.
   */
  async run(start: LeaseSnapshot | bigint | undefined, signal: AbortSignal): Promise<void> {
    let list = start === undefined;
    this.#set(false);
    if (typeof start === "bigint") this.#revision = start;
    else if (start) this.#apply(start);
    while (!signal.aborted) {
      const began = this.#o.clock.now();
      try {
        if (list) {
          const snapshot = await this.#o.store.listLeases({ signal });
          this.#apply(snapshot);
          this.#o.own?.observeSnapshot(snapshot);
          list = false;
        }
        for await (const batch of this.#o.store.watchLeases(this.#revision, { signal })) this.#take(batch);
        throw new Error("the watch ended");
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof CompactedError && !list) {
          list = true;
          this.#resyncs++;
        }
        this.#disconnected(error);
      }
      // A watch that stood for a while was a success; one that ends as soon as it begins must not spin.
      if (this.#o.clock.now() - began > BACKOFF_MAX_MS) this.#backoff.reset();
      await this.#backoff.wait(signal).catch(() => {});
    }
    this.#connected = false;
  }

  #apply(snapshot: LeaseSnapshot): void {
    this.#revision = snapshot.revision;
    this.#o.peers.applySnapshot(snapshot);
    this.#countPeers();
  }

  #take(batch: LeaseEventBatch): void {
    if (!this.#connected) this.#reconnected();
    this.#revision = batch.revision;
    if (batch.events.length === 0) return;
    this.#metrics.count(
      "lease_events_total",
      "Changes of leases that the store told",
      {},
      batch.events.length,
    );
    this.#o.peers.applyBatch(batch);
    for (const event of batch.events) {
      const key = event.kind === "put" ? event.lease.key : event.key;
      if (this.#o.peers.isOwn(key)) this.#o.own?.observe(event);
    }
    this.#countPeers();
  }

  #countPeers(): void {
    const { peers } = this.#o;
    this.#metrics.gauge("peers", "Other hosts in the network", peers.peers.size);
    this.#metrics.gauge("malformed_leases", "Keys in the store that are no lease", peers.malformed);
    this.#metrics.gauge(
      "refused_leases",
      "Leases outside the network or overlapping another",
      peers.refused.size,
    );
  }

  #reconnected(): void {
    const downMs = this.#o.clock.now() - this.#since;
    this.#set(true);
    if (!this.#told) return;
    this.#told = false;
    this.#o.log.info("The lease store answers again", {
      afterMs: Math.round(downMs),
      resyncs: this.#resyncs,
    });
  }

  #disconnected(error: unknown): void {
    this.#lastError = messageOf(error);
    this.#metrics.count("store_errors_total", "Watches and lists of the lease store that ended in an error");
    if (this.#connected) this.#set(false);
    const held = this.#throttle.pass();
    if (held === undefined) return;
    this.#told = true;
    this.#o.log.warn("The watch of the leases ended, trying again", {
      error: this.#lastError,
      ...held > 0 ? { unreported: held } : {},
    });
  }

  #set(connected: boolean): void {
    this.#connected = connected;
    this.#since = this.#o.clock.now();
    this.#metrics.gauge("store_connected", "Whether the watch of the leases stands", connected ? 1 : 0);
  }
}

/**
 * Follows a store of records: list, then watch from the list's revision, for as long as it runs. One
 * watch reports leases and the network config.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { type Metrics, noMetrics, noProblems, type ProblemReporter } from "../observe/types.ts";
import { Backoff, type BackoffRange } from "../time/backoff.ts";
import type { Clock } from "../time/clock.ts";
import type { FollowHealth } from "./contract.ts";
import type { RecordFeed } from "./record_feed.ts";
import {
  CompactedError,
  type LeaseEvent,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
  ReplacedError,
  type StoreCursor,
  type StoredConfig,
  StoreGoneError,
} from "./types.ts";
import { LEASE_EVENTS, STORE_ERRORS, STORE_LISTS } from "./metrics.ts";

/** Who wants to know of the own lease (the keeper). */
export interface OwnLeaseObserver {
  observe(event: LeaseEvent): void;
  /** @param replaced Whether the store has another history since the last list. */
  observeSnapshot(snapshot: LeaseSnapshot, replaced: boolean): void;
}

/** What a sync needs. */
export interface SyncOptions {
  readonly store: LeaseStore;
  /** Gets what the store lists and reports. */
  readonly records: RecordFeed;
  readonly own?: OwnLeaseObserver;
  /** Called with the network config (null: there is none) whenever the store says what it is; it may be the same. */
  readonly onConfig?: (config: StoredConfig | null) => void;
  readonly clock: Clock;
  readonly problems?: ProblemReporter;
  readonly metrics?: Metrics;
}

/**
 * The longest time between two lists, in milliseconds: it corrects whatever a watch
 * missed. Up to a quarter less, by chance, so that hosts that started together don't list together.
 */
const LIST_INTERVAL_MS = 600_000;
/** A store that is silent for this long makes the host not ready, in milliseconds. */
const SILENCE_MS = 10_000;
/** After the store answers again, what happened meanwhile comes in within this time, in milliseconds. */
const CATCH_UP_MS = 5_000;
/** Between tries: a store that answers again is noticed within 3 s, since until then peers that move are lost. */
const FOLLOW_BACKOFF: BackoffRange = { first: 100, longest: 3_000 };
/** A watch that stands for longer, in milliseconds, was a success. */
const STABLE_MS = 5_000;
/** After a store lost its data, running hosts have written their leases again within this time, in milliseconds. */
const REWRITE_MS = 5_000;
/** The key of the problem. */
const PROBLEM = "store";

/** Lists and watches until the signal fires. */
export class LeaseSync {
  readonly #o: SyncOptions;
  readonly #metrics: Metrics;
  readonly #problems: ProblemReporter;
  readonly #backoff: Backoff;
  /** Where the next watch begins; undefined: with a list. */
  #cursor: StoreCursor | undefined;
  #revision = 0n;
  /** When the last list was read, or taken over, and when the next one is due. */
  #listedAt = 0;
  #listAt = 0;
  #connected = false;
  #since: number;
  #lastError: string | undefined;
  #resyncs = 0;
  /** The store has another history than that of the last list. */
  #isReplaced = false;
  #isProblem = false;
  #outageMs = 0;

  constructor(options: SyncOptions) {
    this.#o = options;
    this.#metrics = options.metrics ?? noMetrics;
    this.#problems = options.problems ?? noProblems;
    this.#backoff = new Backoff(options.clock, FOLLOW_BACKOFF);
    this.#since = options.clock.now();
  }

  health(): FollowHealth {
    return {
      connected: this.#connected,
      sinceMs: this.#o.clock.now() - this.#since,
      version: this.#revision === 0n ? "" : String(this.#revision),
      ...this.#lastError !== undefined ? { lastError: this.#lastError } : {},
      resyncs: this.#resyncs,
    };
  }

  /** How long the store was out of reach until just now, in milliseconds; 0 while all is well. */
  get outageMs(): number {
    const sinceMs = this.#o.clock.now() - this.#since;
    if (!this.#connected) return sinceMs;
    return sinceMs < CATCH_UP_MS ? this.#outageMs : 0;
  }

  /**
   * Runs until the signal fires; no error of a store that is still there ends it.
   *
   * @param start A list that was just read, or the cursor of one that was passed on already; without one it
   * begins with a list.
   * @throws {StoreGoneError}
   */
  async run(start: LeaseSnapshot | StoreCursor | undefined, signal: AbortSignal): Promise<void> {
    this.#set(false);
    // What joining read is a list too.
    if (start) this.#metrics.count(STORE_LISTS);
    if (start && "leases" in start) this.#apply(start);
    else if (start) this.#goOnFrom(start);
    const time = this.#watchTime(signal);
    while (!signal.aborted) {
      try {
        await this.#list(signal);
        await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof StoreGoneError) throw error;
        this.#failed(error);
        await this.#backoff.wait(signal);
      }
    }
    this.#connected = false;
    await time;
  }

  /** Reads all leases, where there is no place to watch from. */
  async #list(signal: AbortSignal): Promise<void> {
    if (this.#cursor) return;
    this.#metrics.count(STORE_LISTS);
    const snapshot = await this.#o.store.listLeases({ signal });
    if (this.#isReplaced) this.#applyReplaced(snapshot);
    else this.#apply(snapshot);
    this.#o.own?.observeSnapshot(snapshot, this.#isReplaced);
    this.#isReplaced = false;
  }

  /** Watches until the next list is due. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, store } = this.#o;
    using due = new Timer(clock, this.#listAt - clock.now(), signal);
    let stoodAt = Infinity;
    try {
      for await (const batch of store.watchLeases(this.#cursor!, { signal: due.signal })) {
        stoodAt = Math.min(stoodAt, clock.now());
        this.#take(batch);
      }
      if (!due.signal.aborted) throw new Error("the watch ended");
      this.#cursor = undefined;
    } finally {
      // A watch that stood for a while was a success; one that ends as soon as it begins must not spin.
      if (clock.now() - stoodAt > STABLE_MS) this.#backoff.reset();
    }
  }

  #apply(snapshot: LeaseSnapshot): void {
    this.#goOnFrom(snapshot);
    this.#o.records.list(snapshot);
  }

  /** Hosts whose leases are missing write them again: they stay peers until the next list, which comes soon. */
  #applyReplaced(snapshot: LeaseSnapshot): void {
    this.#goOnFrom(snapshot);
    this.#listAt = this.#o.clock.now() + REWRITE_MS;
    this.#o.records.change({ events: snapshot.leases.map((lease) => ({ kind: "put", lease })) });
  }

  /** A list was read up to here. */
  #goOnFrom(cursor: StoreCursor): void {
    this.#setCursor(cursor);
    const { clock } = this.#o;
    this.#listedAt = clock.now();
    this.#listAt = this.#listedAt + LIST_INTERVAL_MS * (1 - clock.random() / 4);
  }

  /** Keeps what is needed of a list or batch, not the whole. */
  #setCursor({ revision, history }: StoreCursor): void {
    this.#cursor = { revision, history };
    this.#revision = revision;
  }

  #take(batch: LeaseEventBatch): void {
    if (!this.#connected) this.#set(true);
    this.#setCursor(batch);
    if (batch.config !== undefined) this.#o.onConfig?.(batch.config);
    if (batch.events.length === 0) return;
    this.#metrics.count(LEASE_EVENTS, {}, batch.events.length);
    this.#o.records.change(batch);
    for (const event of batch.events) {
      const key = event.kind === "put" ? event.lease.key : event.key;
      if (this.#o.records.isOwn(key)) this.#o.own?.observe(event);
    }
  }

  #failed(error: unknown): void {
    this.#lastError = messageOf(error);
    this.#metrics.count(STORE_ERRORS);
    if (error instanceof CompactedError && this.#cursor) {
      this.#cursor = undefined;
      this.#isReplaced ||= error instanceof ReplacedError;
      this.#resyncs++;
      // The store answers: what it needs is a list, not another wait as long as after an outage.
      if (this.#o.clock.now() - this.#listedAt > STABLE_MS) this.#backoff.reset();
    }
    if (this.#connected) this.#set(false);
    this.#report();
  }

  #set(connected: boolean): void {
    const now = this.#o.clock.now();
    if (connected) this.#outageMs = now - this.#since;
    this.#connected = connected;
    this.#since = now;
    if (connected && this.#isProblem) this.#report();
  }

  /**
   * Reports the state. A host that learns nothing about its peers for a while isn't ready, though its data path works;
   * and a watch that begins isn't a watch that lasts.
   */
  #report(): void {
    const lasted = this.#o.clock.now() - this.#since;
    this.#isProblem = !this.#connected || lasted < STABLE_MS;
    if (!this.#isProblem) {
      return this.#problems.clear(PROBLEM, "following the leases");
    }
    const text = `cannot follow the leases, retrying: ${this.#lastError ?? "no answer yet"}`;
    this.#problems.set(PROBLEM, text, { notReady: !this.#connected && lasted >= SILENCE_MS });
  }

  /** What time alone changes: also while a call hangs. */
  async #watchTime(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#o.clock.sleep(1000, signal);
      const isSilent = !this.#connected && this.#o.clock.now() - this.#since >= SILENCE_MS;
      if (this.#isProblem || isSilent) this.#report();
    }
  }
}

/** A signal that fires after a time, or with another one; no timer is left once it is disposed. */
class Timer implements Disposable {
  readonly signal: AbortSignal;
  readonly #stop = new AbortController();

  constructor(clock: Clock, ms: number, signal: AbortSignal) {
    const due = new AbortController();
    this.signal = AbortSignal.any([signal, due.signal]);
    const stop = AbortSignal.any([signal, this.#stop.signal]);
    clock.sleep(Math.max(0, ms), stop).then(() => due.abort());
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

/**
 * Watching the log of changes, those of other processes too.
 *
 * @module
 */
import { CompactedError, ReplacedError } from "../types.ts";
import { type Change, type Database, LockedError } from "./database.ts";
import { PATIENCE_MS, whenUnlocked } from "./patience.ts";

/** How often the file is looked at for other processes' changes while somebody watches. */
const POLL_MS = 100;

/** Changes up to a revision. */
export interface ChangeBatch {
  readonly revision: bigint;
  readonly changes: readonly Change[];
}

/** One timer for all watches of a store. */
export class SqliteWatcher implements Disposable {
  readonly #db: Database;
  readonly #expire: () => void;
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #seen = -1;
  /** When the file could last be read. */
  #lookedAt = performance.now();
  #closed = false;

  /** @param expire Deletes what has expired; called with each look. */
  constructor(db: Database, expire: () => void) {
    this.#db = db;
    this.#expire = expire;
  }

  /** Changes after `revision`, first of all an empty batch or what is there, until the signal fires. */
  async *watch(revision: bigint, signal?: AbortSignal): AsyncIterable<ChangeBatch> {
    let cursor = revision;
    for (let first = true; !signal?.aborted; first = false) {
      const batch = await whenUnlocked(() => this.#read(cursor), signal ? { signal } : {});
      if (first || batch.changes.length > 0 || batch.revision > cursor) {
        cursor = batch.revision;
        yield batch;
        continue;
      }
      await this.#wait(signal);
    }
  }

  #read(cursor: bigint): ChangeBatch {
    if (this.#closed) throw new Error("The store is closed");
    return this.#db.read(() => {
      const { revision, compacted } = this.#db.counters();
      if (cursor < BigInt(compacted)) {
        throw new CompactedError(
          `Changes after revision ${cursor} are compacted: those from ${compacted + 1} are kept`,
        );
      }
      if (cursor > BigInt(revision)) {
        throw new ReplacedError(
          `This store is at revision ${revision}, before ${cursor}: its data was replaced`,
        );
      }
      const changes = this.#db.all<Change>(
        "SELECT revision, key, value, expires, created FROM changes WHERE revision > ? ORDER BY id",
        Number(cursor),
      );
      return { revision: BigInt(revision), changes };
    });
  }

  /** Wakes all watches: this process changed something. */
  wake(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  async #wait(signal?: AbortSignal): Promise<void> {
    const waiter = Promise.withResolvers<void>();
    this.#waiting.add(waiter);
    const onAbort = () => waiter.resolve();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (this.#timer === undefined) {
      this.#lookedAt = performance.now();
      this.#timer = setTimeout(() => this.#poll(), POLL_MS);
    }
    try {
      if (!signal?.aborted) await waiter.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#waiting.delete(waiter);
      if (this.#waiting.size === 0) this.#stop();
    }
  }

  #poll(): void {
    this.#timer = undefined;
    try {
      this.#look();
      if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
    } catch (error) {
      for (const { reject } of this.#waiting) reject(error);
      this.#waiting.clear();
    }
  }

  #look(): void {
    try {
      this.#expire();
      const version = this.#db.dataVersion();
      if (version !== this.#seen) this.wake();
      this.#seen = version;
      this.#lookedAt = performance.now();
    } catch (error) {
      // Another process writes; the next look is soon.
      if (!(error instanceof LockedError) || performance.now() - this.#lookedAt > PATIENCE_MS) throw error;
    }
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#stop();
    this.wake();
  }
}

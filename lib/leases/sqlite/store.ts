/**
 * Leases in one SQLite file: for one machine, with any number of processes on it.
 *
 * Whoever looks removes what has expired, and so every watcher sees it. Other processes' changes are seen
 * within 100 ms.
 *
 * @module
 */
import { Database, type Entry, textOf, type Writer } from "./database.ts";
import { whenUnlocked } from "./patience.ts";
import { type ChangeBatch, SqliteWatcher } from "./watcher.ts";
import type {
  CallOptions,
  LeaseEvent,
  LeaseEventBatch,
  LeaseSnapshot,
  LeaseStore,
  StoreCursor,
  StoredConfig,
  StoredLease,
  TimedLease,
} from "../types.ts";

const CONFIG_KEY = "config";
const LEASES = "subnets/";
/** "0" follows "/": the end of all keys below the folder. */
const LEASES_END = "subnets0";

/** A {@link LeaseStore} on SQLite. Make one with {@link openSqliteStore}. */
export class SqliteStore implements LeaseStore {
  readonly description: string;
  readonly #db: Database;
  readonly #now: () => number;
  readonly #watcher: SqliteWatcher;

  constructor(db: Database, now: () => number) {
    this.#db = db;
    this.#now = now;
    this.description = `sqlite ${db.path}`;
    this.#watcher = new SqliteWatcher(db, () => this.#expire());
  }

  readConfig(options: CallOptions = {}): Promise<StoredConfig | undefined> {
    return whenUnlocked(() => this.#db.read(() => this.#config()), options);
  }

  #config(): StoredConfig | undefined {
    const entry = this.#entry(CONFIG_KEY);
    return entry && { text: textOf(entry.value), revision: BigInt(entry.revision) };
  }

  async writeConfig(text: string, options: CallOptions = {}): Promise<void> {
    await whenUnlocked(() => this.#db.write((writer) => writer.put(CONFIG_KEY, text, null)), options);
    this.#watcher.wake();
  }

  listLeases(options: CallOptions = {}): Promise<LeaseSnapshot> {
    return whenUnlocked(() => {
      this.#expire();
      return this.#list(leaseOf);
    }, options);
  }

  inspectLeases(options: CallOptions = {}): Promise<StoreCursor & { leases: TimedLease[] }> {
    return whenUnlocked(() => {
      this.#expire();
      const now = this.#now();
      return this.#list((entry) => ({
        ...leaseOf(entry),
        ...entry.expires_at === null ? {} : { secondsLeft: Math.max(0, entry.expires_at - now) / 1000 },
      }));
    }, options);
  }

  #list<T>(read: (entry: Entry) => T): StoreCursor & { leases: T[] } {
    return this.#db.read(() => ({
      revision: BigInt(this.#db.counters().revision),
      leases: this.#db.all<Entry>("SELECT * FROM entries WHERE key >= ? AND key < ?", LEASES, LEASES_END)
        .map(read),
    }));
  }

  createLease(
    key: string,
    value: string,
    ttl: number | undefined,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    return this.#put(key, value, ttl, (entry) => entry === undefined, options);
  }

  updateLease(
    held: StoredLease,
    value: string,
    ttl: number,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    return this.#put(held.key, value, held.expires ? ttl : undefined, unchanged(held), options);
  }

  /** A file has no watcher that one write a day would disturb. */
  renewLease(held: StoredLease, ttl: number, options: CallOptions = {}): Promise<StoredLease | undefined> {
    return this.updateLease(held, held.value, ttl, options);
  }

  #put(
    key: string,
    value: string,
    ttl: number | undefined,
    allowed: (entry: Entry | undefined) => boolean,
    options: CallOptions,
  ): Promise<StoredLease | undefined> {
    return this.#change((writer) => {
      const entry = this.#entry(LEASES + key);
      if (!allowed(entry)) return undefined;
      const created = entry?.created ?? writer.revision;
      const expiresAt = ttl === undefined ? null : this.#now() + Math.max(1, ttl) * 1000;
      writer.put(LEASES + key, value, expiresAt, created);
      return {
        key,
        value,
        revision: BigInt(writer.revision),
        createRevision: BigInt(created),
        expires: ttl !== undefined,
      };
    }, options);
  }

  deleteLease(held: StoredLease, options: CallOptions = {}): Promise<boolean> {
    return this.#change((writer) => {
      if (!unchanged(held)(this.#entry(LEASES + held.key))) return false;
      writer.delete(LEASES + held.key);
      return true;
    }, options);
  }

  /** One transaction, after what has expired is gone. */
  async #change<T>(work: (writer: Writer) => T, options: CallOptions): Promise<T> {
    const result = await whenUnlocked(() => {
      this.#expire();
      return this.#db.write(work);
    }, options);
    this.#watcher.wake();
    return result;
  }

  #entry(key: string): Entry | undefined {
    return this.#db.get<Entry>("SELECT * FROM entries WHERE key = ?", key);
  }

  /** Deletes what has expired, in one transaction. */
  #expire(): void {
    const now = this.#now();
    const expired = "SELECT key FROM entries WHERE expires_at <= ?";
    if (!this.#db.get(`${expired} LIMIT 1`, now)) return;
    this.#db.write((writer) => {
      // Again, as another process may have deleted or renewed them meanwhile.
      for (const { key } of this.#db.all<{ key: string }>(expired, now)) writer.delete(key);
    });
    this.#watcher.wake();
  }

  async *watchLeases(
    from: StoreCursor | bigint,
    options: CallOptions = {},
  ): AsyncIterable<LeaseEventBatch> {
    const start = typeof from === "bigint" ? from : from.revision;
    let first = true;
    for await (const batch of this.#watcher.watch(start, options.signal)) {
      const isConfig = first || batch.changes.some(({ key }) => key === CONFIG_KEY);
      first = false;
      const config = isConfig ? { config: await whenUnlocked(() => this.#config()) ?? null } : {};
      yield { revision: batch.revision, events: toEvents(batch), ...config };
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#watcher[Symbol.dispose]();
    this.#db[Symbol.dispose]();
    return Promise.resolve();
  }
}

function leaseOf(entry: Entry): StoredLease {
  return {
    key: entry.key.slice(LEASES.length),
    value: textOf(entry.value),
    revision: BigInt(entry.revision),
    createRevision: BigInt(entry.created),
    expires: entry.expires_at !== null,
  };
}

function unchanged(held: StoredLease): (entry: Entry | undefined) => boolean {
  return (entry) => entry !== undefined && BigInt(entry.revision) === held.revision;
}

function toEvents(batch: ChangeBatch): LeaseEvent[] {
  return batch.changes.filter(({ key }) => key.startsWith(LEASES)).map((change) => {
    const key = change.key.slice(LEASES.length);
    const revision = BigInt(change.revision);
    if (change.value === null) return { kind: "delete", key, revision };
    const createRevision = BigInt(change.created);
    const expires = change.expires !== 0;
    return { kind: "put", lease: { key, value: textOf(change.value), revision, createRevision, expires } };
  });
}

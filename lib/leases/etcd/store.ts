/**
 * Leases in etcd (v3 API).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type CallOptions,
  CompactedError,
  type InspectOptions,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
  type StoreCursor,
  type StoredConfig,
  type StoredLease,
  type TimedLease,
} from "../types.ts";
import type { CredentialSource } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { follow } from "./follow.ts";
import { Grants } from "./grants.ts";
import { historyOf, newestOf } from "./history.ts";
import { configOf, NetworkKeys } from "./keys.ts";
import { type Patience, patienceOf } from "./limits.ts";
import type { Header, KeyValue } from "./messages.ts";
import { EtcdPool } from "./pool.ts";
import { withTimes } from "./times.ts";
import { LeaseWriter } from "./writer.ts";

/** Leases a page: at 200 bytes each far below the 4 MiB at which other gRPC parties refuse a message. */
const PAGE = 2000;
/** Times that a list starts again because its revision was compacted under it. */
const LIST_ATTEMPTS = 3;

/** A {@link LeaseStore} on etcd. Make one with {@link openEtcdStore}. */
export class EtcdStore implements LeaseStore {
  readonly description: string;
  readonly #pool: EtcdPool;
  readonly #keys: NetworkKeys;
  readonly #grants: Grants;
  readonly #writer: LeaseWriter;

  /** @param prefix Like `/coreos.com/network`. Nothing is connected before the first call. */
  constructor(endpoints: readonly Endpoint[], prefix: string, credentials: CredentialSource) {
    this.description = `etcd ${endpoints.map(({ url }) => url).join(",")}`;
    this.#pool = new EtcdPool(endpoints, credentials);
    this.#keys = new NetworkKeys(prefix);
    this.#grants = new Grants(this.#pool);
    this.#writer = new LeaseWriter(this.#pool, this.#keys, this.#grants);
  }

  dropConnections(): void {
    this.#pool.dropConnections();
  }

  async readConfig(options: CallOptions = {}): Promise<StoredConfig | undefined> {
    const { kvs } = await this.#pool.call("KV.range", this.#keys.config, patienceOf(options));
    return configOf(kvs[0]);
  }

  async writeConfig(text: string, options: CallOptions = {}): Promise<void> {
    const request = { key: this.#keys.config.key, value: Buffer.from(text) };
    await this.#pool.call("KV.put", request, patienceOf(options));
  }

  listLeases(options: CallOptions = {}): Promise<LeaseSnapshot> {
    return this.#listAll(patienceOf(options), (kv) => this.#keys.lease(kv));
  }

  async inspectLeases(
    options: InspectOptions = {},
  ): Promise<StoreCursor & { leases: readonly TimedLease[] }> {
    const patience = patienceOf(options);
    const { leases, ...cursor } = await this.#listAll(
      patience,
      (kv) => ({ id: kv.lease, lease: this.#keys.lease(kv) }),
    );
    return { ...cursor, leases: await withTimes(this.#pool, leases, { ...options, patience }) };
  }

  async #listAll<T>(patience: Patience, read: (kv: KeyValue) => T): Promise<StoreCursor & { leases: T[] }> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#list(patience, read);
      } catch (error) {
        if (!(error instanceof CompactedError) || attempt === LIST_ATTEMPTS) throw error;
      }
    }
  }

  /** All pages at the first one's revision. */
  async #list<T>(patience: Patience, read: (kv: KeyValue) => T): Promise<StoreCursor & { leases: T[] }> {
    const range = this.#keys.leases;
    const leases: T[] = [];
    let newest: KeyValue | undefined;
    let header: Header | undefined;
    for (let key = range.key;;) {
      const page = await this.#pool.call("KV.range", {
        key,
        range_end: range.range_end,
        limit: String(PAGE),
        ...header ? { revision: header.revision } : {},
      }, patience);
      header ??= page.header;
      // Of a page nothing stays but its leases and one message at most: the rest is garbage before the next one.
      for (const kv of page.kvs) leases.push(read(kv));
      newest = newestOf(page.kvs, newest);
      const last = page.kvs.at(-1);
      if (!page.more || !last) break;
      key = Buffer.concat([last.key, Buffer.of(0)]);
    }
    return { revision: BigInt(header.revision), history: historyOf(header, leases.length, newest), leases };
  }

  createLease(
    key: string,
    value: string,
    ttl: number | undefined,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    return this.#writer.create(key, value, ttl, patienceOf(options));
  }

  updateLease(
    held: StoredLease,
    value: string,
    ttl: number,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    return this.#writer.update(held, value, ttl, patienceOf(options));
  }

  renewLease(held: StoredLease, ttl: number, options: CallOptions = {}): Promise<StoredLease | undefined> {
    return this.#writer.renew(held, ttl, patienceOf(options));
  }

  deleteLease(held: StoredLease, options: CallOptions = {}): Promise<boolean> {
    return this.#writer.delete(held, patienceOf(options));
  }

  watchLeases(from: StoreCursor | bigint, options: CallOptions = {}): AsyncIterable<LeaseEventBatch> {
    const start = typeof from === "bigint" ? { revision: from } : from;
    return follow(this.#pool, this.#keys, start, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#grants.close();
    this.#pool[Symbol.dispose]();
  }
}

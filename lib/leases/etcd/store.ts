/**
 * Leases in etcd (v3 API).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  type CallOptions,
  CompactedError,
  type LeaseEvent,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
  type StoreCursor,
  type StoredLease,
} from "../types.ts";
import { type Credentials, loadEtcd3 } from "./client.ts";
import type { Endpoint } from "./endpoints.ts";
import type { Compare, KeyValue, RequestOp, WatchResponse } from "./messages.ts";
import { EtcdPool } from "./pool.ts";
import { nextResponse, type RawBatch, startWatch, WatchCursor, type WatchRange } from "./watch.ts";

/** Leases a page: at 200 bytes each far below the 4 MiB at which other gRPC parties refuse a message. */
const PAGE = 2000;
/** Times that a list starts again because its revision was compacted under it. */
const LIST_ATTEMPTS = 3;

/** A {@link LeaseStore} on etcd. Make one with {@link openEtcdStore}. */
export class EtcdStore implements LeaseStore {
  readonly description: string;
  readonly #pool: EtcdPool;
  readonly #configKey: Buffer;
  readonly #leases: {
    readonly prefix: string;
    readonly range: WatchRange & { key: Buffer; range_end: Buffer };
  };

  /** @param prefix Like `/coreos.com/network`. Nothing is asked of etcd yet; etcd3 begins to load. */
  constructor(endpoints: readonly Endpoint[], prefix: string, credentials: Credentials) {
    const base = `/${prefix.replace(/^\/+|\/+$/g, "")}`;
    const leases = `${base}/subnets/`;
    this.description = `etcd ${endpoints.map(({ url }) => url).join(",")}`;
    this.#pool = new EtcdPool(endpoints, credentials);
    this.#configKey = Buffer.from(`${base}/config`);
    // "0" follows "/": the end of all keys below the folder.
    this.#leases = {
      prefix: leases,
      range: { key: Buffer.from(leases), range_end: Buffer.from(`${base}/subnets0`) },
    };
    // Who waits for it later sees the error; here it would end the process.
    loadEtcd3().catch(() => {});
  }

  dropConnections(): void {
    this.#pool.dropConnections();
  }

  async readConfig(options: CallOptions = {}): Promise<{ text: string; revision: bigint } | undefined> {
    const { kvs, header } = await this.#pool.call("KV.range", { key: this.#configKey }, options.signal);
    const kv = kvs[0];
    return kv && { text: kv.value.toString(), revision: BigInt(header.revision) };
  }

  async writeConfig(text: string, options: CallOptions = {}): Promise<void> {
    await this.#pool.call("KV.put", { key: this.#configKey, value: Buffer.from(text) }, options.signal);
  }

  async listLeases(options: CallOptions = {}): Promise<LeaseSnapshot> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#list(options.signal);
      } catch (error) {
        if (!(error instanceof CompactedError) || attempt === LIST_ATTEMPTS) throw error;
      }
    }
  }

  /** All pages at the first one's revision. */
  async #list(signal?: AbortSignal): Promise<LeaseSnapshot> {
    const leases: StoredLease[] = [];
    let revision: string | undefined;
    for (let key = this.#leases.range.key;;) {
      const page = await this.#pool.call("KV.range", {
        key,
        range_end: this.#leases.range.range_end,
        limit: String(PAGE),
        ...revision !== undefined ? { revision } : {},
      }, signal);
      revision ??= page.header.revision;
      for (const kv of page.kvs) leases.push(this.#stored(kv));
      const last = page.kvs.at(-1);
      if (!page.more || !last) return { revision: BigInt(revision), leases };
      key = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  #stored(kv: KeyValue): StoredLease {
    return {
      key: this.#nameOf(kv),
      value: kv.value.toString(),
      revision: BigInt(kv.mod_revision),
      createRevision: BigInt(kv.create_revision),
      expires: kv.lease !== "0",
    };
  }

  #nameOf(kv: KeyValue): string {
    return kv.key.toString().slice(this.#leases.prefix.length);
  }

  #keyOf(name: string): Buffer {
    return Buffer.from(this.#leases.prefix + name);
  }

  createLease(
    key: string,
    value: string,
    ttl: number | undefined,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    const absent: Compare = { key: this.#keyOf(key), result: "Equal", target: "Version", version: "0" };
    return this.#put(absent, { key, createRevision: undefined }, value, ttl, options.signal);
  }

  updateLease(
    held: StoredLease,
    value: string,
    ttl: number,
    options: CallOptions = {},
  ): Promise<StoredLease | undefined> {
    return this.#put(
      unchanged(this.#keyOf(held.key), held),
      held,
      value,
      held.expires ? ttl : undefined,
      options.signal,
    );
  }

  renewLease(held: StoredLease, ttl: number, options: CallOptions = {}): Promise<StoredLease | undefined> {
    return this.updateLease(held, held.value, ttl, options);
  }

  async deleteLease(held: StoredLease, options: CallOptions = {}): Promise<boolean> {
    const key = this.#keyOf(held.key);
    const answer = await this.#pool.call("KV.txn", {
      compare: [unchanged(key, held)],
      success: [{ request_delete_range: { key } }],
      failure: [],
    }, options.signal);
    return answer.succeeded;
  }

  /**
   * Puts under a condition, with an etcd lease of its own. The lease that the key had before is left to run
   * out: other keys may hang on it.
   */
  async #put(
    condition: Compare,
    { key: name, createRevision }: { readonly key: string; readonly createRevision: bigint | undefined },
    value: string,
    ttl: number | undefined,
    signal?: AbortSignal,
  ): Promise<StoredLease | undefined> {
    const key = this.#keyOf(name);
    const lease = ttl === undefined ? "0" : await this.#grant(ttl, signal);
    const put: RequestOp = { request_put: { key, value: Buffer.from(value), lease } };
    const answer = await this.#pool.call("KV.txn", {
      compare: [condition],
      success: [put],
      failure: [{ request_range: { key } }],
    }, signal);
    if (answer.succeeded) {
      const revision = BigInt(answer.header.revision);
      const expires = lease !== "0";
      return { key: name, value, revision, createRevision: createRevision ?? revision, expires };
    }
    // The condition also fails when the call was repeated and its first answer was lost: nobody else has
    // this etcd lease.
    const found = answer.responses[0]?.response_range?.kvs[0];
    if (found && lease !== "0" && found.lease === lease) return this.#stored(found);
    // Nothing hangs on the fresh etcd lease; if this fails, it runs out by itself.
    if (lease !== "0") this.#pool.call("Lease.leaseRevoke", { ID: lease }).catch(() => {});
    return undefined;
  }

  async #grant(ttl: number, signal?: AbortSignal): Promise<string> {
    const answer = await this.#pool.call(
      "Lease.leaseGrant",
      { TTL: String(Math.max(1, Math.ceil(ttl))) },
      signal,
    );
    return answer.ID;
  }

  async *watchLeases(
    from: StoreCursor | bigint,
    options: CallOptions = {},
  ): AsyncIterable<LeaseEventBatch> {
    const revision = typeof from === "bigint" ? from : from.revision;
    for await (const batch of this.#watch(this.#leases.range, revision, options.signal)) {
      yield { revision: batch.revision, events: batch.events.map((event) => this.#event(event)) };
    }
  }

  #event({ type, kv }: WatchResponse["events"][number]): LeaseEvent {
    return type === "Delete"
      ? { kind: "delete", key: this.#nameOf(kv), revision: BigInt(kv.mod_revision) }
      : { kind: "put", lease: this.#stored(kv) };
  }

  async *watchConfig(
    revision: bigint,
    options: CallOptions = {},
  ): AsyncIterable<{ text: string | undefined; revision: bigint }> {
    for await (const { events } of this.#watch({ key: this.#configKey }, revision, options.signal)) {
      for (const { type, kv } of events) {
        yield {
          text: type === "Delete" ? undefined : kv.value.toString(),
          revision: BigInt(kv.mod_revision),
        };
      }
    }
  }

  /** Batches until the signal fires, the first (an empty one) when the watch stands; throws when it ends. */
  async *#watch(range: WatchRange, revision: bigint, signal?: AbortSignal): AsyncIterable<RawBatch> {
    const cursor = new WatchCursor(revision);
    let stop = () => {};
    let endpoint: Endpoint | undefined;
    try {
      const watch = await this.#pool.watch((stream, deadlineMs) => {
        stop = () => stream.cancel();
        return startWatch(stream, range, cursor, deadlineMs, signal);
      }, signal);
      endpoint = watch.endpoint;
      signal?.addEventListener("abort", stop, { once: true });
      yield { revision, events: [] };
      while (!signal?.aborted) {
        const batch = cursor.take(await nextResponse(watch.started));
        if (batch) yield batch;
      }
    } catch (error) {
      if (!signal?.aborted) throw endpoint ? this.#pool.asError(error, endpoint) : error;
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#pool[Symbol.dispose]();
    return Promise.resolve();
  }
}

function unchanged(key: Buffer, held: StoredLease): Compare {
  return { key, result: "Equal", target: "Mod", mod_revision: String(held.revision) };
}

/**
 * Writing leases: each write is one transaction on the key's revision, with an etcd lease of its own.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type StoredLease, StoreError } from "../types.ts";
import type { Grant, Grants } from "./grants.ts";
import type { NetworkKeys } from "./keys.ts";
import type { Patience } from "./limits.ts";
import type { Compare, TxnRequest, TxnResponse } from "./messages.ts";
import { type EtcdPool, RefusedError } from "./pool.ts";

/** Creates, changes, renews and deletes leases. */
export class LeaseWriter {
  readonly #pool: EtcdPool;
  readonly #keys: NetworkKeys;
  readonly #grants: Grants;
  /** The etcd lease on which each key hung after the last write that is known to have been done. */
  readonly #hung = new Map<string, string>();

  constructor(pool: EtcdPool, keys: NetworkKeys, grants: Grants) {
    this.#pool = pool;
    this.#keys = keys;
    this.#grants = grants;
  }

  /** As {@link LeaseStore.createLease}. */
  create(
    name: string,
    value: string,
    ttl: number | undefined,
    patience: Patience,
  ): Promise<StoredLease | undefined> {
    const absent: Compare = {
      key: this.#keys.ofLease(name),
      ...{ result: "Equal", target: "Version", version: "0" },
    };
    return this.#put(absent, name, value, ttl, patience);
  }

  /** As {@link LeaseStore.updateLease}. */
  update(
    held: StoredLease,
    value: string,
    ttl: number,
    patience: Patience,
  ): Promise<StoredLease | undefined> {
    return this.#put(this.#unchanged(held), held.key, value, held.expires ? ttl : undefined, patience);
  }

  /** By keep-alive of the etcd lease that the key hangs on: no write, and no event for any host. */
  async renew(held: StoredLease, ttl: number, patience: Patience): Promise<StoredLease | undefined> {
    const { kvs: [kv] } = await this.#pool.call("KV.range", { key: this.#keys.ofLease(held.key) }, patience);
    if (!kv || BigInt(kv.mod_revision) !== held.revision) return undefined;
    if (!held.expires) return held;
    const granted = await this.#grants.keepAlive(kv.lease, patience);
    // It has just ended, and the key with it.
    if (granted === 0) return undefined;
    // An earlier run asked for a shorter time.
    return granted < ttl ? await this.update(held, held.value, ttl, patience) : held;
  }

  /** As {@link LeaseStore.deleteLease}. */
  async delete(held: StoredLease, patience: Patience): Promise<boolean> {
    const answer = await this.#pool.call("KV.txn", {
      compare: [this.#unchanged(held)],
      success: [{ request_delete_range: { key: this.#keys.ofLease(held.key), prev_kv: true } }],
      failure: [],
    }, patience);
    this.#moved(held.key, answer.responses[0]?.response_delete_range?.prev_kvs[0]?.lease, "0");
    return answer.succeeded;
  }

  async #put(
    condition: Compare,
    name: string,
    value: string,
    ttl: number | undefined,
    patience: Patience,
  ): Promise<StoredLease | undefined> {
    const key = this.#keys.ofLease(name);
    const grant = ttl === undefined ? undefined : await this.#grants.take(name, ttl, patience);
    const put = { key, value: Buffer.from(value), lease: grant?.id ?? "0", prev_kv: true };
    const answer = await this.#transact({
      compare: [condition],
      success: [{ request_put: put }],
      failure: [{ request_range: { key } }],
    }, { name, grant, patience });
    if (answer.succeeded) {
      const { revision } = answer.header;
      const before = answer.responses[0]?.response_put?.prev_kv ?? undefined;
      this.#moved(name, before?.lease, put.lease);
      const create_revision = before?.create_revision ?? revision;
      return this.#keys.lease({ ...put, mod_revision: revision, create_revision });
    }
    const found = answer.responses[0]?.response_range?.kvs[0];
    if (!grant || found?.lease !== grant.id) {
      if (grant) this.#grants.unused(grant);
      return undefined;
    }
    // Nobody else has this etcd lease: an earlier try was done, and its answer was lost.
    this.#moved(name, this.#hung.get(name), grant.id);
    const stored = this.#keys.lease(found);
    if (stored.value === value) return stored;
    this.#grants.unsure(name, grant);
    return await this.#put(this.#unchanged(stored), name, value, ttl, patience);
  }

  /** The transaction; where it fails, the grant is kept for the next one. */
  async #transact(
    request: TxnRequest,
    { name, grant, patience }: { name: string; grant: Grant | undefined; patience: Patience },
  ): Promise<TxnResponse> {
    try {
      return await this.#pool.call("KV.txn", request, patience);
    } catch (error) {
      const isRefused = error instanceof StoreError || error instanceof RefusedError;
      if (grant && isRefused) this.#grants.unused(grant);
      else if (grant) this.#grants.unsure(name, grant);
      throw error;
    }
  }

  /** The key hangs on another etcd lease than before ("0": on none). */
  #moved(name: string, before: string | undefined, now: string): void {
    if (before && before !== "0" && before !== now) this.#grants.giveBack(before);
    if (now === "0") this.#hung.delete(name);
    else this.#hung.set(name, now);
  }

  #unchanged(held: StoredLease): Compare {
    return {
      key: this.#keys.ofLease(held.key),
      ...{ result: "Equal", target: "Mod", mod_revision: String(held.revision) },
    };
  }
}

/**
 * Where config and leases stand in etcd, and how a key becomes a lease.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { LeaseEvent, StoredConfig, StoredLease } from "../types.ts";
import type { KeyValue, WatchEvent } from "./messages.ts";

/** A range of keys. */
export interface KeyRange {
  readonly key: Buffer;
  readonly range_end?: Buffer;
}

/** The keys of one network. */
export class NetworkKeys {
  readonly config: KeyRange;
  /** All leases. */
  readonly leases: Required<KeyRange>;
  readonly #folder: string;

  /** @param prefix Like `/coreos.com/network`. */
  constructor(prefix: string) {
    const base = `/${prefix.replace(/^\/+|\/+$/g, "")}`;
    this.#folder = `${base}/subnets/`;
    this.config = { key: Buffer.from(`${base}/config`) };
    // "0" follows "/": the end of all keys below the folder.
    this.leases = { key: Buffer.from(this.#folder), range_end: Buffer.from(`${base}/subnets0`) };
  }

  /** The key of the lease `name`, as in {@link StoredLease}. */
  ofLease(name: string): Buffer {
    return Buffer.from(this.#folder + name);
  }

  lease(kv: KeyValue): StoredLease {
    return {
      key: this.#nameOf(kv),
      value: kv.value.toString(),
      revision: BigInt(kv.mod_revision),
      createRevision: BigInt(kv.create_revision),
      expires: kv.lease !== "0",
    };
  }

  event({ type, kv }: WatchEvent): LeaseEvent {
    return type === "Delete"
      ? { kind: "delete", key: this.#nameOf(kv), revision: BigInt(kv.mod_revision) }
      : { kind: "put", lease: this.lease(kv) };
  }

  /** Decoded by itself: a slice of the whole key's text would keep that for as long as it lives. */
  #nameOf(kv: KeyValue): string {
    return kv.key.toString("utf8", this.leases.key.length);
  }
}

export function configOf(kv: KeyValue | undefined): StoredConfig | undefined {
  return kv && { text: kv.value.toString(), revision: BigInt(kv.mod_revision) };
}

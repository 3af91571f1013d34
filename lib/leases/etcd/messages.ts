/**
 * The parts of etcd's v3 API that are used, as protobuf.ts gives and takes them (64-bit numbers as decimal
 * text, bytes as Buffer, fields named as in rpc.proto). Where each field stands is in layouts.ts.
 *
 * @module
 */
import type { Buffer } from "node:buffer";

/** mvccpb.KeyValue. */
export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  /** "0" where no etcd lease is attached. */
  readonly lease: string;
}

export interface Header {
  readonly cluster_id: string;
  readonly revision: string;
  /** Grows with each election: a smaller one is another history. */
  readonly raft_term: string;
}

export interface RangeRequest {
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly limit?: string;
  readonly revision?: string;
  readonly keys_only?: boolean;
  readonly sort_order?: "Descend";
  readonly sort_target?: "Mod";
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: readonly KeyValue[];
  /** Keys in the range, whatever the limit. */
  readonly count: string;
  readonly more: boolean;
}

/** A condition, with one of the two values. */
export interface Compare {
  readonly key: Buffer;
  readonly result: "Equal";
  readonly target: "Version" | "Mod";
  readonly version?: string;
  readonly mod_revision?: string;
}

/** An operation of a transaction: one of the three. */
export interface RequestOp {
  readonly request_put?: {
    readonly key: Buffer;
    readonly value: Buffer;
    readonly lease: string;
    readonly prev_kv?: boolean;
  };
  readonly request_range?: RangeRequest;
  readonly request_delete_range?: { readonly key: Buffer; readonly prev_kv?: boolean };
}

export interface TxnRequest {
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly responses: readonly {
    readonly response_range?: RangeResponse | null;
    readonly response_put?: { readonly prev_kv: KeyValue | null } | null;
    readonly response_delete_range?: { readonly prev_kvs: readonly KeyValue[] } | null;
  }[];
}

export interface WatchEvent {
  readonly type: "Put" | "Delete";
  /** Of a deletion only key and mod_revision are given. */
  readonly kv: KeyValue;
}

/** Begins a watch. */
export interface WatchRequest {
  readonly create_request: {
    readonly key: Buffer;
    readonly range_end?: Buffer;
    readonly start_revision: string;
    readonly progress_notify: boolean;
    readonly fragment: boolean;
  };
}

export interface WatchResponse {
  readonly header: Header;
  readonly watch_id: string;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  /** More of the same revisions follows in the next response. */
  readonly fragment: boolean;
  readonly events: readonly WatchEvent[];
}

export interface KeepAliveResponse {
  /** Seconds that the lease was granted for; "0" or less where there is none. */
  readonly TTL: string;
}

/** Request and response of each unary call that is used. */
export interface Calls {
  "KV.range": { request: RangeRequest; response: RangeResponse };
  "KV.txn": { request: TxnRequest; response: TxnResponse };
  "KV.put": {
    request: { readonly key: Buffer; readonly value: Buffer };
    response: { readonly header: Header };
  };
  "Lease.leaseGrant": {
    request: { readonly TTL: string; readonly ID: string };
    response: { readonly header: Header; readonly ID: string; readonly error: string };
  };
  "Lease.leaseTimeToLive": {
    request: { readonly ID: string; readonly keys: boolean };
    response: {
      readonly header: Header;
      readonly keys: readonly Buffer[];
      /** Seconds that are left; -1 where there is no such lease. */
      readonly TTL: string;
      /** Seconds that it was granted for. */
      readonly grantedTTL: string;
    };
  };
  "Lease.leaseRevoke": { request: { readonly ID: string }; response: { readonly header: Header } };
  "Auth.authenticate": {
    request: { readonly name: string; readonly password: string };
    response: { readonly header: Header; readonly token: string };
  };
}

/** Name of a unary call, `Service.method`. */
export type CallName = keyof Calls;

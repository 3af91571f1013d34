/**
 * Leases, and the store that keeps them: the seam between etcd or SQLite and everything else.
 *
 * @module
 */
import type { Json } from "../config/types.ts";
import type { PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";

/** What a host publishes about itself with its lease. */
export interface LeaseAttributes {
  /** Addresses at which other hosts reach it. */
  readonly publicIps: PerFamily<Ip>;
  /** Type of its backend; udp, alloc and the clouds leave it out. */
  readonly backendType?: string;
  /** What its backend publishes, per family (BackendData, BackendV6Data). */
  readonly backendData: PerFamily<Json>;
}

/** A host's subnets and what it says about itself. */
export interface Lease {
  /** One subnet for each family of the network. */
  readonly subnets: PerFamily<Prefix>;
  readonly attributes: LeaseAttributes;
}

/** A lease as it stands in the store. */
export interface StoredLease {
  /** The key below `PREFIX/subnets/`, like `10.5.88.0-24`. */
  readonly key: string;
  /** The value's text (JSON), byte for byte. */
  readonly value: string;
  /** Revision of the key's last change. */
  readonly revision: bigint;
  /** Revision at which the key was created: renewals and other writes don't change it. */
  readonly createRevision: bigint;
  /** False for a reservation: a key that never expires. */
  readonly expires: boolean;
}

/** The network config as it stands in the store. */
export interface StoredConfig {
  readonly text: string;
  /** Revision of its last change. */
  readonly revision: bigint;
}

/** A place in a store's history, to watch from: everything up to it is known. */
export interface StoreCursor {
  readonly revision: bigint;
  /**
   * What distinguishes this history from another one with the same revisions, as a store that was restored or replaced
   * has it. Only the store that gave it can read it; without it the revisions alone are compared.
   */
  readonly history?: unknown;
}

/** A stored lease with its times, as far as the store knows them. */
export interface TimedLease extends StoredLease {
  /** Seconds until it expires. */
  readonly secondsLeft?: number | undefined;
  /** Seconds since it last got its whole time. */
  readonly renewedAgo?: number | undefined;
}

/** All leases at one revision of the store. */
export interface LeaseSnapshot extends StoreCursor {
  readonly leases: readonly StoredLease[];
}

/** One change of one key. */
export type LeaseEvent =
  | { readonly kind: "put"; readonly lease: StoredLease }
  | { readonly kind: "delete"; readonly key: string; readonly revision: bigint };

/** Changes that became visible together, in the order of their revisions. */
export interface LeaseEventBatch extends StoreCursor {
  readonly events: readonly LeaseEvent[];
  /** The network config, in the first batch of a watch and whenever it changed; null: there is none. */
  readonly config?: StoredConfig | null;
}

/**
 * The watch can't go on from where it was asked to: history is compacted, or ({@link ReplacedError}) the store has
 * another history. List, compare, watch from there.
 */
export class CompactedError extends Error {
  override readonly name: string = "CompactedError";
}

/** The store has another history: it was wiped, restored or replaced. What is missing there was not deleted. */
export class ReplacedError extends CompactedError {
  override readonly name = "ReplacedError";
}

/**
 * A store that can't be used and won't become usable by waiting: wrong credentials, a bad certificate, a
 * corrupt file. The message names the endpoint or file, the cause and how to fix it.
 */
export class StoreError extends Error {
  override readonly name: string = "StoreError";
}

/** The store in which the lease stands is gone, and what is there in its place isn't known: the daemon must end. */
export class StoreGoneError extends StoreError {
  override readonly name = "StoreGoneError";
}

/** Options of a look at all leases. */
export interface InspectOptions extends CallOptions {
  /** Of all leases, those whose times are wanted; absent: all. A store to which times cost nothing gives more. */
  readonly timed?: (leases: readonly StoredLease[]) => readonly StoredLease[];
}

/** Options of calls that wait for the store. */
export interface CallOptions {
  /** Ends the wait; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds after which the call gives up, with an error that names the endpoints and their causes: for
   * commands, where a person waits. Without it the store's own patience counts.
   */
  readonly timeoutMs?: number;
}

/**
 * Where config and leases live. Every method that changes a lease is one transaction on the key's revision:
 * of two hosts that want the same key, one gets it and the other learns that.
 *
 * Methods reject with {@link StoreError} for what doesn't pass by waiting, and with any other error for what a
 * later call may survive (an endpoint that is down, a time-out).
 */
export interface LeaseStore extends AsyncDisposable {
  /** For logs: `etcd http://127.0.0.1:2379`, `sqlite /path`. Holds no secret. */
  readonly description: string;

  /**
   * Ends all connections: what is under way fails, and what comes connects anew. For a host whose address
   * changed: connections from the old one are dead, and it takes seconds until that shows.
   */
  dropConnections?(): void;

  /** The network config's text, or undefined where there is none yet. */
  readConfig(options?: CallOptions): Promise<StoredConfig | undefined>;
  /** Writes the network config's text. */
  writeConfig(text: string, options?: CallOptions): Promise<void>;

  /** All leases at one revision, whatever their number. */
  listLeases(options?: CallOptions): Promise<LeaseSnapshot>;

  /** As {@link listLeases}, with the leases' times: in etcd that costs a request a lease, or less with `timed`. */
  inspectLeases(
    options?: InspectOptions,
  ): Promise<StoreCursor & { readonly leases: readonly TimedLease[] }>;

  /**
   * Creates `key` if it is absent.
   *
   * @param ttl Seconds until it expires unless renewed, at least 1; undefined makes a reservation.
   * @returns What was stored, or undefined if the key exists.
   */
  createLease(
    key: string,
    value: string,
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<StoredLease | undefined>;

  /**
   * Writes `value` with a fresh time to live if the key's revision is still `held.revision`. A reservation
   * (`held.expires` false) stays one. Every watcher sees the write, also where the value is the same.
   *
   * @returns What was stored, or undefined if somebody else changed or deleted the key.
   */
  updateLease(
    held: StoredLease,
    value: string,
    ttl: number,
    options?: CallOptions,
  ): Promise<StoredLease | undefined>;

  /**
   * Gives the key a fresh time to live if its revision is still `held.revision`. Where the store can, nothing
   * is written and no watcher sees it: the revision stays.
   *
   * @returns The lease as it stands now, or undefined if somebody else changed or deleted the key.
   */
  renewLease(held: StoredLease, ttl: number, options?: CallOptions): Promise<StoredLease | undefined>;

  /** Deletes the key if its revision is still `held.revision`. @returns Whether it did. */
  deleteLease(held: StoredLease, options?: CallOptions): Promise<boolean>;

  /**
   * Changes after `from` (a cursor, or a bare revision), with no gap, until the signal fires (then it returns). Reconnects by itself
   * are not its business: when the connection ends, it throws, and the caller calls again with the last
   * batch. Yields a batch with no events as soon as the watch stands, and when only the revision moved.
   *
   * @throws {CompactedError} If changes after `from` are no longer kept, or the store has another history.
   */
  watchLeases(from: StoreCursor | bigint, options?: CallOptions): AsyncIterable<LeaseEventBatch>;
}

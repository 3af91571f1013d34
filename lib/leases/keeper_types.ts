/**
 * What keeping the own lease needs, and what can go wrong with it.
 *
 * @module
 */
import type { Log, Metrics } from "../observe/types.ts";
import type { Clock } from "../time/clock.ts";
import type { LeaseTime } from "./renewal_time.ts";
import type { LeaseAttributes, LeaseStore, StoredLease } from "./types.ts";

/** The lease is lost: the daemon must end, as another host may use the subnet. The message says how it went. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
}

/** What a keeper needs. */
export interface KeeperOptions extends LeaseTime {
  readonly store: LeaseStore;
  /** The lease as acquired. */
  readonly held: StoredLease;
  readonly attributes: LeaseAttributes;
  /** The value that was replaced where the lease was taken over by the public IP alone. */
  readonly replaced?: string;
  /** What earlier runs of this host published under the lease's key. */
  readonly former?: readonly string[];
  /** Called when this host has written another value. */
  readonly onPublished?: (held: StoredLease) => void;
  /** Whether a network config has the lease's subnets; without it any has. */
  readonly isNetwork?: (config: string) => boolean;
  /** How long the store was out of reach until just now, in milliseconds. */
  readonly outageMs?: () => number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics;
}

/** What is wrong with the lease. */
export interface LeaseTrouble {
  /** Milliseconds since the renewal is due; absent while it isn't, or is under way for the first time. */
  readonly overdueMs?: number;
  /** What the last try to write the lease ended in. */
  readonly error?: string;
  /** The last time that another host overwrote the lease: milliseconds ago, and what it wrote. */
  readonly conflict?: { readonly agoMs: number; readonly value: string };
}

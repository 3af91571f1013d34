/**
 * What goes into acquiring a lease, and what comes out of it.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Log } from "../observe/types.ts";
import type { RandomBelow } from "./allocator.ts";
import type { Clock } from "../time/clock.ts";
import type { HostEvidence } from "./identity.ts";
import type { Lease, LeaseAttributes, LeaseSnapshot, LeaseStore, StoredLease } from "./types.ts";

/** What a host brings along. */
export interface AcquireOptions {
  readonly store: LeaseStore;
  readonly config: readonly FamilyConfig[];
  /** What it publishes with the lease. */
  readonly attributes: LeaseAttributes;
  /** Seconds until the lease expires unless renewed. */
  readonly ttl: number;
  /** The subnets of an earlier subnet file. */
  readonly previous?: PerFamily<Prefix>;
  /** What else an earlier run left on this host. */
  readonly evidence?: Omit<HostEvidence, "subnets">;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: RandomBelow;
  readonly signal?: AbortSignal;
}

/** A lease that was acquired. */
export interface AcquiredLease {
  readonly held: StoredLease;
  readonly lease: Lease;
  /** All leases, read before ours was written: whoever watches goes on from its revision. */
  readonly snapshot: LeaseSnapshot;
  /** Where it comes from: held before, the subnet file, or chosen. */
  readonly origin: "reused" | "previous" | "new";
  /**
   * The value that was replaced where a lease was taken over by the public IP alone. Its holder, if it comes back
   * to life, has the older right.
   */
  readonly replaced?: string;
}

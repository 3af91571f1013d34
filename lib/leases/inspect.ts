/**
 * All leases of a network as an operator sees them: with their times, whatever store they stand in.
 *
 * @module
 */
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import { decodeLease, decodeLeaseKey, RESERVED_FOR_NOBODY } from "./codec.ts";
import type { CallOptions, LeaseAttributes, LeaseStore, StoredLease, TimedLease } from "./types.ts";

/** One lease, malformed ones included. Times are there as far as the store knows them. */
export interface LeaseView {
  /** What it is called in the store. */
  readonly key: string;
  /** The subnets that its key names; absent where it names none. */
  readonly subnets?: PerFamily<Prefix>;
  /** What its host says; absent where that can't be read, and of a reservation for nobody. */
  readonly attributes?: LeaseAttributes;
  /** What is wrong with it. */
  readonly fault?: string;
  /** The host's name, where the store knows it. */
  readonly host?: string;
  /** False for a reservation, and for a subnet that a cluster assigned. */
  readonly expires: boolean;
  /** Somebody else assigns the subnets: there is nothing to reserve. */
  readonly assigned?: true;
  /** Seconds until it expires unless it is renewed. */
  readonly secondsLeft?: number;
  /** Seconds since it last got its whole time. */
  readonly renewedAgo?: number;
  /** Milliseconds since 1970 of its making. */
  readonly createdAt?: number;
  /** The record, for a write that is done only if nobody changed it since. */
  readonly stored?: StoredLease;
}

/** The leases at one state of the store. */
export interface InspectedLeases {
  /** What identifies that state. */
  readonly revision: string;
  readonly leases: readonly LeaseView[];
}

/** Options of a look at all leases. */
export interface InspectLeasesOptions extends CallOptions {
  /** Of all leases, those whose times are wanted; absent: all. In etcd each costs a request. */
  readonly timed?: (leases: readonly LeaseView[]) => readonly LeaseView[];
}

/** The leases of a store of records. */
export async function inspectRecords(
  store: LeaseStore,
  { timed, ...options }: InspectLeasesOptions = {},
): Promise<InspectedLeases> {
  const { revision, leases } = await store.inspectLeases({
    ...options,
    ...timed ? { timed: (all) => timed(all.map(viewOf)).flatMap(({ stored }) => stored ?? []) } : {},
  });
  return { revision: String(revision), leases: leases.map(viewOf) };
}

/** @param stored With its times, as far as they are known. */
function viewOf(stored: TimedLease): LeaseView {
  const { key, value, expires, secondsLeft, renewedAgo } = stored;
  const { lease, fault } = decodeLease(stored);
  const subnets = lease?.subnets ?? decodeLeaseKey(key);
  return {
    ...{ key, expires, stored },
    ...subnets ? { subnets } : {},
    ...lease ? { attributes: lease.attributes } : {},
    ...fault && (expires || value !== RESERVED_FOR_NOBODY) ? { fault: fault.reason } : {},
    ...secondsLeft === undefined ? {} : { secondsLeft },
    ...renewedAgo === undefined ? {} : { renewedAgo },
  };
}

/**
 * A network's leases as the daemon sees them, wherever they stand.
 *
 * Two kinds of store fit behind it: one where each host chooses a free subnet and keeps it alive (etcd, SQLite:
 * record_manager.ts), and one where somebody else assigns the subnets (a cluster).
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import type { PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import type { HostEvidence } from "./identity.ts";
import type { InspectedLeases, InspectLeasesOptions } from "./inspect.ts";
import type { LeaseTrouble } from "./keeper_types.ts";
import type { CallOptions, Lease, LeaseAttributes, StoredConfig } from "./types.ts";

/** A lease as a store lists it: what it says, or what is wrong with it. */
export interface ListedLease {
  /** What it is called there: unique, the same for as long as it exists. */
  readonly key: string;
  /** Orders leases by when they came to be: of two that overlap, the lower one counts, on every host alike. */
  readonly since: bigint;
  /** Whether it is this host's. */
  readonly own?: boolean;
  /** Whether it never expires: somebody reserved the subnet. */
  readonly reserved?: boolean;
  /** Absent where it can't be read, and for a reservation that no host has. */
  readonly lease?: Lease | undefined;
  /** What is wrong with it; then there is no `lease`. */
  readonly fault?: string | undefined;
}

/** One change of one lease. */
export type ListedChange =
  | { readonly kind: "put"; readonly listed: ListedLease }
  | { readonly kind: "delete"; readonly key: string };

/** Who gets the leases. */
export interface LeaseSink {
  /** What was last passed on under a key: an unchanged lease may be passed on as the same object, at no cost. */
  get(key: string): ListedLease | undefined;
  /** All leases: what isn't among them is gone. */
  list(leases: Iterable<ListedLease>): void;
  /** Changes in their order. */
  change(changes: Iterable<ListedChange>): void;
}

/** The own lease as it stands in the store, to this host's knowledge. */
export interface OwnLease {
  readonly key: string;
  readonly since: bigint;
  readonly subnets: PerFamily<Prefix>;
  /** What is published with it, in the text form of the store's records. */
  readonly value: string;
  /** What this host published with it before: a restored store says one of them again. */
  readonly former?: readonly string[];
  /** False where it needs no renewal: a reservation, or an assigned subnet. */
  readonly expires: boolean;
}

/** How following the store goes. */
export interface FollowHealth {
  /** Whether changes come in at the moment. */
  readonly connected: boolean;
  /** Milliseconds since that began or ended. */
  readonly sinceMs: number;
  /** The version of the store up to which everything was passed on; empty before the first list. */
  readonly version: string;
  /** Lists that were read because changes could not be followed without a gap. */
  readonly resyncs: number;
  /** What ended the last try; absent before the first failure. */
  readonly lastError?: string;
}

/** What a host brings along. */
export interface JoinRequest {
  readonly config: readonly FamilyConfig[];
  readonly attributes: LeaseAttributes;
  /** The subnets of an earlier subnet file. */
  readonly previous: PerFamily<Prefix>;
  /** What else an earlier run left on this host. */
  readonly evidence: Omit<HostEvidence, "subnets">;
  readonly signal: AbortSignal;
}

/** A host that is in the network. */
export interface Joined {
  readonly membership: Membership;
  /** How it came by its subnets, for the log: reused, previous, new, assigned. */
  readonly origin: string;
  /** Passes on the leases that {@link SubnetManager.join} read. Call it once, and don't keep it: it may hold all of them. */
  readonly first: (sink: LeaseSink) => void;
}

/** This host's place in the network. */
export interface Membership {
  readonly own: OwnLease;
  /** Seconds until the own lease expires; Infinity where it doesn't. */
  readonly remaining: number;
  /** When the own lease last got its whole time, in milliseconds since 1970; absent where it isn't renewed. */
  readonly renewedAt?: number | undefined;
  /** What is wrong with the own lease now; empty when nothing is. */
  trouble(): LeaseTrouble;
  /** Publishes other attributes, as soon as the store answers. */
  publish(attributes: LeaseAttributes): void;
  /**
   * Keeps the own lease until the signal fires: renews it, and claims it back where that is right.
   *
   * @param onPublished Called after each write of another value.
   * @throws {LeaseLostError} When it is lost. @throws {StoreGoneError}
   */
  keep(signal: AbortSignal, onPublished: (own: OwnLease) => void): Promise<void>;
  /**
   * Passes on every change since {@link Joined.first}, and a list where there was a gap, until the signal fires. No
   * error of a store that is still there ends it; {@link health} says how it goes.
   *
   * @param onConfig Called with the network config (null: there is none) when it may have changed.
   * @throws {StoreGoneError}
   */
  follow(
    sink: LeaseSink,
    onConfig: (config: StoredConfig | null) => void,
    signal: AbortSignal,
  ): Promise<void>;
  health(): FollowHealth;
  /** Called once packets can pass and the subnet file is written. */
  ready?(): void;
}

/** A host that leaves for good, as far as it is known. */
export interface LeavingHost {
  /** What a daemon on this host would publish. */
  readonly attributes: LeaseAttributes;
  readonly evidence: HostEvidence;
  /** Addresses of the interface to the other hosts. */
  readonly addresses: PerFamily<Ip>;
  /** All addresses of this host, and those that the options name as its public ones. */
  readonly allAddresses: readonly Ip[];
}

/** A lease that a leaving host has. */
export interface LeavingLease {
  readonly key: string;
  readonly subnets: PerFamily<Prefix>;
  /** Gives it back. @returns False where it isn't the host's to give, or another host has it by now. */
  release(options?: CallOptions): Promise<boolean>;
}

/** What a store knows of this host before it joins. */
export interface KnownHost {
  /** Addresses that people gave it there, in the place of -public-ip and -public-ipv6. */
  readonly publicIps: PerFamily<Ip>;
  /** What it published last. */
  readonly attributes?: LeaseAttributes;
}

/** Where a network's config and leases stand. */
export interface SubnetManager extends AsyncDisposable {
  /** For logs: `etcd http://127.0.0.1:2379`, `sqlite /path`. Holds no secret. */
  readonly description: string;
  /** The leases' keys are the hosts' names. */
  readonly keysAreHosts?: true;
  /**
   * Ends all connections: what is under way fails, and what comes connects anew. For a host whose address
   * changed: connections from the old one are dead, and it takes seconds until that shows.
   */
  dropConnections?(): void;
  /** The network config's text, or undefined where there is none yet. */
  readConfig(options?: CallOptions): Promise<StoredConfig | undefined>;
  /**
   * What the store knows of this host; stores that know hosts by their leases alone don't have it. Waits for a store
   * that doesn't answer.
   *
   * @throws {StoreError} For what doesn't pass by waiting. @throws The signal's reason.
   */
  self?(options?: CallOptions): Promise<KnownHost>;
  /**
   * Takes a subnet, or learns which one is assigned. Waits for a store that doesn't answer, as long as it takes.
   *
   * @throws {OutOfSubnetsError | HeldElsewhereError | StoreError} For what doesn't pass by waiting.
   * @throws The signal's reason.
   */
  join(request: JoinRequest): Promise<Joined>;
  /**
   * All leases, with what an operator wants to know of them. Of a large network it takes seconds.
   *
   * @param config The families of the network.
   */
  inspect(config: readonly FamilyConfig[], options?: InspectLeasesOptions): Promise<InspectedLeases>;
  /**
   * The leases of a host that leaves.
   *
   * @param onDoubt Called with each lease of the host's public IP that may just as well be another host's.
   */
  leasesOf(
    host: LeavingHost,
    onDoubt: (lease: { readonly key: string; readonly value: string }) => void,
    options?: CallOptions,
  ): Promise<readonly LeavingLease[]>;
}

/**
 * What a running daemon says of itself: the answer of `/status`, and of `flanneld status -json`. The types are the
 * documentation of the schema; docs/observing.md explains it with examples.
 *
 * A field keeps its name and meaning as long as `schemaVersion` stays 1; new fields may come. Who reads it ignores what
 * it doesn't know. Times are ISO 8601 in UTC, as `2026-11-21T15:04:05.000Z`.
 *
 * @module
 */
import type { JsonObject } from "../config/types.ts";

/** The version of the schema: another one means that a field is gone or means something else. */
export const SCHEMA_VERSION = 1;

/** The whole answer. What stands in {@link MemberStatus} is there once the host is in the network. */
export interface StatusDocument extends Partial<MemberStatus> {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  /** Of the program. */
  readonly version: string;
  /** When this was written. */
  readonly time: string;
  /** When the daemon started. */
  readonly startedAt: string;
  readonly host: { readonly name: string };
  /** Whether packets can pass: devices, rules, subnet file and lease are in order. */
  readonly ready: boolean;
  /** Why it isn't ready, as `part: what`; empty when it is. */
  readonly notReady: readonly string[];
  /** What is wrong now, the oldest first. */
  readonly problems: readonly ProblemStatus[];
}

/** Something that is wrong. */
export interface ProblemStatus {
  /** `part: what is wrong, and what the daemon does now`. */
  readonly problem: string;
  readonly since: string;
}

/** What a host in the network says beyond that. */
export interface MemberStatus {
  /** The network config that the host runs with, with all defaults; secrets are masked. */
  readonly config: JsonObject;
  /** Whether the store still holds that config. */
  readonly configInUse: boolean;
  readonly lease: LeaseStatus;
  /** Path of the subnet file. */
  readonly subnetFile: string;
  /** MTU for containers, in bytes. */
  readonly mtu: number;
  readonly interface: InterfaceStatus;
  readonly store: StoreStatus;
  readonly peers: PeersStatus;
  readonly kernel: KernelStatus;
  /** What keeps the firewall rules; null: not known yet. */
  readonly firewall: string | null;
  /** What a backend with work of its own says; absent for the others. */
  readonly backend?: JsonObject;
}

/** The own lease. */
export interface LeaseStatus {
  /** What it is called in the store. */
  readonly key: string;
  /** One for each family, IPv4 first. */
  readonly subnets: readonly string[];
  /** The published value: JSON as text. */
  readonly value: string;
  /** It never expires: a reservation, or a subnet that a cluster assigned. */
  readonly reservation: boolean;
  /** Until it expires unless it is renewed; null where it doesn't expire. */
  readonly secondsLeft: number | null;
  /** When the store last gave it its whole time; null where it isn't renewed. */
  readonly renewedAt: string | null;
}

/** The interface to the other hosts. */
export interface InterfaceStatus {
  readonly name: string;
  readonly index: number;
  /** In bytes. */
  readonly mtu: number;
  readonly addresses: readonly string[];
  /** What the other hosts are given as this host's addresses. */
  readonly publicIps: readonly string[];
}

/** Where config and leases stand. */
export interface StoreStatus {
  readonly description: string;
  /** Whether changes come in. */
  readonly connected: boolean;
  /** How long that is so. */
  readonly forSeconds: number;
  /** The version of the store up to which everything is known. */
  readonly revision: string;
  /** Lists that were read again because there was a gap. */
  readonly resyncs: number;
  /** What ended the last connection; null before the first end. */
  readonly lastError: string | null;
}

/** The kernel's side. */
export interface KernelStatus {
  /** Names of the devices that are kept. */
  readonly links: readonly string[];
  /** Neighbour, fdb and route entries that are kept. */
  readonly entries: number;
  readonly nexthops: number;
  /** Entries that can't be written. */
  readonly failures: readonly { readonly entry: string; readonly error: string }[];
  readonly problem: string | null;
}

/** The other hosts. */
export interface PeersStatus {
  readonly count: number;
  /** Keys in the store that are no leases. */
  readonly malformed: number;
  /** Leases that no host takes for a peer: they overlap another one, or lie outside of the network. */
  readonly refused: readonly { readonly key: string; readonly reason: string }[];
  /** Peers that aren't reached, or only in part. */
  readonly problems: readonly { readonly key: string; readonly problem: string }[];
  /** Only where probes run. */
  readonly probing?: {
    /** -probe-interval. */
    readonly askedSeconds: number;
    /** What it is now: longer where so many peers would take more than 100 packets a second. */
    readonly intervalSeconds: number;
  };
  /** Only where it is asked for: `/status?peers=summary`, `/status?peers=all`. */
  readonly table?: PeerTable;
}

/** How much of the peers an answer holds. */
export type PeerDetail = "counts" | "summary" | "all";

/** The peers one by one, as far as asked for. */
export interface PeerTable {
  /** How many peers are reached by which path; a peer with two families may be counted twice. */
  readonly paths: Readonly<Record<string, number>>;
  /** How many peers have a problem, silent ones included. */
  readonly withProblem: number;
  /** How many peers have a probe's result; 0 where no probes run. */
  readonly probed: number;
  /**
   * Sorted by subnet. `all`: every peer. `summary`: every peer of a small network, else those with a problem.
   */
  readonly rows: readonly PeerStatus[];
  /** Peers that aren't among the rows. */
  readonly omitted: number;
}

/** One peer. */
export interface PeerStatus {
  /** What its lease is called in the store. */
  readonly key: string;
  /** The host's name where it is known (the Node's, or that of /etc/hosts), else empty. */
  readonly host: string;
  readonly subnets: readonly string[];
  readonly publicIps: readonly string[];
  /** What its lease says; null where it says nothing, as udp, alloc and the clouds do. */
  readonly backendType: string | null;
  /**
   * How packets get there: vxlan, direct (a plain route), ipip, udp, wireguard, cloud-route, none (alloc). Empty where
   * they don't. Several where the families differ.
   */
  readonly paths: readonly string[];
  /** When the last handshake of WireGuard was; null before the first one; absent for other paths. */
  readonly lastHandshake?: string | null;
  /** When its lease last changed; null where it is as it was when the daemon started. */
  readonly changedAt: string | null;
  /** Why it isn't reached, or not fully; null when all is well. */
  readonly problem: string | null;
  /** Its subnet is reserved for a host that has not been there yet; absent for all others. */
  readonly awaited?: true;
  /** The last probe through the overlay; absent where no probes run, null before the first result. */
  readonly probe?: ProbeStatus | null;
}

/** What probing a peer found. */
export interface ProbeStatus {
  readonly at: string;
  /** Median of the round trips, in milliseconds; null where nothing came back. */
  readonly rttMs: number | null;
  /** Share of the packets that got no answer, 0 to 1. */
  readonly loss: number;
  /** The same beside the overlay, to the public address; null where there is none. */
  readonly underlayLoss?: number | null;
  /** What it means: `ok`, `port-blocked`, `mtu-black-hole` and others; docs/observing.md lists them. */
  readonly verdict?: string;
  readonly severity?: "ok" | "warning" | "fault" | "unknown";
  /** The verdict in a sentence. */
  readonly text?: string;
}

/** Results of probes, by the peer's key: the status asks whoever probes. */
export interface ProbeView {
  /** Undefined before the first result. */
  resultOf(key: string): ProbeStatus | undefined;
  /** How often each peer is asked. */
  readonly probing?: NonNullable<PeersStatus["probing"]>;
}

/**
 * What the daemon sends to its page, as server-sent events. Types only: both sides share them.
 *
 * @module
 */
import type { PeersStatus, PeerStatus, StatusDocument } from "../status/document.ts";

/** A peer as the page has it. */
export interface PagePeer extends PeerStatus {
  /** Its lease never expires. Absent: it does. */
  readonly reserved?: true;
}

/** A reservation for no host, or a lease that isn't a peer's: `refused` and `malformed` of the status count them. */
export interface PageOther {
  readonly key: string;
  readonly subnets: readonly string[];
  /** It never expires. */
  readonly reserved: boolean;
}

/** The status without the peers' table. */
export interface PageState extends Omit<StatusDocument, "time" | "peers"> {
  readonly peers?: Omit<PeersStatus, "table">;
  /** What takes subnets and is no peer. */
  readonly others: readonly PageOther[];
  /** Seconds of the lease at which it is renewed: a lease with less left is expiring. */
  readonly renewMargin: number;
  /** What the bytes of {@link PageSample} are counted on. */
  readonly devices: readonly string[];
}

/** Counters at one moment. */
export interface PageSample {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Of the devices, all together. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Kernel entries written or removed since the start. */
  readonly operations: number;
  /** Changes of leases since the start. */
  readonly leaseEvents: number;
  readonly peers: number;
  /** What is wrong at that moment. */
  readonly problems: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Every event by its name. */
export interface PageEvents {
  /** The whole state, whenever it differs from the last one. */
  readonly state: PageState;
  /** Peers that are new or other than before, and keys of those that are gone. The first ones are all. */
  readonly peers: { readonly put: readonly PagePeer[]; readonly gone: readonly string[] };
  /** All peers have been sent once. */
  readonly complete: Record<never, never>;
  /** Lines of the log, the oldest first. */
  readonly log: { readonly lines: readonly string[] };
  /** Samples, the oldest first. */
  readonly samples: { readonly samples: readonly PageSample[] };
}

/**
 * What a probe of a peer finds, as plain values: for the table, for JSON, for status and metrics.
 *
 * @module
 */
import type { FamilyName } from "../net/family.ts";

/** Round trips in milliseconds. */
export interface RoundTrips {
  readonly min: number;
  readonly p50: number;
  readonly p99: number;
}

/** One way to a peer, in one address family: through the overlay or beside it. */
export interface PathView {
  /** The address that was asked; absent where there is none that could answer. */
  readonly target?: string;
  /** Echo requests that were sent. */
  readonly sent: number;
  /** Those that were answered. */
  readonly received: number;
  /** Absent where nothing was answered. */
  readonly rttMs?: RoundTrips;
  /** The largest IP packet that comes back, in bytes; absent where it wasn't looked for or nothing was answered. */
  readonly mtu?: number;
  /** What else is to be said of this path, like why it isn't measured. */
  readonly note?: string;
}

/** How much a verdict matters. `unknown`: nothing there could answer. */
export type Severity = "ok" | "warning" | "fault" | "unknown";

/** What the difference between overlay and underlay means. */
export interface Verdict {
  readonly severity: Severity;
  /** What it is, in one or a few words with dashes: stable, for programs. */
  readonly code: string;
  /** The same in a sentence. */
  readonly text: string;
  /** What was seen, a fact each. */
  readonly evidence: readonly string[];
  /** What helps, as a command where there is one. */
  readonly remedy?: string;
}

/** A peer in one address family. */
export interface FamilyView {
  readonly family: FamilyName;
  /**
   * How packets go, in the words of `flanneld status`: `vxlan`, `wireguard`, `udp`, `ipip`, `direct` (a route on the
   * wire), `cloud-route`; `routed` with alloc, which leaves that to others.
   */
  readonly path: string;
  readonly overlay: PathView;
  readonly underlay: PathView;
  readonly verdict: Verdict;
}

/** A peer as its last probe found it. */
export interface ProbeView {
  /** The lease's key. */
  readonly key: string;
  /** When the probe ended, in milliseconds since 1970. */
  readonly at: number;
  readonly families: readonly FamilyView[];
}

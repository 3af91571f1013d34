/**
 * What is known of a peer before it is judged, and the parts that verdicts are made of.
 *
 * @module
 */
import type { IcmpReason } from "./icmp.ts";
import type { Severity, Verdict } from "./types.ts";

/** What echo requests over one side found. */
export interface SideFindings {
  readonly sent: number;
  readonly received: number;
  /** Median round trip in milliseconds; absent where nothing was answered. */
  readonly p50?: number;
  /** The errno's name of a request that didn't leave. */
  readonly unsent?: string;
  /** An ICMP error that came instead of an answer. */
  readonly error?: { readonly reason: IcmpReason; readonly from: string };
  readonly mtu?: {
    readonly mtu: number;
    readonly most: number;
    readonly blackHole: boolean;
    /** Nothing between `mtu` and `most` was tried. */
    readonly isBound?: true;
    /** The router that reported a smaller MTU. */
    readonly reportedBy?: string;
  };
}

/** What the tunnel's outer packets did while the peer was asked again. */
export interface OuterFindings {
  /** Seen leaving this host on its external interface. */
  readonly sent: number;
  /** Seen coming in from the peer. */
  readonly received: number;
  /** Among those the answers to what was asked, before this host's firewall sees them. */
  readonly answers: number;
  /** An ICMP error about an outer packet. */
  readonly error?: { readonly reason: IcmpReason; readonly from: string };
}

/** Everything that is known of a peer in one family. */
export interface Findings {
  readonly publicIp: string;
  /** As FamilyView.path. */
  readonly path: string;
  /** What carries the tunnel, in words: `UDP port 8472`, `IP protocol 4`; absent where packets go without one. */
  readonly carrier?: string;
  /** The device that the overlay's packets go to. */
  readonly device?: string;
  readonly externalDevice?: string;
  readonly overlay: SideFindings;
  readonly underlay: SideFindings;
  readonly kernel?: { readonly code: string; readonly text: string; readonly remedy: string };
  /** Whether the next hop to the public address answers ARP or ND. */
  readonly nextHop?: { readonly address: string; readonly resolved: boolean };
  readonly outer?: OuterFindings;
  /** Seconds since WireGuard's last handshake; null: there was none. */
  readonly handshakeAge?: number | null;
  /** Whether a TCP connection to a closed port of the peer was refused, as it is to be. */
  readonly tcp?: "answered" | "silent";
  /** Why nothing in the peer's subnet need answer: no device of flannel's has an address there. */
  readonly mayBeSilent?: boolean;
  /** The peer itself answered a packet that it couldn't deliver: the way there and back works. */
  readonly answeredByHost?: boolean;
}

/** A verdict. */
export function verdict(
  severity: Severity,
  code: string,
  text: string,
  evidence: readonly string[],
  remedy?: string,
): Verdict {
  return { severity, code, text, evidence, ...remedy === undefined ? {} : { remedy } };
}

function counted({ received, sent }: SideFindings): string {
  return `${received} of ${sent}`;
}

/** How many answered, for the evidence. */
export function facts({ overlay, underlay }: Findings): string[] {
  return [`overlay: ${counted(overlay)} answered`, `underlay: ${counted(underlay)} answered`];
}

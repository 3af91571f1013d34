/**
 * The interface to the other hosts, and what choosing it depends on.
 *
 * @module
 */
import type { Link, LinkAddress, Route } from "../netlink/types.ts";
import type { Family, PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";

/** The host's interface to the other hosts, as it is now. */
export interface ExternalInterface {
  readonly name: string;
  readonly index: number;
  /** MTU in bytes. */
  readonly mtu: number;
  /** The interface's own address per family: source of outer packets. */
  readonly addresses: PerFamily<Ip>;
  /** The addresses that other hosts use: the same, unless -public-ip or -public-ipv6 say otherwise. */
  readonly publicIps: PerFamily<Ip>;
}

/** What the user asks for, and what the network needs. */
export interface InterfaceRequest {
  /** The network's families: the interface must have an address of each. */
  readonly families: readonly Family[];
  /** -iface: names or addresses, tried in order. */
  readonly ifaces: readonly string[];
  /** -iface-regex, tried in order after the names. */
  readonly patterns: readonly RegExp[];
  /** -iface-can-reach, tried after the patterns. */
  readonly canReach?: Ip | undefined;
  /** -public-ip and -public-ipv6. */
  readonly publicIps: PerFamily<Ip>;
}

/** What of a route the choice depends on. */
export type RouteAnswer = Pick<Route, "linkIndex" | "preferredSource">;

/** The host as the kernel shows it. */
export interface HostNetwork {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  /** Routes of the main table; those that aren't default routes are passed over. */
  readonly routes: readonly Route[];
  /** Which way a packet to `ip` would go (RTM_GETROUTE); undefined if there is none. */
  lookupRoute(ip: Ip): RouteAnswer | undefined;
}

/** An interface that could have been chosen. */
export interface InterfaceCandidate {
  readonly name: string;
  readonly index: number;
  /** Its addresses, as text. */
  readonly addresses: readonly string[];
  readonly taken: boolean;
  /** Why it was taken or not. */
  readonly reason: string;
}

/** The interface that was chosen. */
export interface InterfaceChoice {
  readonly external: ExternalInterface;
  /** Every interface of the host, the one taken included. */
  readonly candidates: readonly InterfaceCandidate[];
}

/** No interface fits. The message names what was asked, what exists and how to fix it. */
export class InterfaceError extends Error {
  override readonly name = "InterfaceError";
  constructor(message: string, readonly candidates: readonly InterfaceCandidate[]) {
    super(message);
  }
}

/** A link that a step of the search points at. */
export interface Match {
  readonly link: Link;
  /** The address that the step points at; it goes before the link's others of its family. */
  readonly address?: Ip | undefined;
  /** Why this link. */
  readonly reason: string;
}

/** One thing that was asked for, and what answers to it. */
export interface Step {
  readonly asked: string;
  readonly matches: readonly Match[];
}

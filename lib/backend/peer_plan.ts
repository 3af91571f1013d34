/**
 * What one peer needs on this host, and why it can't have it.
 *
 * @module
 */
import type { Entry } from "../kernel/entries.ts";
import type { Lease } from "../leases/types.ts";
import type { Family, PerFamily } from "../net/family.ts";
import { formatIp, type Ip, isHostAddress, sameIp } from "../net/ip.ts";
import { containsIp, type Prefix } from "../net/prefix.ts";

/** The entries of one peer. */
export interface PeerPlan {
  /** What the kernel needs to reach it; empty where it can't be reached, or where the backend carries packets itself. */
  readonly entries: readonly Entry[];
  /** By which path packets get there, for status: see {@link PATHS}. Empty where they don't. */
  readonly paths: readonly string[];
  /** Why the peer isn't reached, or not in every family; absent when all is well. */
  readonly problem?: string;
}

/** The paths of the program's own backends; one that comes new may have another word. */
export const PATHS = {
  /** In a VXLAN tunnel. */
  vxlan: ["vxlan"],
  /** A plain route: host-gw, and DirectRouting. */
  direct: ["direct"],
  ipip: ["ipip"],
  udp: ["udp"],
  wireguard: ["wireguard"],
  /** By the cloud's route table. */
  cloudRoute: ["cloud-route"],
  /** The backend leases subnets only. */
  none: ["none"],
} as const;

/** A peer that is gone. */
export const NO_ENTRIES: PeerPlan = { entries: [], paths: [] };

/** A peer that needs nothing in the kernel: who carries its packets knows it otherwise. */
export function carried(paths: readonly string[]): PeerPlan {
  return { entries: [], paths };
}

/** A peer that can't be reached. @param problem The reason, to stand after "peer 10.5.9.0/24 skipped: ". */
export function unreachable(problem: string): PeerPlan {
  return { entries: [], paths: [], problem };
}

/**
 * Why a peer isn't reached at `ip`. A lease with an address of this host's own is one of its past, or belongs to a host
 * that publishes what isn't its own: a path to it would lead packets round in a circle. One with a multicast address
 * would send the tunnel's packets to many.
 */
export function remoteProblem(
  { addresses, publicIps }: { readonly addresses: PerFamily<Ip>; readonly publicIps: PerFamily<Ip> },
  ip: Ip,
): string | undefined {
  const { name } = ip.family;
  if (sameIp(ip, addresses[name]) || sameIp(ip, publicIps[name])) {
    return `${formatIp(ip)} is this host's own address`;
  }
  return addressProblem(ip);
}

/** Why no host can be reached at `ip`, whatever carries the packets. */
export function addressProblem(ip: Ip): string | undefined {
  return isHostAddress(ip) ? undefined : `${formatIp(ip)} can't be a host's address`;
}

/**
 * Why a peer's subnet can't be routed: it holds an address of the underlay, so that packets to this host or to the
 * peer itself would go to the peer's containers.
 */
export function underlayProblem(
  { addresses }: { readonly addresses: PerFamily<Ip> },
  subnet: Prefix,
  gateway: Ip,
): string | undefined {
  const { family } = subnet;
  const held = [addresses[family.name], gateway].find((ip) => ip !== undefined && containsIp(subnet, ip));
  return held && `its subnet holds the underlay's address ${formatIp(held)}`;
}

/** A peer's plan put together from its families; of several problems the first is named. */
export function planFamilies(families: readonly Family[], plan: (family: Family) => PeerPlan): PeerPlan {
  const [only] = families;
  if (families.length === 1) return plan(only!);
  const plans = families.map(plan);
  const problem = plans.find((one) => one.problem !== undefined)?.problem;
  const entries = plans.flatMap((one) => one.entries);
  const paths = [...new Set(plans.flatMap((one) => one.paths))];
  return problem === undefined ? { entries, paths } : { entries, paths, problem };
}

/** A lease's backend type for messages: `backend type "udp"`, or `no backend type`. */
export function namedType({ attributes }: Lease): string {
  return attributes.backendType === undefined
    ? "no backend type"
    : `backend type ${quote(attributes.backendType)}`;
}

/** Text of another host, fit for a message. */
function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

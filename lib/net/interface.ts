/**
 * Choosing the interface to the other hosts, and its addresses: pure, and with a reason for every interface
 * that was taken or not.
 *
 * @module
 */
import type { Link, LinkAddress, Route } from "../netlink/types.ts";
import { type Family, IPV4, type PerFamily, perFamily } from "./family.ts";
import { formatIp, type Ip, parseIp, sameIp, tryParseIp } from "./ip.ts";
import { containsIp, parsePrefix } from "./prefix.ts";

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
  /** Routes of the main table; those that are no default routes are passed over. */
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
  readonly external: {
    readonly name: string;
    readonly index: number;
    /** MTU in bytes. */
    readonly mtu: number;
    readonly addresses: PerFamily<Ip>;
    readonly publicIps: PerFamily<Ip>;
  };
  /** Every interface of the host, the one taken included. */
  readonly candidates: readonly InterfaceCandidate[];
}

/** No interface fits. The message names what was asked, what exists and how to mend it. */
export class InterfaceError extends Error {
  override readonly name = "InterfaceError";
  constructor(message: string, readonly candidates: readonly InterfaceCandidate[]) {
    super(message);
  }
}

/** IFA_F_ flags (linux/if_addr.h). */
const IFA_F_TEMPORARY = 0x01, IFA_F_DADFAILED = 0x08, IFA_F_DEPRECATED = 0x20;
const IFA_F_TENTATIVE = 0x40, IFA_F_PERMANENT = 0x80;

/** RT_SCOPE_ (linux/rtnetlink.h). */
const RT_SCOPE_LINK = 253, RT_SCOPE_HOST = 254;

/** IFF_UP (linux/if.h). */
const IFF_UP = 1;

const LOOPBACK = [parsePrefix("127.0.0.0/8"), parsePrefix("::1/128")];
const LINK_LOCAL = [parsePrefix("169.254.0.0/16"), parsePrefix("fe80::/10")];

/** Addresses that are nobody's (RFC 5737, RFC 3849): the way to them is the default route. */
const FAR_AWAY: Readonly<Record<Family["name"], Ip>> = {
  ipv4: parseIp("192.0.2.1"),
  ipv6: parseIp("2001:db8::1"),
};

/** A link that a step of the search points at. */
interface Match {
  readonly link: Link;
  /** The address that the step points at; it goes before the link's others of its family. */
  readonly address?: Ip | undefined;
  /** Why this link. */
  readonly reason: string;
}

/** One thing that was asked for, and what answers to it. */
interface Step {
  readonly asked: string;
  readonly matches: readonly Match[];
}

/**
 * Chooses the interface: what the options ask for, in their order; without options the default route's.
 *
 * @throws {InterfaceError} If none fits.
 */
export function chooseInterface(
  request: InterfaceRequest,
  host: HostNetwork,
): InterfaceChoice {
  const steps = stepsOf(request, host);
  const reasons = new Map<number, string>();
  for (const step of steps) {
    for (const match of step.matches) {
      const refusal = refuse(match, request, host);
      if (refusal !== undefined) {
        reasons.set(match.link.index, `${match.reason}, but ${refusal}`);
        continue;
      }
      reasons.set(match.link.index, match.reason);
      for (const { link, reason } of steps.flatMap((one) => one.matches)) {
        if (!reasons.has(link.index)) {
          reasons.set(link.index, `${reason}, but ${match.link.name} comes first`);
        }
      }
      const candidates = listCandidates(request, host, reasons, match.link.index);
      return { external: externalOf(match, request, host), candidates };
    }
  }
  const candidates = listCandidates(request, host, reasons);
  throw new InterfaceError(explain(request, steps, reasons, candidates), candidates);
}

function externalOf(
  match: Match,
  request: InterfaceRequest,
  host: HostNetwork,
): InterfaceChoice["external"] {
  const { name, index, mtu } = match.link;
  const addresses = addressesOf(match, request, host);
  const publicIps = perFamily(request.families, (one) => request.publicIps[one.name] ?? addresses[one.name]);
  return { name, index, mtu, addresses, publicIps };
}

/**
 * The address of a link that others should see: global before link-local, permanent before dynamic, in the
 * kernel's order; never a temporary, deprecated or duplicate one, never loopback.
 *
 * @returns Undefined if it has none that serves.
 */
export function chooseAddress(family: Family, addresses: readonly LinkAddress[]): Ip | undefined {
  const usable = addresses.filter((address) => address.ip.family === family && isUsable(address));
  // sort() keeps the order of equals.
  return usable.sort((a, b) => rank(a) - rank(b))[0]?.ip;
}

/** Whether an address is valid on its link only. */
export function isLinkLocal(ip: Ip): boolean {
  return LINK_LOCAL.some((prefix) => containsIp(prefix, ip));
}

function isUsable({ ip, scope, flags }: LinkAddress): boolean {
  // IPv4's bit 0 means "secondary" (IFA_F_SECONDARY), which is as good as another.
  const temporary = ip.family === IPV4 ? 0 : IFA_F_TEMPORARY;
  if (flags & (temporary | IFA_F_DADFAILED | IFA_F_DEPRECATED)) return false;
  return scope !== RT_SCOPE_HOST && !LOOPBACK.some((prefix) => containsIp(prefix, ip));
}

/** Lower is better. */
function rank({ ip, scope, flags }: LinkAddress): number {
  const linkLocal = scope === RT_SCOPE_LINK || isLinkLocal(ip);
  const dynamic = (flags & IFA_F_PERMANENT) === 0;
  const tentative = (flags & IFA_F_TENTATIVE) !== 0;
  return (linkLocal ? 4 : 0) + (dynamic ? 2 : 0) + (tentative ? 1 : 0);
}

function addressesOn(host: HostNetwork, link: Link): LinkAddress[] {
  return host.addresses.filter((address) => address.linkIndex === link.index);
}

function addressesOf(match: Match, request: InterfaceRequest, host: HostNetwork): PerFamily<Ip> {
  const own = addressesOn(host, match.link);
  return perFamily(request.families, (family) => {
    const named = match.address?.family === family ? match.address : undefined;
    return named ?? chooseAddress(family, own);
  });
}

/** Why a link that was asked for can't serve. */
function refuse(match: Match, request: InterfaceRequest, host: HostNetwork): string | undefined {
  const addresses = addressesOf(match, request, host);
  const missing = request.families.filter((family) => !addresses[family.name]);
  if (missing.length === 0) return undefined;
  return `it has no usable ${missing.map((family) => family.label).join(" and no usable ")} address`;
}

/** Devices of flannel's own: their addresses are the overlay's. */
function isOwnDevice(link: Link): boolean {
  return /^flannel(-v6)?\.\d+$/.test(link.name) || (link.kind === "tun" && /^flannel\d+$/.test(link.name));
}

function stepsOf(request: InterfaceRequest, host: HostNetwork): Step[] {
  const steps: Step[] = [
    ...request.ifaces.map((asked) => ({ asked: `-iface ${asked}`, matches: matchName(asked, host) })),
    ...request.patterns.map((pattern) => ({
      asked: `-iface-regex ${pattern.source}`,
      matches: matchPattern(pattern, host),
    })),
  ];
  if (request.canReach) {
    const asked = `-iface-can-reach ${formatIp(request.canReach)}`;
    const route = host.lookupRoute(request.canReach);
    const link = linkOf(host, route);
    const source = route?.preferredSource;
    const address = link && addressesOn(host, link).find((one) => sameIp(one.ip, source))?.ip;
    steps.push({ asked, matches: link ? [{ link, address, reason: `${asked} goes over it` }] : [] });
  }
  if (steps.length > 0) return steps;
  return [{ asked: "the default route", matches: matchDefault(request, host) }];
}

function linkOf(host: HostNetwork, route: RouteAnswer | undefined): Link | undefined {
  return host.links.find((link) => link.index === route?.linkIndex);
}

function matchName(asked: string, host: HostNetwork): Match[] {
  const ip = tryParseIp(asked);
  const reason = `-iface ${asked} names it`;
  if (!ip) return host.links.filter((link) => link.name === asked).map((link) => ({ link, reason }));
  const owners = host.addresses.filter((address) => sameIp(address.ip, ip));
  return owners.flatMap(({ linkIndex }) => {
    const link = linkOf(host, { linkIndex });
    return link ? [{ link, address: ip, reason }] : [];
  });
}

/** Addresses of all links first, then names. */
function matchPattern(pattern: RegExp, host: HostNetwork): Match[] {
  const links = host.links.filter((link) => !isOwnDevice(link));
  const byAddress = links.flatMap((link) =>
    addressesOn(host, link)
      .filter((address) => isUsable(address) && pattern.test(formatIp(address.ip)))
      .map(({ ip }) => ({
        link,
        address: ip,
        reason: `-iface-regex ${pattern.source} matches its address ${formatIp(ip)}`,
      }))
  );
  const byName = links.filter((link) => pattern.test(link.name))
    .map((link) => ({ link, reason: `-iface-regex ${pattern.source} matches its name` }));
  return [...byAddress, ...byName];
}

/**
 * Links with a default route of every family first, then those with more than link-local addresses, then by
 * metric.
 */
function matchDefault(request: InterfaceRequest, host: HostNetwork): Match[] {
  const labels = new Map<Link, string[]>();
  // Read once: it may be a dump of the kernel's table.
  const { routes } = host;
  for (const family of request.families) {
    const links = new Set(defaultLinks(family, routes, host));
    for (const link of links) labels.set(link, [...labels.get(link) ?? [], family.label]);
  }
  const matches = [...labels].map(([link, families]) => ({
    link,
    score: 2 * families.length + (hasGlobals(request.families, addressesOn(host, link)) ? 1 : 0),
    reason: `the ${families.join(" and the ")} default route goes over it`,
  }));
  return matches.sort((a, b) => b.score - a.score);
}

function hasGlobals(families: readonly Family[], addresses: readonly LinkAddress[]): boolean {
  return families.every((family) => {
    const ip = chooseAddress(family, addresses);
    return ip !== undefined && !isLinkLocal(ip);
  });
}

/** The links of a family's default routes, best metric first. */
function defaultLinks(family: Family, routes: readonly Route[], host: HostNetwork): Link[] {
  const defaults = routes
    .filter((route) => route.family === family && route.destination.length === 0 && route.type === 1)
    .sort((a, b) => a.metric - b.metric);
  const links: Link[] = [];
  for (const route of defaults) {
    // A route with several next hops names no link: ask which one is taken.
    const answer = route.linkIndex === undefined ? host.lookupRoute(FAR_AWAY[family.name]) : route;
    const link = linkOf(host, answer);
    if (link) links.push(link);
  }
  return links;
}

function listCandidates(
  request: InterfaceRequest,
  host: HostNetwork,
  reasons: ReadonlyMap<number, string>,
  taken?: number,
): InterfaceCandidate[] {
  const asked = request.ifaces.length + request.patterns.length > 0 || request.canReach !== undefined;
  return host.links.map((link) => {
    const addresses = addressesOn(host, link).map((address) => formatIp(address.ip));
    const unmatched = isOwnDevice(link)
      ? "is flannel's own device"
      : asked
      ? "no option points at it"
      : "no default route goes over it";
    const down = link.flags & IFF_UP ? "" : " (it is down)";
    const reason = (reasons.get(link.index) ?? unmatched) + down;
    return { name: link.name, index: link.index, addresses, taken: link.index === taken, reason };
  });
}

function explain(
  request: InterfaceRequest,
  steps: readonly Step[],
  reasons: ReadonlyMap<number, string>,
  candidates: readonly InterfaceCandidate[],
): string {
  const needed = request.families.map((family) => family.label).join(" and ");
  const causes = steps.map(({ asked, matches }) => {
    if (matches.length === 0) {
      return `${asked}: ${asked === "the default route" ? "there is none" : "nothing matches"}`;
    }
    const each = matches.map(({ link }) => `${link.name}: ${reasons.get(link.index)}`);
    return [...new Set(each)].join("; ");
  });
  const have = candidates.map(({ name, addresses }) => `${name} (${addresses.join(", ") || "no address"})`);
  return `No interface with an address for ${needed} found: ${causes.join("; ")}. ` +
    `Interfaces here: ${have.join(", ") || "none"}. ` +
    "Name the one that reaches the other hosts with -iface NAME, or give it the address that it lacks";
}

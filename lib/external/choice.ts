/**
 * Choosing the interface to the other hosts, and its addresses: pure, and with a reason for every interface
 * that was taken or not.
 *
 * @module
 */
import { IFF_LOOPBACK, RTN_UNICAST } from "../netlink/constants.ts";
import type { Link, LinkAddress, Route } from "../netlink/types.ts";
import { FAMILIES, type Family, IPV6, type PerFamily, perFamily } from "../net/family.ts";
import { formatIp, type Ip, ipOf, parseIp, sameIp, tryParseIp } from "../net/ip.ts";
import { chooseAddress, isLinkLocal, isUsable } from "./addresses.ts";
import { explain, isOwnDevice, listCandidates } from "./explain.ts";
import {
  type ExternalInterface,
  type HostNetwork,
  type InterfaceChoice,
  InterfaceError,
  type InterfaceRequest,
  type Match,
  type RouteAnswer,
  type Step,
} from "./types.ts";

/**
 * Addresses that are nobody's (192.0.2.1, RFC 5737, and 2001:db8::1, RFC 3849): the way to them is the default route. A
 * number, for to parse an IPv6 text loads a package, at every start.
 */
const FAR_AWAY: Readonly<Record<Family["name"], Ip>> = {
  ipv4: parseIp("192.0.2.1"),
  ipv6: ipOf(IPV6, 0x20010db8n << 96n | 1n),
};

/**
 * Chooses the interface: what the options ask for, in their order; without options the one that has the public address,
 * else the default route's.
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
): ExternalInterface {
  const { name, index, mtu } = match.link;
  const addresses = addressesOf(match, request, host);
  const publicIps = perFamily(request.families, (one) => request.publicIps[one.name] ?? addresses[one.name]);
  return { name, index, mtu, addresses, publicIps };
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
  return [
    ...FAMILIES.flatMap(({ name }) => request.publicIps[name] ?? []).map((ip) => matchPublicIp(ip, host)),
    { asked: "the default route", matches: matchDefault(request, host) },
  ];
}

/**
 * A public address of this host's own is that of the interface to take; one that isn't stands outside, at a NAT. One on
 * a loopback interface is announced by routing: packets go over another one.
 */
function matchPublicIp(ip: Ip, host: HostNetwork): Step {
  const asked = `the public address ${formatIp(ip)}`;
  const owners = host.links.filter((link) =>
    !isOwnDevice(link) && (link.flags & IFF_LOOPBACK) === 0 &&
    addressesOn(host, link).some((address) => sameIp(address.ip, ip))
  );
  return { asked, matches: owners.map((link) => ({ link, address: ip, reason: `${asked} is on it` })) };
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
    .filter((route) =>
      route.family === family && route.destination.length === 0 && route.type === RTN_UNICAST
    )
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

/**
 * Routes in the place of one of ours, and whether ours may replace them.
 *
 * A route that isn't ours is never replaced, with one exception: the original flannel's to exactly the same peer's
 * subnet. A lease may name any prefix, the underlay's own among them; the kernel's route to that one is the way to
 * etcd, to the peers and to the administrator.
 *
 * @module
 */
import * as c from "../netlink/constants.ts";
import { listRoutes } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Route } from "../netlink/types.ts";
import { FAMILIES } from "../net/family.ts";
import { formatIp, ipKey } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import { DEFAULT_METRIC, ROUTE_PROTOCOL } from "./actual_entries.ts";
import type { BlackholeEntry, RouteEntry } from "./entries.ts";

/** An entry that is a route to the kernel. */
export type AnyRouteEntry = RouteEntry | BlackholeEntry;

/**
 * The routes of the main table to the same destinations with the same metric, by destination.
 *
 * The kernel can't be asked for one prefix, so this reads the whole table: only for what was refused.
 */
export function findOccupants(
  socket: NetlinkSocket,
  entries: readonly AnyRouteEntry[],
): ReadonlyMap<string, readonly Route[]> {
  const found = new Map<string, Route[]>();
  for (const entry of entries) found.set(formatPrefix(entry.destination), []);
  for (const family of FAMILIES) {
    if (!entries.some(({ destination }) => destination.family === family)) continue;
    const bases = new Set(entries.map(({ destination: { family, base } }) => ipKey(family, base)));
    const routes = listRoutes(socket, {
      family,
      // The base first: its key costs less than a text.
      where: ({ destination }) =>
        bases.has(ipKey(family, destination.base)) && found.has(formatPrefix(destination)),
    });
    for (const route of routes) found.get(formatPrefix(route.destination))!.push(route);
  }
  return found;
}

/** Whether two routes to one destination can't be there at the same time: they have the same metric. */
export function isInPlaceOf(route: Route, entry: AnyRouteEntry, blackholeMetric: number): boolean {
  const metric = entry.kind === "blackhole" ? blackholeMetric : DEFAULT_METRIC[entry.destination.family.name];
  return route.metric === metric;
}

/**
 * Whether our route may take this one's place: it is ours by its protocol or by its device, or one as the original
 * makes them for a peer.
 *
 * @param ownLinks Indexes of our devices.
 */
export function mayReplace(route: Route, entry: AnyRouteEntry, ownLinks: ReadonlySet<number>): boolean {
  if (route.protocol === c.RTPROT_KERNEL) return false;
  if (route.protocol === ROUTE_PROTOCOL) return true;
  if (route.linkIndex !== undefined && ownLinks.has(route.linkIndex)) return true;
  return entry.kind === "route" && entry.gateway !== undefined && isLikeOriginals(route);
}

/** The original gives its routes a gateway, and leaves protocol and metric as its netlink library has them. */
function isLikeOriginals(route: Route): boolean {
  return route.protocol === c.RTPROT_BOOT && route.type === c.RTN_UNICAST && route.gateway !== undefined &&
    !route.multipath && route.nexthopId === undefined &&
    route.metric === DEFAULT_METRIC[route.destination.family.name];
}

const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map([
  [c.RTPROT_KERNEL, "kernel"],
  [c.RTPROT_BOOT, "boot"],
  [c.RTPROT_STATIC, "static"],
  [c.RTPROT_RA, "ra"],
  [c.RTPROT_ZEBRA, "zebra"],
  [c.RTPROT_BIRD, "bird"],
  [c.RTPROT_DHCP, "dhcp"],
  [c.RTPROT_KEEPALIVED, "keepalived"],
  [c.RTPROT_BGP, "bgp"],
  [c.RTPROT_ISIS, "isis"],
  [c.RTPROT_OSPF, "ospf"],
  [c.RTPROT_RIP, "rip"],
]);

/**
 * Why our route isn't written: whose stands there, in the words of `ip route`.
 *
 * @param linkName Name of the link with an index.
 */
export function describeOccupant(route: Route, linkName: (index: number) => string | undefined): string {
  const via = route.gateway ? ` via ${formatIp(route.gateway)}` : "";
  const link = route.linkIndex === undefined ? undefined : linkName(route.linkIndex);
  const protocol = PROTOCOL_NAMES.get(route.protocol) ?? String(route.protocol);
  return `the host has a route of its own there: ${formatPrefix(route.destination)}${via}${
    link ? ` dev ${link}` : ""
  } proto ${protocol}`;
}

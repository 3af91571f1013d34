/**
 * What the kernel has of ours, read in one go.
 *
 * Ours is everything on a device of our own, and every route inside our network that carries our protocol
 * number. What somebody else made isn't read here: {@link ./occupants.ts} looks at it where it is in the way.
 *
 * @module
 */
import { NUD_NOARP, NUD_PERMANENT, RTN_BLACKHOLE, RTN_UNICAST, RTPROT_KERNEL } from "../netlink/constants.ts";
import { listFdb, listNeighbours } from "../netlink/neighbour.ts";
import { listNexthops } from "../netlink/nexthop.ts";
import { listRoutes } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Route } from "../netlink/types.ts";
import { FAMILIES, type Family, type FamilyName } from "../net/family.ts";
import { containsPrefix, type Prefix } from "../net/prefix.ts";
import type { DesiredLink } from "./desired_link.ts";
import type { Entry } from "./entries.ts";
import type { ActualEntry } from "./diff.ts";

/**
 * Protocol number of our routes and next hops: what distinguishes them from everybody else's
 * (rtm_protocol and nh_protocol; linux/rtnetlink.h leaves 5 to 255 to user space, /etc/iproute2/rt_protos
 * lists the ones in use).
 */
export const ROUTE_PROTOCOL = 70;

/** Metric of a route that was made without one (IP6_RT_PRIO_USER of net/ip6_route.h). */
export const DEFAULT_METRIC: Readonly<Record<FamilyName, number>> = { ipv4: 0, ipv6: 1024 };

/** A device of ours as the kernel knows it now. */
export interface OwnLink {
  readonly name: string;
  readonly index: number;
  readonly kind: DesiredLink["kind"];
}

/** Whose entries are read. */
export interface Ownership {
  /** Our networks: routes with our protocol number outside of them belong to another daemon on this host. */
  readonly networks: readonly Prefix[];
  readonly links: readonly OwnLink[];
  /** Name of the link with this index, for routes that leave by other links; undefined when it is gone. */
  linkName(index: number): string | undefined;
}

/** Reads all entries that are ours. @throws {NetlinkError} If a dump fails. */
export function* readActualEntries(socket: NetlinkSocket, ownership: Ownership): Iterable<ActualEntry> {
  for (const link of ownership.links) yield* readLink(socket, link);
  for (const family of FAMILIES) {
    if (!ownership.networks.some((network) => network.family === family)) continue;
    for (const route of listRoutes(socket, { family, protocol: ROUTE_PROTOCOL })) {
      if (ownership.links.some((link) => link.index === route.linkIndex)) continue; // read with its link
      if (!ownership.networks.some((network) => containsPrefix(network, route.destination))) continue;
      const name = route.linkIndex === undefined ? undefined : ownership.linkName(route.linkIndex);
      const entry = routeEntry(route, name);
      if (entry) yield ownRoute(route, entry);
    }
  }
}

function* readLink(
  socket: NetlinkSocket,
  { name: link, index: linkIndex, kind }: OwnLink,
): Iterable<ActualEntry> {
  for (const family of FAMILIES) {
    if (kind === "vxlan") {
      for (const { ip, mac, state } of listNeighbours(socket, { family, linkIndex })) {
        // The kernel's own entries (unresolved, learned, multicast) come and go by themselves.
        if (mac && state & NUD_PERMANENT) yield { entry: { kind: "neighbour", link, ip, mac } };
      }
    }
    for (const route of routesThrough(socket, { family, linkIndex })) {
      const entry = route.protocol === RTPROT_KERNEL ? undefined : routeEntry(route, link);
      if (entry) yield ownRoute(route, entry);
    }
  }
  if (kind !== "vxlan") return;
  for (const { mac, remote, state } of listFdb(socket, linkIndex)) {
    // What the device learned by itself (Learning) is not permanent.
    if (remote && state & (NUD_PERMANENT | NUD_NOARP)) {
      yield { entry: { kind: "fdb", link, mac, remote } };
    }
  }
}

/**
 * The routes of a link. Where the kernel names just their next-hop objects (net.ipv4.nexthop_compat_mode 0),
 * with what those say.
 */
function routesThrough(socket: NetlinkSocket, filter: { family: Family; linkIndex: number }): Route[] {
  const routes = listRoutes(socket, filter);
  const isBare = (route: Route) => route.nexthopId !== undefined && route.linkIndex === undefined;
  if (!routes.some(isBare)) return routes;
  const nexthops = new Map(listNexthops(socket, filter).map((nexthop) => [nexthop.id, nexthop]));
  return routes.map((route) => {
    const nexthop = isBare(route) ? nexthops.get(route.nexthopId!) : undefined;
    if (!nexthop) return route;
    return { ...route, onlink: nexthop.onlink, ...(nexthop.gateway && { gateway: nexthop.gateway }) };
  });
}

function ownRoute(route: Route, entry: Entry): ActualEntry {
  return {
    entry,
    protocol: route.protocol,
    metric: route.metric,
    ...(route.nexthopId === undefined ? {} : { nexthopId: route.nexthopId }),
  };
}

/** A route as an entry; undefined for kinds of routes that we never make. */
export function routeEntry(route: Route, link: string | undefined): Entry | undefined {
  if (route.type === RTN_BLACKHOLE) return { kind: "blackhole", destination: route.destination };
  if (route.type !== RTN_UNICAST || route.multipath || link === undefined) return undefined;
  const { destination, onlink, gateway, metric } = route;
  return {
    kind: "route",
    link,
    destination,
    onlink,
    ...(gateway && { gateway }),
    ...(metric === DEFAULT_METRIC[destination.family.name] ? {} : { metric }),
  };
}

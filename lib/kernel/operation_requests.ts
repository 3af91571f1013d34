/**
 * Operations as netlink requests.
 *
 * @module
 */
import { RTN_BLACKHOLE, RTN_UNICAST, RTPROT_UNSPEC } from "../netlink/constants.ts";
import { fdbRequest, neighbourRequest } from "../netlink/neighbour.ts";
import { nexthopRequest } from "../netlink/nexthop.ts";
import { routeRequest } from "../netlink/route.ts";
import type { NetlinkRequest } from "../netlink/socket.ts";
import { IPV6 } from "../net/family.ts";
import { type ActualEntry } from "./plan.ts";
import { DEFAULT_METRIC, ROUTE_PROTOCOL } from "./actual_entries.ts";
import type { Entry, RouteEntry } from "./entries.ts";
import type { Nexthops } from "./nexthops.ts";

/**
 * Metric of the blackhole route: the kernel prefers every other route to the subnet, above all the container
 * bridge's own.
 */
export const BLACKHOLE_METRIC = 4_294_967_294;

/** What requests are made of: index of a link by name, and next-hop objects where they are used. */
export interface RequestContext {
  linkIndex(name: string): number | undefined;
  /** Whether a new route is to go through a next-hop object. */
  useNexthop(route: RouteEntry): boolean;
  readonly nexthops: Nexthops;
}

/** An entry can't be made now because its link isn't there; it is made when the link is. */
export class LinkMissing {
  constructor(readonly link: string) {}
}

/** The requests that put `entry` in place, whatever of its key is there. */
export function setRequests(entry: Entry, context: RequestContext): NetlinkRequest[] | LinkMissing {
  if (entry.kind === "blackhole") {
    return [routeRequest("replace", {
      destination: entry.destination,
      type: RTN_BLACKHOLE,
      protocol: ROUTE_PROTOCOL,
      metric: BLACKHOLE_METRIC,
      onlink: false,
    })];
  }
  const linkIndex = context.linkIndex(entry.link);
  if (linkIndex === undefined) return new LinkMissing(entry.link);
  if (entry.kind === "neighbour") {
    return [neighbourRequest("replace", { linkIndex, ip: entry.ip, mac: entry.mac })];
  }
  if (entry.kind === "fdb") {
    return [fdbRequest("replace", { linkIndex, mac: entry.mac, remote: entry.remote })];
  }
  return routeRequests(entry, linkIndex, context);
}

function routeRequests(entry: RouteEntry, linkIndex: number, context: RequestContext): NetlinkRequest[] {
  const { destination, gateway, onlink } = entry;
  const route = { destination, type: RTN_UNICAST, protocol: ROUTE_PROTOCOL };
  if (!gateway) return [routeRequest("replace", { ...route, linkIndex, onlink })];
  if (!context.useNexthop(entry)) return [routeRequest("replace", { ...route, linkIndex, gateway, onlink })];
  const { id, isNew } = context.nexthops.take(entry);
  const viaObject = routeRequest("replace", { ...route, nexthopId: id, onlink: false });
  if (!isNew) return [viaObject];
  return [
    nexthopRequest("create", {
      id,
      family: gateway.family,
      gateway,
      linkIndex,
      onlink,
      protocol: ROUTE_PROTOCOL,
    }),
    viaObject,
  ];
}

/**
 * Whether a route may have been refused because another route to its destination is there: IPv6 takes an onlink
 * gateway only where no route leads to it by another link (ip6_route_check_nh_onlink), and the gateway lies in
 * the very subnet that is to be routed.
 */
export function mayBeInTheWay(entry: Entry, errorCode: string): entry is RouteEntry {
  return errorCode === "EINVAL" && entry.kind === "route" && entry.onlink &&
    entry.destination.family === IPV6;
}

/** The request that removes the route in whose place `entry` is to be, by whatever link, gateway and maker. */
export function clearRequest({ destination }: RouteEntry): NetlinkRequest {
  const metric = DEFAULT_METRIC[destination.family.name];
  return routeRequest("delete", { destination, protocol: RTPROT_UNSPEC, metric });
}

/** The requests that take exactly this entry away. Nothing where its link is gone: it went with it. */
export function removeRequests(actual: ActualEntry, context: RequestContext): NetlinkRequest[] {
  const { entry } = actual;
  if (entry.kind === "blackhole") {
    return [routeRequest("delete", {
      destination: entry.destination,
      type: RTN_BLACKHOLE,
      protocol: ROUTE_PROTOCOL,
      metric: actual.metric ?? BLACKHOLE_METRIC,
      onlink: false,
    })];
  }
  const linkIndex = context.linkIndex(entry.link);
  if (linkIndex === undefined) return [];
  if (entry.kind === "neighbour") return [neighbourRequest("delete", { linkIndex, ip: entry.ip })];
  if (entry.kind === "fdb") {
    return [fdbRequest("delete", { linkIndex, mac: entry.mac, remote: entry.remote })];
  }
  const id = context.nexthops.release(entry);
  const nexthopId = actual.nexthopId ?? id;
  // A route by a next-hop object is found by the object's id alone (fib_nh_match, net/ipv4/fib_semantics.c).
  const hop = nexthopId !== undefined
    ? { nexthopId }
    : { linkIndex, ...(entry.gateway ? { gateway: entry.gateway } : {}) };
  const route = routeRequest("delete", {
    destination: entry.destination,
    type: RTN_UNICAST,
    protocol: actual.protocol ?? ROUTE_PROTOCOL,
    metric: actual.metric ?? DEFAULT_METRIC[entry.destination.family.name],
    ...hop,
    onlink: false,
  });
  return id === undefined ? [route] : [route, nexthopRequest("delete", { id })];
}

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
import type { Route } from "../netlink/types.ts";
import { IPV6 } from "../net/family.ts";
import { DEFAULT_METRIC, ROUTE_PROTOCOL } from "./actual_entries.ts";
import type { RemoveOperation } from "./diff.ts";
import type { Entry, RouteEntry } from "./entries.ts";

/**
 * Metric of the blackhole route: the kernel prefers every other route to the subnet, above all the container
 * bridge's own.
 */
export const BLACKHOLE_METRIC = 4_294_967_294;

/** Where an entry is written. */
export interface Place {
  /** Index of its link; undefined for what has none. */
  readonly linkIndex: number | undefined;
  /** The next-hop object that its route uses, in place of link and gateway. */
  readonly nexthopId?: number | undefined;
  /**
   * For routes: whether one that is there is replaced. Without it the kernel refuses (EEXIST) where any route
   * to the destination has the same metric.
   */
  readonly replaces: boolean;
}

/** The request that puts an entry in its place. Neighbours and fdb entries stand on our devices: any is replaced. */
export function setRequest(entry: Entry, { linkIndex, nexthopId, replaces }: Place): NetlinkRequest {
  const verb = replaces ? "replace" : "add";
  if (entry.kind === "blackhole") {
    return routeRequest(verb, {
      destination: entry.destination,
      type: RTN_BLACKHOLE,
      protocol: ROUTE_PROTOCOL,
      metric: BLACKHOLE_METRIC,
    });
  }
  if (linkIndex === undefined) throw new RangeError(`A ${entry.kind} needs a link`);
  if (entry.kind === "neighbour") {
    return neighbourRequest("replace", { linkIndex, ip: entry.ip, mac: entry.mac });
  }
  if (entry.kind === "fdb") {
    return fdbRequest("replace", { linkIndex, mac: entry.mac, remote: entry.remote });
  }
  const { destination, gateway, onlink } = entry;
  const route = { destination, type: RTN_UNICAST, protocol: ROUTE_PROTOCOL };
  if (nexthopId !== undefined) return routeRequest(verb, { ...route, nexthopId });
  return routeRequest(verb, { ...route, linkIndex, onlink, ...(gateway && { gateway }) });
}

/** The request to make the next-hop object of a route; EEXIST where the id is taken. */
export function nexthopOf(entry: RouteEntry, id: number, linkIndex: number): NetlinkRequest {
  const { destination: { family }, gateway, onlink } = entry;
  return nexthopRequest("create", {
    id,
    family,
    linkIndex,
    onlink,
    protocol: ROUTE_PROTOCOL,
    ...(gateway && { gateway }),
  });
}

/**
 * Whether a route may have been refused because another one to its destination is there. IPv6 takes an onlink
 * gateway only where no route leads to it by another link (ip6_route_check_nh_onlink), and the gateway lies in
 * the very subnet to be routed.
 */
export function mayBeInTheWay(entry: Entry, errorCode: string): boolean {
  if (errorCode === "EEXIST") return entry.kind === "route" || entry.kind === "blackhole";
  return errorCode === "EINVAL" && entry.kind === "route" && entry.onlink &&
    entry.destination.family === IPV6;
}

/** The request that removes a route, whoever made it. */
export function removeRouteRequest(route: Route): NetlinkRequest {
  const { destination, type, metric, protocol } = route;
  return routeRequest("delete", { destination, type, metric, protocol, ...hopOf(route) });
}

/**
 * The request that takes exactly this entry away.
 *
 * @param linkIndex Index of its link; the entries of a link that is gone went with it.
 * @param isOwnLink Whether that is a device of ours, on which every route is ours.
 */
export function removeRequest(
  { actual }: RemoveOperation,
  linkIndex: number | undefined,
  isOwnLink: boolean,
): NetlinkRequest | undefined {
  const { entry } = actual;
  if (entry.kind === "blackhole") {
    return routeRequest("delete", {
      destination: entry.destination,
      type: RTN_BLACKHOLE,
      protocol: ROUTE_PROTOCOL,
      metric: actual.metric ?? BLACKHOLE_METRIC,
    });
  }
  if (linkIndex === undefined) return undefined;
  if (entry.kind === "neighbour") return neighbourRequest("delete", { linkIndex, ip: entry.ip });
  if (entry.kind === "fdb") return fdbRequest("delete", { linkIndex, mac: entry.mac, remote: entry.remote });
  const { destination, gateway } = entry;
  return routeRequest("delete", {
    destination,
    type: RTN_UNICAST,
    // The original's routes on a device that was taken over have another one.
    protocol: actual.protocol ?? (isOwnLink ? RTPROT_UNSPEC : ROUTE_PROTOCOL),
    metric: actual.metric ?? DEFAULT_METRIC[destination.family.name],
    ...hopOf({ nexthopId: actual.nexthopId, linkIndex, gateway }),
  });
}

/** A route by a next-hop object is found by the object's id alone (fib_nh_match, net/ipv4/fib_semantics.c). */
function hopOf(
  { nexthopId, linkIndex, gateway }: {
    readonly nexthopId?: number | undefined;
    readonly linkIndex?: number | undefined;
    readonly gateway?: RouteEntry["gateway"] | undefined;
  },
) {
  if (nexthopId !== undefined) return { nexthopId };
  return { ...(linkIndex === undefined ? {} : { linkIndex }), ...(gateway ? { gateway } : {}) };
}

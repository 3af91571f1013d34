/**
 * Routes. Structures from linux/rtnetlink.h.
 *
 * @module
 */
import { EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV, ENOENT } from "../ffi/errno.ts";
import { type Family, familyOfAf } from "../net/family.ts";
import { formatIp, type Ip, ipFromBytes } from "../net/ip.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { type AttributeReader, attributesAfter, type Message, prefixLength } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { Route } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; } */
const RTMSG_BYTES = 12;

/** Which routes are asked for; all that are left out match any. */
export interface RouteFilter {
  readonly family: Family;
  /** @default RT_TABLE_MAIN */
  readonly table?: number;
  /** Routes through this link, those of next-hop objects included. */
  readonly linkIndex?: number;
  /** RTPROT_: who made it. */
  readonly protocol?: number;
  /** Picks among what the kernel shows, so that a long table needn't be held as a whole. */
  readonly where?: (route: Route) => boolean;
}

/** The routes that match; none if there is no such table or link. @throws {NetlinkError} */
export function listRoutes(socket: NetlinkSocket, filter: RouteFilter): Route[] {
  const { family, table = c.RT_TABLE_MAIN, linkIndex, protocol, where } = filter;
  const request: NetlinkRequest = {
    describe: () => `list the ${family.label} routes of table ${table}`,
    type: c.RTM_GETROUTE,
    flags: 0,
    encode(writer) {
      writeHeader(writer, { af: family.af, table, protocol: protocol ?? 0 });
      if (table > 255) writer.attributeU32(c.RTA_TABLE, table);
      if (linkIndex !== undefined) writer.attributeU32(c.RTA_OIF, linkIndex);
    },
  };
  try {
    return socket.dump(request, (message) => {
      // Kernels before 4.20 don't filter, and mix in the routing cache of IPv6.
      const route = decodeRoute(message);
      if (route?.family !== family || route.table !== table || isCached(message)) return undefined;
      // Multipath routes name no single link, nor (by nexthop_compat_mode) do those of next-hop objects.
      if (linkIndex !== undefined && (route.linkIndex ?? linkIndex) !== linkIndex) return undefined;
      if (protocol !== undefined && route.protocol !== protocol) return undefined;
      return where === undefined || where(route) ? route : undefined;
    });
  } catch (error) {
    if (error instanceof NetlinkError && (error.errno === ENOENT || error.errno === ENODEV)) return [];
    throw error;
  }
}

/** A route to be made or removed. */
export interface RouteSpec {
  readonly destination: Prefix;
  readonly linkIndex?: number;
  readonly gateway?: Ip;
  /** The gateway is reached over the link though no address of the link covers it. */
  readonly onlink?: boolean;
  /** RTPROT_: who makes it; a delete matches it, 0 any. */
  readonly protocol: number;
  /** RTN_. @default RTN_UNICAST */
  readonly type?: number;
  /** @default The kernel's: 0 for IPv4, 1024 for IPv6. */
  readonly metric?: number;
  readonly preferredSource?: Ip;
  /** Next-hop object, in place of linkIndex, gateway and onlink, which are left out then. */
  readonly nexthopId?: number;
  /** @default RT_TABLE_MAIN */
  readonly table?: number;
}

/**
 * The request to make a route (`add`: EEXIST if there is one to the same destination and metric; `replace`: in
 * its place), or to remove the one that `route` describes (ESRCH if it isn't there).
 */
export function routeRequest(operation: "add" | "replace" | "delete", route: RouteSpec): NetlinkRequest {
  return {
    describe: () => `${operation} the route ${describeRoute(route)}`,
    type: operation === "delete" ? c.RTM_DELROUTE : c.RTM_NEWROUTE,
    flags: FLAGS[operation],
    encode(writer) {
      const { destination, nexthopId, table = c.RT_TABLE_MAIN } = route;
      writeHeader(writer, {
        af: destination.family.af,
        length: destination.length,
        table,
        protocol: route.protocol,
        scope: operation === "delete" ? c.RT_SCOPE_NOWHERE : scopeOf(route),
        type: route.type ?? c.RTN_UNICAST,
        flags: route.onlink && nexthopId === undefined ? c.RTNH_F_ONLINK : 0,
      });
      writer.attributeIpValue(c.RTA_DST, destination.family, destination.base);
      if (table > 255) writer.attributeU32(c.RTA_TABLE, table);
      if (route.metric !== undefined) writer.attributeU32(c.RTA_PRIORITY, route.metric);
      if (route.preferredSource) writer.attributeIp(c.RTA_PREFSRC, route.preferredSource);
      if (nexthopId !== undefined) return writer.attributeU32(c.RTA_NH_ID, nexthopId);
      if (route.gateway) writer.attributeIp(c.RTA_GATEWAY, route.gateway);
      if (route.linkIndex !== undefined) writer.attributeU32(c.RTA_OIF, route.linkIndex);
    },
  };
}

const FLAGS = {
  add: c.NLM_F_CREATE | c.NLM_F_EXCL,
  replace: c.NLM_F_CREATE | c.NLM_F_REPLACE,
  delete: 0,
} as const;

function describeRoute(route: RouteSpec): string {
  let text = formatPrefix(route.destination);
  if (route.nexthopId !== undefined) return `${text} by next hop ${route.nexthopId}`;
  if (route.gateway) text += ` via ${formatIp(route.gateway)}`;
  if (route.linkIndex !== undefined) text += ` on link ${route.linkIndex}`;
  return text;
}

/** IPv4 wants link scope for destinations on the link itself; IPv6 ignores scopes. */
function scopeOf(route: RouteSpec): number {
  const direct = route.type === undefined || route.type === c.RTN_UNICAST;
  const hasNexthop = route.gateway !== undefined || route.nexthopId !== undefined;
  return direct && !hasNexthop ? c.RT_SCOPE_LINK : c.RT_SCOPE_UNIVERSE;
}

/** Which way packets to an address go now. */
export interface RouteLookup {
  /** RTN_: 1 unicast, 2 local (an address of this host), 3 broadcast, … */
  readonly type: number;
  readonly linkIndex?: number;
  /** Absent where the address is reached without one. */
  readonly gateway?: Ip;
  /** The source address that the kernel would choose. */
  readonly source?: Ip;
  /** MTU of the route, or what path MTU discovery has learned; absent: the link's. */
  readonly mtu?: number;
}

/**
 * Asks the kernel for the route to `ip`, through the link `linkIndex` if given.
 *
 * @returns Undefined if there is none, or if it drops the packets.
 * @throws {NetlinkError}
 */
export function lookupRoute(
  socket: NetlinkSocket,
  ip: Ip,
  options: { readonly linkIndex?: number } = {},
): RouteLookup | undefined {
  const request: NetlinkRequest = {
    describe: () => `look up the route to ${formatIp(ip)}`,
    type: c.RTM_GETROUTE,
    flags: 0,
    encode(writer) {
      writeHeader(writer, { af: ip.family.af, length: ip.family.bits });
      writer.attributeIp(c.RTA_DST, ip);
      if (options.linkIndex !== undefined) writer.attributeU32(c.RTA_OIF, options.linkIndex);
    },
  };
  try {
    const route = socket.query(request, decodeRoute);
    if (!route || DROPPING.has(route.type)) return undefined;
    const { type, linkIndex, gateway, preferredSource: source, mtu } = route;
    return {
      type,
      ...(linkIndex !== undefined && { linkIndex }),
      ...(gateway && { gateway }),
      ...(source && { source }),
      ...(mtu !== undefined && { mtu }),
    };
  } catch (error) {
    if (error instanceof NetlinkError && UNREACHABLE.has(error.errno)) return undefined;
    throw error;
  }
}

const DROPPING: ReadonlySet<number> = new Set([c.RTN_BLACKHOLE, c.RTN_UNREACHABLE, c.RTN_PROHIBIT]);
/** What a look-up gives for no route, unreachable, prohibit and (EINVAL) blackhole routes, and for no link. */
const UNREACHABLE: ReadonlySet<number> = new Set([ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, ENODEV]);

interface RouteHeader {
  readonly af: number;
  readonly length?: number;
  readonly table?: number;
  readonly protocol?: number;
  readonly scope?: number;
  readonly type?: number;
  readonly flags?: number;
}

function writeHeader(writer: MessageWriter, header: RouteHeader): void {
  const table = header.table ?? 0;
  writer.u8(header.af);
  writer.u8(header.length ?? 0);
  writer.u16(0);
  // Tables above 255 stand in RTA_TABLE.
  writer.u8(table > 255 ? c.RT_TABLE_UNSPEC : table);
  writer.u8(header.protocol ?? 0);
  writer.u8(header.scope ?? 0);
  writer.u8(header.type ?? 0);
  writer.u32(header.flags ?? 0);
}

function isCached(message: Message): boolean {
  return (message.view.getUint32(message.start + 8, true) & c.RTM_F_CLONED) !== 0;
}

/** Reads an RTM_NEWROUTE or RTM_DELROUTE message; undefined for families other than ours. @throws {MalformedMessageError} */
export function decodeRoute(message: Message): Route | undefined {
  const attributes = attributesAfter(message, RTMSG_BYTES);
  const { view, start } = message;
  const family = familyOfAf(view.getUint8(start));
  if (!family) return undefined;
  const type = view.getUint8(start + 7);
  let base = 0n;
  const route: { -readonly [key in keyof Route]: Route[key] } = {
    family,
    destination: { family, base, length: prefixLength(view.getUint8(start + 1), family) },
    type,
    protocol: view.getUint8(start + 5),
    scope: view.getUint8(start + 6),
    table: view.getUint8(start + 4),
    metric: 0,
    onlink: (view.getUint32(start + 8, true) & c.RTNH_F_ONLINK) !== 0,
    multipath: false,
  };
  while (attributes.next()) {
    if (attributes.type === c.RTA_DST) base = attributes.ipOf(family).value;
    else decodeAttribute(attributes, route);
  }
  route.destination = { family, base, length: route.destination.length };
  // IPv6 shows lo as the link of routes that lead nowhere.
  if (DROPPING.has(type)) delete route.linkIndex;
  return route;
}

function decodeAttribute(attributes: AttributeReader, route: { -readonly [key in keyof Route]: Route[key] }) {
  switch (attributes.type) {
    case c.RTA_OIF:
      route.linkIndex = attributes.u32();
      break;
    case c.RTA_GATEWAY:
      route.gateway = attributes.ip();
      break;
    case c.RTA_VIA:
      // struct rtvia { u16 family; address }: an IPv4 route by way of an IPv6 router
      if (attributes.length === 6 || attributes.length === 18) {
        route.gateway = ipFromBytes(attributes.bytes().subarray(2));
      }
      break;
    case c.RTA_PRIORITY:
      route.metric = attributes.u32();
      break;
    case c.RTA_PREFSRC:
      route.preferredSource = attributes.ip();
      break;
    case c.RTA_TABLE:
      route.table = attributes.u32();
      break;
    case c.RTA_NH_ID:
      route.nexthopId = attributes.u32();
      break;
    case c.RTA_METRICS: {
      const metrics = attributes.nested();
      while (metrics.next()) if (metrics.type === c.RTAX_MTU) route.mtu = metrics.u32();
      break;
    }
    case c.RTA_MULTIPATH:
      route.multipath = true;
  }
}

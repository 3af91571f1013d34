/**
 * Notifications: what changes in the kernel's tables, by whomever.
 *
 * They are hints, not a log: under pressure the kernel drops some (then `overrun` comes), and not every change
 * is announced (IPv4 routes that go with their link or next hop aren't).
 *
 * @module
 */
import { decodeAddress } from "./address.ts";
import { attachFilter, type FilterRules } from "./bpf.ts";
import * as c from "./constants.ts";
import { decodeLink } from "./link.ts";
import { NetlinkListener } from "./listener.ts";
import { decodeFdb, decodeNeighbour, neighbourFamily } from "./neighbour.ts";
import { decodeNexthop } from "./nexthop.ts";
import type { Message } from "./reader.ts";
import { decodeRoute } from "./route.ts";
import type { FdbNeighbour, Link, LinkAddress, Neighbour, Nexthop, Route } from "./types.ts";

/** What each kind of notification is about. */
interface NotificationValues {
  link: Link;
  address: LinkAddress;
  route: Route;
  neighbour: Neighbour;
  fdb: FdbNeighbour;
  nexthop: Nexthop;
}

/** Something was made or changed (`new`, with its state now), or is gone (`delete`). */
export type ChangeNotification = {
  [kind in keyof NotificationValues]: {
    readonly kind: kind;
    readonly change: "new" | "delete";
    readonly value: NotificationValues[kind];
  };
}[keyof NotificationValues];

/** A change; or `overrun`: some were lost, only a look at the whole tables helps. */
export type NetlinkNotification = ChangeNotification | { readonly kind: "overrun" };

const GROUPS = {
  "link": c.RTNLGRP_LINK,
  "ipv4-address": c.RTNLGRP_IPV4_IFADDR,
  "ipv6-address": c.RTNLGRP_IPV6_IFADDR,
  "ipv4-route": c.RTNLGRP_IPV4_ROUTE,
  "ipv6-route": c.RTNLGRP_IPV6_ROUTE,
  /** Of all families: IPv4, IPv6 and forwarding entries. */
  "neighbour": c.RTNLGRP_NEIGH,
  "nexthop": c.RTNLGRP_NEXTHOP,
} as const;

/** What can be listened to. */
export type NetlinkGroup = keyof typeof GROUPS;

/** What a monitor reports. */
export interface MonitorOptions extends FilterRules {
  readonly groups: readonly NetlinkGroup[];
  /** Ends the monitor. */
  readonly signal?: AbortSignal;
  /** Size of the kernel's buffer in bytes: small ones overrun soon. @default 8 MiB */
  readonly receiveBufferBytes?: number;
}

/** See the module's text. One reader at a time; what isn't read waits in the kernel's buffer. */
export class NetlinkMonitor implements AsyncIterable<NetlinkNotification>, AsyncDisposable {
  readonly #listener: NetlinkListener<NetlinkNotification>;

  private constructor(listener: NetlinkListener<NetlinkNotification>) {
    this.#listener = listener;
  }

  /** Listens from now on. @throws {SystemError} If the socket can't be made. */
  static open(options: MonitorOptions): NetlinkMonitor {
    const { groups, signal, receiveBufferBytes } = options;
    return new NetlinkMonitor(NetlinkListener.open<NetlinkNotification>({
      groups: groups.map((group) => GROUPS[group]),
      // Before the first group: nothing to be ignored may come in between.
      prepare: (fd) => attachFilter(fd, options),
      decode: decodeChange,
      overrun: { kind: "overrun" },
      ...(signal && { signal }),
      ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
    }));
  }

  /** Notifications as they come, until the monitor is disposed or its signal fires. @throws {SystemError} */
  [Symbol.asyncIterator](): AsyncIterator<NetlinkNotification> {
    return this.#listener[Symbol.asyncIterator]();
  }

  /** Ends the iteration and closes the socket. May be called more than once. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#listener[Symbol.asyncDispose]();
  }
}

/** What a message announces; undefined for what is none of the nouns here (multicast groups, next-hop groups). */
export function decodeChange(message: Message): ChangeNotification | undefined {
  switch (message.type) {
    case c.RTM_NEWLINK:
    case c.RTM_DELLINK:
      return decodeLinkChange(message);
    case c.RTM_NEWADDR:
    case c.RTM_DELADDR:
      return notification("address", message.type === c.RTM_NEWADDR, decodeAddress(message));
    case c.RTM_NEWROUTE:
    case c.RTM_DELROUTE:
      return notification("route", message.type === c.RTM_NEWROUTE, decodeRoute(message));
    case c.RTM_NEWNEIGH:
    case c.RTM_DELNEIGH:
      return neighbourFamily(message) === c.AF_BRIDGE
        ? notification("fdb", message.type === c.RTM_NEWNEIGH, decodeFdb(message))
        : notification("neighbour", message.type === c.RTM_NEWNEIGH, decodeNeighbour(message));
    case c.RTM_NEWNEXTHOP:
    case c.RTM_DELNEXTHOP:
      return notification("nexthop", message.type === c.RTM_NEWNEXTHOP, decodeNexthop(message));
    default:
      return undefined;
  }
}

/**
 * Bridges and IPv6 announce their own view of a link in messages of their families, with less in them; a bridge
 * even says DELLINK when a port leaves it and lives on. They are left out: the change itself is announced too.
 */
function decodeLinkChange(message: Message): ChangeNotification | undefined {
  const link = decodeLink(message);
  if (message.view.getUint8(message.start) !== c.AF_UNSPEC) return undefined;
  return notification("link", message.type === c.RTM_NEWLINK, link);
}

function notification<kind extends keyof NotificationValues>(
  kind: kind,
  isNew: boolean,
  value: NotificationValues[kind] | undefined,
): ChangeNotification | undefined {
  if (value === undefined) return undefined;
  return { kind, change: isNew ? "new" : "delete", value } as ChangeNotification;
}

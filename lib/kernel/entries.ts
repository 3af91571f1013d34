/**
 * What a peer needs in the kernel, as values.
 *
 * A backend names the entries (`forPeer(peer)`); the reconciler makes them true. Links are named, not
 * numbered: an entry outlives the device's index.
 *
 * @module
 */
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import { formatPrefix, type Prefix, samePrefix } from "../net/prefix.ts";

/** `ip neigh replace IP lladdr MAC nud permanent dev LINK`. */
export interface NeighbourEntry {
  readonly kind: "neighbour";
  readonly link: string;
  readonly ip: Ip;
  readonly mac: Mac;
}

/** `bridge fdb replace MAC dst REMOTE dev LINK self permanent`: which VTEP has the MAC. */
export interface FdbEntry {
  readonly kind: "fdb";
  readonly link: string;
  readonly mac: Mac;
  readonly remote: Ip;
}

/** `ip route replace DESTINATION via GATEWAY dev LINK [onlink]` in the main table. */
export interface RouteEntry {
  readonly kind: "route";
  readonly link: string;
  readonly destination: Prefix;
  /** Next hop; absent for a route to the link itself. */
  readonly gateway?: Ip;
  /** The gateway is reached over the link though no address of the link covers it. */
  readonly onlink: boolean;
  /** Only of routes that the kernel has with another metric than its default, which ours have. */
  readonly metric?: number;
}

/** `ip route replace blackhole DESTINATION`. */
export interface BlackholeEntry {
  readonly kind: "blackhole";
  readonly destination: Prefix;
}

/** One thing that the kernel holds for us. */
export type Entry = NeighbourEntry | FdbEntry | RouteEntry | BlackholeEntry;

/**
 * What makes two entries the same thing to the kernel: of several entries with one identity only one can be there.
 * Routes go by destination alone, so that a change of link or next hop is one replacement.
 */
export type EntryIdentity =
  | Pick<NeighbourEntry, "kind" | "link" | "ip">
  | Pick<FdbEntry, "kind" | "link" | "mac">
  | Pick<RouteEntry | BlackholeEntry, "kind" | "destination">;

/** Whether two identities are one. */
export function sameIdentity(a: EntryIdentity, b: EntryIdentity): boolean {
  if (a.kind === "neighbour" && b.kind === "neighbour") return a.link === b.link && sameIp(a.ip, b.ip);
  if (a.kind === "fdb" && b.kind === "fdb") return a.link === b.link && a.mac === b.mac;
  if ((a.kind === "route" && b.kind === "route") || (a.kind === "blackhole" && b.kind === "blackhole")) {
    return samePrefix(a.destination, b.destination);
  }
  return false;
}

/** Whether two entries with one identity also say the same. */
export function sameEntry(a: Entry, b: Entry): boolean {
  if (a.kind === "neighbour" && b.kind === "neighbour") return a.mac === b.mac;
  if (a.kind === "fdb" && b.kind === "fdb") return sameIp(a.remote, b.remote);
  if (a.kind === "route" && b.kind === "route") {
    return a.link === b.link && sameIp(a.gateway, b.gateway) && a.onlink === b.onlink &&
      a.metric === b.metric;
  }
  return a.kind === b.kind;
}

/** The entry as people know it from `ip` and `bridge`. */
export function describeEntry(entry: Entry): string {
  switch (entry.kind) {
    case "neighbour":
      return `neighbour ${formatIp(entry.ip)} lladdr ${entry.mac} dev ${entry.link}`;
    case "fdb":
      return `fdb ${entry.mac} dst ${formatIp(entry.remote)} dev ${entry.link}`;
    case "route": {
      const via = entry.gateway ? ` via ${formatIp(entry.gateway)}` : "";
      const metric = entry.metric === undefined ? "" : ` metric ${entry.metric}`;
      return `route ${formatPrefix(entry.destination)}${via} dev ${entry.link}${metric}${
        entry.onlink ? " onlink" : ""
      }`;
    }
    case "blackhole":
      return `blackhole route ${formatPrefix(entry.destination)}`;
  }
}

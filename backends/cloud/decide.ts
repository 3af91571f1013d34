/**
 * What is to change in a route table: pure in the entries, the own subnets and the live leases.
 *
 * Only three sorts of entries are ever touched: those for the own subnet, those that lead to this instance
 * inside the flannel network, and black holes inside it that no live lease claims. A route that a peer's live
 * lease claims is that peer's to repair, even if it leads here.
 *
 * @module
 */
import {
  containsPrefix,
  formatPrefix,
  type Prefix,
  prefixesOverlap,
  samePrefix,
} from "../../lib/net/prefix.ts";
import type { CloudRoute } from "./route_table.ts";

/** What the decision depends on. */
export interface Situation<R extends CloudRoute> {
  /** The flannel network of each family. */
  readonly networks: readonly Prefix[];
  /** Subnets of the own lease. */
  readonly own: readonly Prefix[];
  /** Subnets of all other live leases. */
  readonly leased: readonly Prefix[];
  readonly tables: readonly string[];
  readonly routes: readonly R[];
}

/** A route to write. */
export interface Put<R extends CloudRoute> {
  readonly table: string;
  readonly destination: Prefix;
  /** What stands there now. */
  readonly existing: R | undefined;
}

/** Why an entry goes: it rivals the own route; it leads here for a subnet of the past; its hop is gone. */
export type RemovalReason = "rival" | "stale" | "blackhole";

/** A route to take away. */
export interface Removal<R extends CloudRoute> {
  readonly route: R;
  readonly reason: RemovalReason;
  /** Goes only if the cloud says that its hop is gone. */
  readonly unsure: boolean;
}

/** All that is to change; empty lists mean that the tables are as they should be. */
export interface Decision<R extends CloudRoute> {
  /** Own routes that are missing or lead elsewhere. */
  readonly puts: readonly Put<R>[];
  /** Entries that take traffic from an own route that is there. */
  readonly rivals: readonly Removal<R>[];
  /** Entries that nobody uses any more. */
  readonly leftovers: readonly Removal<R>[];
}

/** Whether all packets for the own subnets come here. */
export function isStanding({ puts, rivals }: Decision<CloudRoute>): boolean {
  return puts.length === 0 && rivals.length === 0;
}

/** Compares what is with what should be. */
export function decide<R extends CloudRoute>(situation: Situation<R>): Decision<R> {
  const puts = situation.tables.flatMap((table) =>
    situation.own.flatMap((destination) => decidePut(situation.routes, table, destination))
  );
  const replaced = new Set(puts.map((put) => put.existing));
  const removals = situation.routes.flatMap((route) => {
    const reason = replaced.has(route) ? undefined : removalReason(situation, route);
    const unsure = reason === "blackhole" && route.blackhole === undefined;
    return reason ? [{ route, reason, unsure }] : [];
  });
  return {
    puts,
    rivals: removals.filter(({ reason }) => reason === "rival"),
    leftovers: removals.filter(({ reason }) => reason !== "rival"),
  };
}

function decidePut<R extends CloudRoute>(routes: readonly R[], table: string, destination: Prefix): Put<R>[] {
  const there = routes.filter((route) => route.table === table && samePrefix(route.destination, destination));
  if (there.some((route) => route.upToDate)) return [];
  return [{ table, destination, existing: there.find((route) => route.own) ?? there[0] }];
}

function removalReason<R extends CloudRoute>(
  { networks, own, leased, tables, routes }: Situation<R>,
  route: R,
): RemovalReason | undefined {
  if (!route.removable || !tables.includes(route.table)) return undefined;
  if (own.some((subnet) => samePrefix(subnet, route.destination))) {
    // Clouds that allow several entries for one prefix share the traffic among them.
    const keeper = routes.find((other) =>
      other.upToDate && other.table === route.table && samePrefix(other.destination, route.destination)
    );
    return keeper && keeper !== route ? "rival" : undefined;
  }
  if (!networks.some((network) => isInside(network, route.destination))) return undefined;
  const claimed = [...own, ...leased].some((subnet) => prefixesOverlap(subnet, route.destination));
  if (claimed) return undefined;
  if (route.own) return "stale";
  return route.blackhole === false ? undefined : "blackhole";
}

/** Strictly inside: a route for the whole network is somebody's gateway, not a host's subnet. */
export function isInside(network: Prefix, destination: Prefix): boolean {
  return destination.length > network.length && containsPrefix(network, destination);
}

/** Distinguishes entries of two listings. */
export function routeKey(route: CloudRoute): string {
  return `${route.table} ${formatPrefix(route.destination)} ${route.id} ${route.hop}`;
}

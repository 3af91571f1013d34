/**
 * Removing a host's own routes from a cloud's tables, for `flanneld cleanup`.
 *
 * @module
 */
import type { OpenContext, OwnSubnets } from "../../lib/backend/types.ts";
import { formatPrefix, samePrefix } from "../../lib/net/prefix.ts";
import { type CloudEdges, recordOf } from "./backend.ts";
import { backoffDelay } from "./delays.ts";
import { isInside, routeKey } from "./decide.ts";
import { asCloudError, CloudError } from "./errors.ts";
import { isGeneral, subnetsOf } from "./pass.ts";
import type { CloudRoute, RouteTable } from "./route_table.ts";

/** How often it tries, and what the waits in between follow, in milliseconds. */
const TRIES = 6;
const PACE_MS = 2_000;

/**
 * Removes from all tables of this host the routes that lead to it: those for the lease's subnets, where a lease
 * is known, and all others inside the flannel network.
 *
 * @throws {CloudError} If it can't, after some tries.
 */
export async function cleanupCloudRoutes<R extends CloudRoute>(
  table: RouteTable<R>,
  context: OpenContext,
  lease: OwnSubnets,
  edges: CloudEdges,
): Promise<void> {
  const { clock } = edges;
  let last: CloudError | undefined;
  for (let tries = 1;; tries++) {
    try {
      await removeOwnRoutes(table, context, lease);
      return await recordOf(table, context, edges).remove();
    } catch (error) {
      if (context.signal.aborted) throw outOfTime(last);
      last = asCloudError(error);
      const passes = isGeneral(last) || last.kind === "conflict";
      if (!passes || tries >= TRIES) throw last;
      const delay = backoffDelay(last.kind, tries, PACE_MS, clock.random);
      context.log.warn(last.message, { retryInSeconds: Math.round(delay / 100) / 10 });
      await clock.sleep(delay, context.signal);
      if (context.signal.aborted) throw outOfTime(last);
    }
  }
}

function outOfTime(last: CloudError | undefined): CloudError {
  return last ?? new CloudError("unavailable", "The cloud doesn't answer in time: run cleanup again");
}

/** One by one, with a look before each: another host may turn a route to itself meanwhile. */
async function removeOwnRoutes<R extends CloudRoute>(
  table: RouteTable<R>,
  { config, external, signal, log }: OpenContext,
  lease: OwnSubnets,
): Promise<void> {
  const identity = await table.identify(external, signal);
  const subnets = subnetsOf(lease.subnets);
  const isOurs = (route: R) =>
    route.own && route.removable && identity.tables.includes(route.table) &&
    (subnets.some((subnet) => samePrefix(subnet, route.destination)) ||
      config.families.some(({ network }) => isInside(network, route.destination)));
  const removed = new Set<string>();
  for (;;) {
    const routes = await table.list(signal);
    const next = routes.find((route) => isOurs(route) && !removed.has(routeKey(route)));
    if (!next) return;
    await table.remove(next, signal);
    removed.add(routeKey(next));
    log.info("Route removed", { table: next.table, route: formatPrefix(next.destination), hop: next.hop });
  }
}

/**
 * A {@link Backend} made of a cloud's {@link RouteTable}: what aws-vpc, gce and ali-vpc have in common.
 *
 * @module
 */
import { samePrefix } from "../../lib/net/prefix.ts";
import { NO_ENTRIES } from "../../lib/backend/peer_plan.ts";
import type { OpenContext, OwnSubnets, SessionBackend } from "../../lib/backend/types.ts";
import { backoffDelay, type Clock, systemClock } from "./clock.ts";
import { CLOUD_RESYNC } from "./daemon_options.ts";
import { isInside } from "./decide.ts";
import { asCloudError } from "./errors.ts";
import { CloudNetwork, CONFIG_RETRY_MS, CONFIG_TRIES } from "./network.ts";
import { subnetsOf } from "./pass.ts";
import type { CloudRoute, RouteTable } from "./route_table.ts";

/** The program's environment, as `Deno.env.get` gives it. */
export type Env = (name: string) => string | undefined;

/** What the providers take from outside; tests give their own. */
export interface CloudEdges {
  readonly env: Env;
  readonly clock: Clock;
}

/** The real ones. */
export const systemEdges: CloudEdges = { env: (name) => Deno.env.get(name), clock: systemClock };

/** How long opening waits for the cloud before it leaves the matter to the loop, in milliseconds. */
const OPEN_TIMEOUT_MS = 15_000;
/** How often cleaning up tries, and what its waits follow, in milliseconds. */
const CLEANUP_TRIES = 6;
const CLEANUP_PACE_MS = 2_000;

/**
 * Asks the cloud once who we are, so that what waiting doesn't mend is said before a subnet is leased. A cloud
 * that can't be reached, or doesn't let us, is no reason to give up: the network goes on trying.
 *
 * @throws {CloudError} Of kind `config`.
 */
export async function openCloudBackend<R extends CloudRoute>(
  table: RouteTable<R>,
  context: OpenContext,
  { clock }: CloudEdges,
): Promise<SessionBackend> {
  await checkIdentity(table, context, clock);
  return {
    carrier: "session",
    attributes: { backendData: {} },
    plan: ({ external }) => ({ mtu: external.mtu, links: [], entries: [], forPeer: () => NO_ENTRIES }),
    start: async (session) => {
      const network = new CloudNetwork(table, session, {
        networks: context.config.families.map((family) => family.network),
        resync: context.options.get(CLOUD_RESYNC),
        clock,
      });
      await network.start();
      return network;
    },
  };
}

async function checkIdentity<R extends CloudRoute>(
  table: RouteTable<R>,
  { external, signal, log }: OpenContext,
  clock: Clock,
): Promise<void> {
  for (let tries = 1;; tries++) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)]);
    try {
      await table.identify(external, limit);
      return;
    } catch (error) {
      signal.throwIfAborted();
      const known = asCloudError(error);
      if (known.kind !== "config") {
        return log.warn(`${known.message}; going on, and trying again`, {
          reason: known.kind,
        });
      }
      if (tries >= CONFIG_TRIES) throw known;
    }
    await clock.sleep(CONFIG_RETRY_MS, signal);
  }
}

/**
 * Removes the host's own route from all tables: the one for the lease's subnet, or, where no lease is known any
 * more, those that lead to this instance inside the flannel network.
 *
 * @throws {CloudError} If it can't, after some tries.
 */
export async function cleanupCloudRoutes<R extends CloudRoute>(
  table: RouteTable<R>,
  context: OpenContext,
  lease: OwnSubnets,
  { clock }: CloudEdges,
): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return await removeOwnRoutes(table, context, lease);
    } catch (error) {
      context.signal.throwIfAborted();
      const known = asCloudError(error);
      const passes = ["throttled", "conflict", "unavailable", "credentials"].includes(known.kind);
      if (!passes || tries >= CLEANUP_TRIES) throw known;
      const delay = backoffDelay(known.kind, tries, CLEANUP_PACE_MS, clock.random);
      context.log.warn(`${known.message}; trying again`);
      await clock.sleep(delay, context.signal);
    }
  }
}

async function removeOwnRoutes<R extends CloudRoute>(
  table: RouteTable<R>,
  { config, external, signal, log }: OpenContext,
  lease: OwnSubnets,
): Promise<void> {
  const identity = await table.identify(external, signal);
  const subnets = subnetsOf(lease.subnets);
  for (const route of await table.list(signal)) {
    if (!route.own || !route.removable || !identity.tables.includes(route.table)) continue;
    const ours = subnets.length > 0
      ? subnets.some((subnet) => samePrefix(subnet, route.destination))
      : config.families.some(({ network }) => isInside(network, route.destination));
    if (!ours) continue;
    await table.remove(route, signal);
    log.info("Route removed", { table: route.table, route: route.id });
  }
}

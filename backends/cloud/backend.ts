/**
 * A {@link Backend} made of a cloud's {@link RouteTable}: what all cloud backends have in common.
 *
 * @module
 */
import { carried, PATHS } from "../../lib/backend/peer_plan.ts";
import type { OpenContext, SessionBackend } from "../../lib/backend/types.ts";
import { type Clock, systemClock } from "../../lib/time/clock.ts";
import { CLOUD_RESYNC } from "./daemon_options.ts";
import { asCloudError } from "./errors.ts";
import { RouteRecord } from "./record.ts";
import { CONFIG_RETRY_MS, CONFIG_TRIES, RouteLoop } from "./route_loop.ts";
import type { CloudRoute, RouteTable } from "./route_table.ts";

/** The program's environment, as `Deno.env.get` gives it. */
export type Env = (name: string) => string | undefined;

/** What the providers take from outside; tests give their own. */
export interface CloudEdges {
  readonly env: Env;
  readonly clock: Clock;
  /** A folder that survives a reboot; absent: nothing is remembered. */
  readonly stateFolder?: string;
}

/** The real ones. systemd names the unit's StateDirectory= in STATE_DIRECTORY. */
export const systemEdges: CloudEdges = {
  env: (name) => Deno.env.get(name),
  clock: systemClock,
  stateFolder: Deno.env.get("STATE_DIRECTORY")?.split(":")[0] || "/var/lib/flannel",
};

/** How long opening waits for the cloud before the loop goes on with it, in milliseconds. */
const OPEN_TIMEOUT_MS = 15_000;

/**
 * Asks the cloud once who we are, so that what retries don't help is reported before a subnet is leased. A cloud
 * that can't be reached, or refuses us, is no reason to give up: the loop goes on trying. A host that has seen
 * its route stand in an earlier run doesn't wait at all.
 *
 * @throws {CloudError} Of kind `config`.
 */
export async function openCloudBackend<R extends CloudRoute>(
  table: RouteTable<R>,
  context: OpenContext,
  edges: CloudEdges,
): Promise<SessionBackend> {
  const record = recordOf(table, context, edges);
  if (!await record.read()) await checkIdentity(table, context, edges.clock);
  return {
    carrier: "session",
    attributes: { backendData: {} },
    plan: ({ external }) => ({
      mtu: external.mtu,
      links: [],
      entries: [],
      forPeer: () => carried(PATHS.cloudRoute),
    }),
    start: async (session) => {
      const loop = new RouteLoop(table, session, {
        networks: context.config.families.map((family) => family.network),
        resync: context.options.get(CLOUD_RESYNC),
        clock: edges.clock,
        record,
      });
      await loop.start();
      return loop;
    },
  };
}

/** Where this host's route in this network is noted. */
export function recordOf(
  table: RouteTable<CloudRoute>,
  { networkId, signal }: Pick<OpenContext, "networkId" | "signal">,
  { stateFolder }: CloudEdges,
): RouteRecord {
  return new RouteRecord(stateFolder, {
    cloud: table.cloud,
    networkId,
    instance: () => table.instance(signal),
  });
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
        return log.warn(`${known.message}; retrying once the subnet is leased`, { reason: known.kind });
      }
      if (tries >= CONFIG_TRIES) throw known;
    }
    await clock.sleep(CONFIG_RETRY_MS, signal);
  }
}

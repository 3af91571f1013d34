/**
 * A network's config and all its leases, read from the store itself: no daemon is needed.
 *
 * @module
 */
import { parseNetworkConfig } from "../config/network_config.ts";
import { ConfigError, type NetworkConfig } from "../config/types.ts";
import type { SubnetManager } from "../leases/contract.ts";
import type { InspectLeasesOptions, LeaseView } from "../leases/inspect.ts";
import { mapPools, type PoolMap } from "../leases/pool_map.ts";
import { compareSubnets } from "../net/order.ts";
import { openLog } from "../observe/log.ts";
import { noMetrics, noProblems } from "../observe/types.ts";
import type { Options } from "../options/table.ts";
import { describeWrite, openSubnetManager } from "./store.ts";

/** Longest wait for a store that doesn't answer, in milliseconds: a person is waiting. */
const STORE_TIMEOUT_MS = 10_000;

/** Longest wait for the leases and their times: of a large network they take seconds. */
const LIST_TIMEOUT_MS = 60_000;

/** A network and its leases. */
export interface NetworkLeases {
  /** The store's description. */
  readonly store: string;
  readonly revision: string;
  readonly config: NetworkConfig;
  /** Sorted by subnet; keys that name none come last. */
  readonly leases: readonly LeaseView[];
  /** One for each family. */
  readonly pools: readonly PoolMap[];
}

/** Which leases' times are read; absent: all. */
type Timed = InspectLeasesOptions["timed"];

/** Reads them. @throws {Error} If the store doesn't answer, or holds no config. @throws {ConfigError} */
export async function readNetworkLeases(options: Options, timed?: Timed): Promise<NetworkLeases> {
  const log = openLog({ format: "text", verbosity: 0 });
  await using store = await openSubnetManager(options, { log, metrics: noMetrics, problems: noProblems });
  return await networkLeases(store, options, timed);
}

/** As {@link readNetworkLeases}, from a store that is open. */
export async function networkLeases(
  store: Pick<SubnetManager, "description" | "readConfig" | "inspect">,
  options: Options,
  timed?: Timed,
): Promise<NetworkLeases> {
  const stored = await store.readConfig({ timeoutMs: STORE_TIMEOUT_MS });
  if (!stored) {
    throw new Error(`There is no network config in ${store.description}. ${describeWrite(options)}`);
  }
  const config = parseNetworkConfig(stored.text);
  if (config.faults.length > 0) throw new ConfigError(config.faults);
  const { revision, leases } = await store.inspect(config.families, {
    timeoutMs: LIST_TIMEOUT_MS,
    ...timed ? { timed } : {},
  });
  const sorted = [...leases].sort((a, b) => compareSubnets(a.subnets ?? {}, b.subnets ?? {}));
  return {
    ...{ store: store.description, revision, config, leases: sorted },
    pools: mapPools(config.families, sorted),
  };
}

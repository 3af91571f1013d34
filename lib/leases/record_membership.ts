/**
 * A host's membership in a network whose leases are records that the hosts themselves write and renew.
 *
 * @module
 */
import { parseNetworkConfig } from "../config/network_config.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import { containsPrefix, type Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import type { AcquiredLease } from "./acquire_types.ts";
import type { Clock } from "../time/clock.ts";
import type { FollowHealth, LeaseSink, Membership, OwnLease } from "./contract.ts";
import { LeaseKeeper } from "./keeper.ts";
import type { LeaseTrouble } from "./keeper_types.ts";
import { RecordFeed } from "./record_feed.ts";
import { LeaseSync } from "./sync.ts";
import type { LeaseAttributes, LeaseStore, StoreCursor, StoredConfig, StoredLease } from "./types.ts";

/** How records are kept. */
export interface RecordOptions {
  /** Seconds until a lease expires unless renewed. */
  readonly ttl: number;
  /** Seconds before its end at which it is renewed. */
  readonly margin: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** See {@link Membership}. */
export class RecordMembership implements Membership {
  readonly #store: LeaseStore;
  readonly #options: RecordOptions;
  readonly #subnets: PerFamily<Prefix>;
  readonly #keeper: LeaseKeeper;
  /** Up to where {@link Joined.first} passes on the leases; the list itself isn't kept. */
  readonly #cursor: StoreCursor;
  #sync: LeaseSync | undefined;
  #onPublished: (own: OwnLease) => void = () => {};

  /** @param former What earlier runs of this host published under the lease's key. */
  constructor(
    store: LeaseStore,
    { held, lease, replaced, snapshot }: AcquiredLease,
    options: RecordOptions,
    former: readonly string[] = [],
  ) {
    const { ttl, margin, clock, log, metrics } = options;
    this.#store = store;
    this.#options = options;
    this.#subnets = lease.subnets;
    this.#cursor = { revision: snapshot.revision, history: snapshot.history };
    this.#keeper = new LeaseKeeper({
      ...{ store, held, attributes: lease.attributes, ttl, margin, clock, log, metrics },
      former,
      ...replaced === undefined ? {} : { replaced },
      isNetwork: (config) => hasSubnets(config, lease.subnets),
      onPublished: (published) => this.#onPublished(this.#describe(published)),
      outageMs: () => this.#sync?.outageMs ?? 0,
    });
  }

  get own(): OwnLease {
    return this.#describe(this.#keeper.held);
  }

  #describe({ key, value, createRevision, expires }: StoredLease): OwnLease {
    const { former } = this.#keeper;
    return { key, since: createRevision, subnets: this.#subnets, value, former, expires };
  }

  get remaining(): number {
    return this.#keeper.remaining;
  }

  get renewedAt(): number | undefined {
    return this.#keeper.renewedAt;
  }

  trouble(): LeaseTrouble {
    return this.#keeper.trouble();
  }

  publish(attributes: LeaseAttributes): void {
    this.#keeper.update(attributes);
  }

  keep(signal: AbortSignal, onPublished: (own: OwnLease) => void): Promise<void> {
    this.#onPublished = onPublished;
    return this.#keeper.run(signal);
  }

  async follow(
    sink: LeaseSink,
    onConfig: (config: StoredConfig | null) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, metrics, problems } = this.#options;
    const sync = this.#sync = new LeaseSync({
      ...{ store: this.#store, own: this.#keeper, onConfig, clock, metrics, problems },
      records: new RecordFeed(sink, this.#keeper.held.key),
    });
    await sync.run(this.#cursor, signal);
  }

  health(): FollowHealth {
    return this.#sync?.health() ?? { connected: false, sinceMs: 0, version: "", resyncs: 0 };
  }
}

/** Whether these subnets are ones that a host of this network may have: the same families and lengths. */
function hasSubnets(config: string, subnets: PerFamily<Prefix>): boolean {
  const { families, faults } = parseNetworkConfig(config);
  // A running host keeps its subnet beside a config that nobody can use.
  if (faults.length > 0) return true;
  return families.length === familiesOf(subnets).length &&
    families.every(({ family, network, subnetLength }) => {
      const subnet = subnets[family.name];
      return subnet !== undefined && subnet.length === subnetLength && containsPrefix(network, subnet);
    });
}

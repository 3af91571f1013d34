/**
 * Subnets that the hosts choose themselves: one implementation for every store that keeps records under revisions.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import { acquireLease } from "./acquire.ts";
import type { RandomBelow } from "./allocator.ts";
import type { Joined, JoinRequest, LeavingHost, LeavingLease, SubnetManager } from "./contract.ts";
import { type InspectedLeases, type InspectLeasesOptions, inspectRecords } from "./inspect.ts";
import { findOwnLeases } from "./own_leases.ts";
import { RecordFeed } from "./record_feed.ts";
import { RecordMembership, type RecordOptions } from "./record_membership.ts";
import type { CallOptions, LeaseStore, StoredConfig } from "./types.ts";

/** A {@link SubnetManager} over a {@link LeaseStore}. */
export class RecordManager implements SubnetManager {
  readonly #store: LeaseStore;
  readonly #options: RecordOptions;

  /** @param store Closed with this one. */
  constructor(store: LeaseStore, options: RecordOptions) {
    this.#store = store;
    this.#options = options;
  }

  get description(): string {
    return this.#store.description;
  }

  dropConnections(): void {
    this.#store.dropConnections?.();
  }

  readConfig(options?: CallOptions): Promise<StoredConfig | undefined> {
    return this.#store.readConfig(options);
  }

  async join(request: JoinRequest): Promise<Joined> {
    const { ttl, log, clock } = this.#options;
    const acquired = await acquireLease({
      ...request,
      ...{ store: this.#store, ttl, log, clock, random: randomBelow },
    });
    const { origin, snapshot, held } = acquired;
    return {
      membership: new RecordMembership(this.#store, acquired, this.#options, formerOf(request, held.key)),
      origin,
      first: (sink) => new RecordFeed(sink, held.key).list(snapshot),
    };
  }

  inspect(_config: readonly FamilyConfig[], options?: InspectLeasesOptions): Promise<InspectedLeases> {
    return inspectRecords(this.#store, options);
  }

  async leasesOf(
    host: LeavingHost,
    onDoubt: (lease: { readonly key: string; readonly value: string }) => void,
    options?: CallOptions,
  ): Promise<readonly LeavingLease[]> {
    const found = findOwnLeases(await this.#store.listLeases(options), host, onDoubt);
    return found.map(({ stored, lease }) => ({
      key: stored.key,
      subnets: lease.subnets,
      // A reservation is the operator's.
      release: async (options) => stored.expires && await this.#store.deleteLease(stored, options),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
  }
}

/** A number from 0 up to, not including, `below`: of so many random bits that the bias is beyond notice. */
const randomBelow: RandomBelow = (below) => {
  let value = 0n;
  for (const word of crypto.getRandomValues(new BigUint64Array(3))) value = (value << 64n) | word;
  return value % below;
};

/** What earlier runs of this host published under the key. */
function formerOf({ evidence: { lease } }: JoinRequest, key: string): readonly string[] {
  return lease?.key === key ? [...lease.former ?? [], lease.value] : [];
}

/**
 * A store that assigns subnets, as small as one can be: a cluster in memory whose nodes have a subnet each, and say
 * what their hosts publish. It implements the contract directly, with nothing to choose, renew or release.
 *
 * @module
 */
import type {
  FollowHealth,
  Joined,
  JoinRequest,
  LeaseSink,
  LeavingHost,
  LeavingLease,
  ListedLease,
  Membership,
  OwnLease,
  SubnetManager,
} from "../../lib/leases/contract.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import type { InspectedLeases, LeaseView } from "../../lib/leases/inspect.ts";
import type { LeaseAttributes, StoredConfig } from "../../lib/leases/types.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { pause } from "../../lib/time/pause.ts";

interface Node {
  readonly subnet: string;
  readonly since: bigint;
  attributes?: LeaseAttributes;
}

/** The cluster. */
export class Cluster {
  readonly nodes = new Map<string, Node>();
  readonly listeners = new Set<() => void>();
  version = 0;
  #config: StoredConfig | undefined;

  get config(): StoredConfig | undefined {
    return this.#config;
  }

  writeConfig(text: string): void {
    this.#config = { text, revision: BigInt(++this.version) };
    this.#passOn();
  }

  /** The node's subnet is its own from its first day. */
  node(name: string): Node {
    const node = this.nodes.get(name) ??
      { subnet: `10.5.${this.nodes.size + 1}.0/24`, since: BigInt(++this.version) };
    this.nodes.set(name, node);
    return node;
  }

  annotate(name: string, attributes: LeaseAttributes): void {
    this.node(name).attributes = attributes;
    this.version++;
    this.#passOn();
  }

  #passOn(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

/** What one host opens. */
export class AssignedSubnets implements SubnetManager {
  readonly description = "a cluster in memory";
  readonly #cluster: Cluster;
  readonly #name: string;

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.#name = name;
    cluster.node(name);
  }

  readConfig(): Promise<StoredConfig | undefined> {
    return Promise.resolve(this.#cluster.config);
  }

  join({ attributes }: JoinRequest): Promise<Joined> {
    this.#cluster.annotate(this.#name, attributes);
    const membership = new AssignedMembership(this.#cluster, this.#name);
    return Promise.resolve({ membership, origin: "assigned", first: (sink) => membership.list(sink) });
  }

  inspect(): Promise<InspectedLeases> {
    const leases = [...this.#cluster.nodes].map(([key, { subnet, attributes }]): LeaseView => ({
      ...{ key, host: key, subnets: { ipv4: parsePrefix(subnet) }, expires: false, assigned: true },
      ...attributes ? { attributes } : {},
    }));
    return Promise.resolve({ revision: String(this.#cluster.version), leases });
  }

  leasesOf(_host: LeavingHost): Promise<readonly LeavingLease[]> {
    const subnets = { ipv4: parsePrefix(this.#cluster.node(this.#name).subnet) };
    return Promise.resolve([{ key: this.#name, subnets, release: () => Promise.resolve(false) }]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

class AssignedMembership implements Membership {
  readonly remaining = Infinity;
  readonly #cluster: Cluster;
  readonly #name: string;
  #health: FollowHealth = { connected: false, sinceMs: 0, version: "", resyncs: 0 };
  #onPublished: (own: OwnLease) => void = () => {};

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.#name = name;
  }

  get own(): OwnLease {
    const { subnet, since, attributes } = this.#cluster.node(this.#name);
    const value = attributes ? encodeLeaseValue(attributes) : "";
    return { key: this.#name, since, subnets: { ipv4: parsePrefix(subnet) }, value, expires: false };
  }

  trouble() {
    return {};
  }

  publish(attributes: LeaseAttributes): void {
    this.#cluster.annotate(this.#name, attributes);
    this.#onPublished(this.own);
  }

  async keep(signal: AbortSignal, onPublished: (own: OwnLease) => void): Promise<void> {
    this.#onPublished = onPublished;
    while (!signal.aborted) await pause(1000, signal);
  }

  list(sink: LeaseSink): void {
    sink.list(
      [...this.#cluster.nodes].filter(([, { attributes }]) => attributes).map(([key, node]): ListedLease => ({
        ...{ key, since: node.since, own: key === this.#name },
        lease: { subnets: { ipv4: parsePrefix(node.subnet) }, attributes: node.attributes! },
      })),
    );
  }

  async follow(
    sink: LeaseSink,
    onConfig: (config: StoredConfig | null) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const look = () => {
      this.#health = { connected: true, sinceMs: 0, version: String(this.#cluster.version), resyncs: 0 };
      this.list(sink);
      onConfig(this.#cluster.config ?? null);
    };
    this.#cluster.listeners.add(look);
    look();
    while (!signal.aborted) await pause(1000, signal);
    this.#cluster.listeners.delete(look);
  }

  health(): FollowHealth {
    return this.#health;
  }
}

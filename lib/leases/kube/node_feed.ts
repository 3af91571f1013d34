/**
 * Nodes as leases, passed on to the set of peers.
 *
 * Kubelets write to their Nodes all the time, and most of what they write doesn't concern us: a Node that says the same
 * is passed on as the same object, which costs its keeper nothing.
 *
 * @module
 */
import type { NodeSink } from "../../kube/node_follower.ts";
import type { NodeEvent, NodeRecord } from "../../kube/nodes.ts";
import { familiesOf, type Family } from "../../net/family.ts";
import type { Log, Metrics } from "../../observe/types.ts";
import type { LeaseSink, ListedChange, ListedLease } from "../contract.ts";
import { LEASE_EVENTS, STORE_LISTS } from "../metrics.ts";
import { leaseOfNode } from "./node_lease.ts";

/** A lease with the Node that it was made of. */
interface NodeListed extends ListedLease {
  readonly node: NodeRecord;
}

/** What the feed needs to know. */
export interface NodeFeedOptions {
  /** The own Node's name. */
  readonly own: string;
  readonly annotationPrefix: string;
  readonly families: readonly Family[];
  readonly log: Log;
  readonly metrics: Metrics;
  /** Called with the own Node when it changed; undefined: it is gone. */
  readonly onOwn: (node: NodeRecord | undefined) => void;
}

/** See the module's text. */
export class NodeFeed implements NodeSink {
  readonly #sink: LeaseSink;
  readonly #options: NodeFeedOptions;

  constructor(sink: LeaseSink, options: NodeFeedOptions) {
    this.#sink = sink;
    this.#options = options;
  }

  list(nodes: readonly NodeRecord[]): void {
    const { own, onOwn, metrics } = this.#options;
    metrics.count(STORE_LISTS);
    this.#sink.list(this.#listed(nodes));
    onOwn(nodes.find(({ name }) => name === own));
  }

  events(events: readonly NodeEvent[]): void {
    const { own, onOwn } = this.#options;
    this.#sink.change(this.#changes(events));
    for (const event of events) {
      const name = event.kind === "put" ? event.node.name : event.name;
      if (name === own) onOwn(event.kind === "put" ? event.node : undefined);
    }
  }

  *#listed(nodes: readonly NodeRecord[]): Iterable<ListedLease> {
    for (const node of nodes) {
      const listed = this.#judge(node);
      if (listed) yield listed;
    }
  }

  *#changes(events: readonly NodeEvent[]): Iterable<ListedChange> {
    for (const event of events) {
      const listed = event.kind === "put" ? this.#judge(event.node) : undefined;
      const key = event.kind === "put" ? event.node.name : event.name;
      const isOther = key !== this.#options.own;
      if (isOther && listed !== this.#sink.get(key)) this.#options.metrics.count(LEASE_EVENTS);
      if (listed) yield { kind: "put", listed };
      else yield { kind: "delete", key };
    }
  }

  /** The Node as a lease; undefined where it is none. */
  #judge(node: NodeRecord): ListedLease | undefined {
    const { own, annotationPrefix, families, log } = this.#options;
    const key = node.name;
    const since = sinceOf(node);
    if (key === own) return { key, since, own: true };
    const known = this.#sink.get(key) as NodeListed | undefined;
    if (known && sameNode(known.node, node)) return known;
    const { lease, fault } = leaseOfNode(node, annotationPrefix, families);
    if (lease && fault !== undefined) {
      const working = familiesOf(lease.subnets).map(({ label }) => label).join(" and ");
      log.info(`Node ${key} is a peer over ${working} only: ${fault}`);
    }
    if (lease) return { key, since, node, lease } as NodeListed;
    return fault === undefined ? undefined : { key, since, node, fault } as NodeListed;
  }
}

/** Of two Nodes with one podCIDR the older one counts. */
export function sinceOf({ created }: NodeRecord): bigint {
  const milliseconds = Date.parse(created);
  return Number.isFinite(milliseconds) ? BigInt(milliseconds) : 0n;
}

/** Whether two states of a Node make the same lease. */
function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  if (a.uid !== b.uid || a.podCidrs.length !== b.podCidrs.length) return false;
  if (a.podCidrs.some((cidr, index) => cidr !== b.podCidrs[index])) return false;
  const names = Object.keys(a.annotations);
  return names.length === Object.keys(b.annotations).length &&
    names.every((name) => a.annotations[name] === b.annotations[name]);
}

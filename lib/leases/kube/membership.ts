/**
 * A host's membership in a network whose subnets a cluster assigns: the Node's podCIDRs are its subnets, and what the
 * host publishes stands in the Node's annotations.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { type ApiClient, retryAfterOf } from "../../kube/client.ts";
import { NodeFollower } from "../../kube/node_follower.ts";
import { getNode, type NodeRecord, type NodeSource } from "../../kube/nodes.ts";
import { familiesOf, type Family, type PerFamily } from "../../net/family.ts";
import { tryParseIp } from "../../net/ip.ts";
import { formatPrefix, type Prefix, samePrefix } from "../../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../../observe/types.ts";
import { pause } from "../../time/pause.ts";
import { encodeLeaseValue } from "../codec.ts";
import type { FollowHealth, LeaseSink, Membership, OwnLease } from "../contract.ts";
import { LeaseLostError, type LeaseTrouble } from "../keeper_types.ts";
import { STORE_ERRORS } from "../metrics.ts";
import type { LeaseAttributes, StoredConfig } from "../types.ts";
import { annotationChanges, ANNOTATIONS, annotationsOf, type AnnotationValues } from "./annotations.ts";
import { CONDITION, patchAnnotations, patchCondition } from "./node_api.ts";
import { NodeFeed } from "./node_feed.ts";
import { subnetsOfNode } from "./node_lease.ts";
import { WritePace } from "./write_pace.ts";

/** Wait after a failure: doubled up to the second, in milliseconds. */
const RETRY_MS = { first: 250, longest: 5_000 } as const;

const CONDITION_RETRY_MS = { first: 1_000, longest: 60_000 } as const;

/** The own Node is looked at this often whatever the watch says, in milliseconds. */
const LOOK_MS = 60_000;

/** What a membership is made of. */
export interface KubeMembershipParts extends NodeSource {
  readonly client: ApiClient;
  readonly nodeName: string;
  readonly families: readonly Family[];
  /** The subnets that the host has joined with. */
  readonly subnets: PerFamily<Prefix>;
  readonly since: bigint;
  /** The Node's uid. */
  readonly uid: string;
  readonly attributes: LeaseAttributes;
  /** Whether the condition NetworkUnavailable is kept at False. */
  readonly setCondition: boolean;
  /** The version up to which {@link Joined.first} passes on the Nodes. */
  readonly version: string;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** See {@link Membership}. */
export class KubeMembership implements Membership {
  readonly remaining = Infinity;
  readonly #parts: KubeMembershipParts;
  readonly #pace = new WritePace();
  /** What was last written. */
  #written = "";
  #attributes: LeaseAttributes;
  #follower: NodeFollower | undefined;
  #isReady = false;
  /** Something may have changed: the own Node is looked at. */
  #wake: (() => void) | undefined;
  #dirty = true;
  #failingSince: number | undefined;
  #error: string | undefined;
  #lost: LeaseLostError | undefined;
  #uid: string;
  /** Whether this run has said that the network is there. */
  #hasSaid = false;
  /** When the condition is tried again after a failure, in milliseconds; 0: there was none. */
  #conditionRetry = 0;

  constructor(parts: KubeMembershipParts) {
    this.#parts = parts;
    this.#attributes = parts.attributes;
    this.#uid = parts.uid;
  }

  get own(): OwnLease {
    const { nodeName, since, subnets } = this.#parts;
    return { key: nodeName, since, subnets, value: encodeLeaseValue(this.#attributes), expires: false };
  }

  trouble(): LeaseTrouble {
    if (this.#failingSince === undefined) return {};
    return {
      overdueMs: performance.now() - this.#failingSince,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  publish(attributes: LeaseAttributes): void {
    this.#attributes = attributes;
    this.#look();
  }

  /** The data path stands: the Node's network is available. */
  ready(): void {
    this.#isReady = true;
    this.#look();
  }

  async keep(signal: AbortSignal, onPublished: (own: OwnLease) => void): Promise<void> {
    let retry: number = RETRY_MS.first;
    while (!signal.aborted) {
      this.#judgePace();
      const wait = this.#pace.waitMs(performance.now());
      if (wait > 0) await pause(wait, signal);
      this.#dirty = false;
      try {
        const published = await this.#bringUpToDate(signal);
        if (published) onPublished(this.own);
        this.#failingSince = this.#error = undefined;
        retry = RETRY_MS.first;
        await this.#nextLook(this.#conditionRetry || LOOK_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LeaseLostError) throw error;
        this.#failingSince ??= performance.now();
        this.#error = messageOf(error);
        await this.#nextLook(Math.max(retry * (0.5 + Math.random() / 2), retryAfterOf(error)), signal);
        retry = Math.min(retry * 2, RETRY_MS.longest);
      }
    }
  }

  async follow(
    sink: LeaseSink,
    _onConfig: (config: StoredConfig | null) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, annotationPrefix, nodeName, families, version, log, metrics } = this.#parts;
    const feed = new NodeFeed(sink, {
      own: nodeName,
      annotationPrefix,
      families,
      log,
      metrics,
      onOwn: (node) => this.#ownChanged(node),
    });
    this.#follower = new NodeFollower({ client, annotationPrefix }, feed, log, {
      version,
      onError: () => metrics.count(STORE_ERRORS),
      isSameCluster: async (signal) => (await getNode(this.#parts, nodeName, signal)).uid === this.#uid,
    });
    await this.#follower.run(signal);
  }

  health(): FollowHealth {
    const health = this.#follower?.health();
    if (!health) return { connected: false, sinceMs: 0, version: "", resyncs: 0 };
    const { lists, ...rest } = health;
    return { ...rest, resyncs: lists };
  }

  #ownChanged(node: NodeRecord | undefined): void {
    if (!node) {
      this.#parts.log.warn(`Node ${this.#parts.nodeName} is gone; the data path stays, and waits for it`);
    } else {
      this.#lost = this.#judgeSubnets(node);
      this.#uid = node.uid;
      // Most changes are a kubelet's, of what nobody here reads.
      if (!this.#lost && this.#isRight(node)) return;
    }
    this.#look();
  }

  /** Whether a Node, as an event shows it, lacks nothing of ours. */
  #isRight(node: NodeRecord): boolean {
    if (node.networkUnavailable === undefined) return false;
    const { annotationPrefix, setCondition } = this.#parts;
    const wanted = wantedAnnotations(this.#attributes, node, this.#parts);
    if (annotationChanges(wanted, node.annotations, annotationPrefix)) return false;
    return !setCondition || !this.#isReady || saysAvailable(node, this.#hasSaid);
  }

  #look(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  /** Waits until something may have changed, or the time is up. */
  async #nextLook(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (this.#dirty) return;
    const look = new AbortController();
    this.#wake = () => look.abort();
    await pause(milliseconds, AbortSignal.any([signal, look.signal]));
    this.#wake = undefined;
  }

  /** Writes what the Node lacks. @returns Whether annotations were written. */
  async #bringUpToDate(signal: AbortSignal): Promise<boolean> {
    const { client, annotationPrefix, nodeName, setCondition } = this.#parts;
    if (this.#lost) throw this.#lost;
    const node = await getNode(this.#parts, nodeName, signal);
    const lost = this.#judgeSubnets(node);
    if (lost) throw lost;
    const wanted = wantedAnnotations(this.#attributes, node, this.#parts);
    const changes = annotationChanges(wanted, node.annotations, annotationPrefix);
    if (changes) {
      await patchAnnotations(client, nodeName, changes, signal);
      // What is wanted anew is nobody's contest.
      const text = JSON.stringify(wanted);
      if (text === this.#written) this.#pace.wrote(performance.now());
      this.#written = text;
    }
    if (setCondition && this.#isReady) await this.#keepCondition(node, signal);
    return changes !== undefined;
  }

  /** One whose writes are undone each time stays reachable for a part of the time only: somebody has to know. */
  #judgePace(): void {
    const { nodeName, problems } = this.#parts;
    const writes = this.#pace.contested(performance.now());
    if (writes === 0) return problems.clear("node contest", "nobody else changes it any more");
    const what = `annotations or condition of Node ${nodeName} are changed by another program each time`;
    problems.set(
      "node contest",
      `${what}: written ${writes} times, now every 4 s; is there another flannel on it?`,
    );
  }

  /** A condition that can't be written keeps Pods from the Node, but not this host from the network. */
  async #keepCondition(node: NodeRecord, signal: AbortSignal): Promise<void> {
    const { client, nodeName, problems } = this.#parts;
    try {
      if (!saysAvailable(node, this.#hasSaid)) {
        await patchCondition(client, nodeName, signal);
        this.#pace.wrote(performance.now());
      }
      this.#hasSaid = true;
      this.#conditionRetry = 0;
      problems.clear("node condition", "written");
    } catch (error) {
      signal.throwIfAborted();
      const { first, longest } = CONDITION_RETRY_MS;
      this.#conditionRetry = Math.min(longest, Math.max(first, this.#conditionRetry * 2));
      problems.set(
        "node condition",
        `cannot set ${CONDITION.type} of Node ${nodeName} to ${CONDITION.status}, retrying: ${
          messageOf(error)
        }`,
      );
    }
  }

  /** A host can't change the subnet under its running Pods: it ends, and the next start takes the new one. */
  #judgeSubnets(node: NodeRecord): LeaseLostError | undefined {
    const { subnets, nodeName } = this.#parts;
    const now = subnetsOfNode(node);
    // One that was taken away for a moment, as while a Node is recreated, comes back.
    if (typeof now === "string") return undefined;
    for (const family of familiesOf(subnets)) {
      const [had, has] = [subnets[family.name]!, now[family.name]];
      if (!has || samePrefix(had, has)) continue;
      return new LeaseLostError(
        `Node ${nodeName} has podCIDR ${formatPrefix(has)} now, and had ${formatPrefix(had)}: ` +
          "flanneld ends so that the next start takes it; recreate the Pods with addresses of the old one",
      );
    }
    return undefined;
  }
}

/** What is to stand on the Node. Addresses that people set on it go before the host's own. */
export function wantedAnnotations(
  attributes: LeaseAttributes,
  node: NodeRecord,
  { annotationPrefix, problems }: { readonly annotationPrefix: string; readonly problems: ProblemReporter },
): AnnotationValues {
  const faults: string[] = [];
  const overwrite = (family: "ipv4" | "ipv6", name: string) => {
    const text = node.annotations[annotationPrefix + name]?.trim();
    if (!text || tryParseIp(text)?.family.name === family) return text;
    faults.push(`${annotationPrefix}${name} of Node ${node.name} isn't an address: ${JSON.stringify(text)}`);
    return undefined;
  };
  const wanted = annotationsOf(attributes, {
    ipv4: overwrite("ipv4", ANNOTATIONS.publicIpOverwrite),
    ipv6: overwrite("ipv6", ANNOTATIONS.publicIpv6Overwrite),
  });
  if (faults.length === 0) problems.clear("public-ip-overwrite");
  else problems.set("public-ip-overwrite", `${faults.join("; ")}; the host's own address is published`);
  return wanted;
}

/**
 * Whether the condition NetworkUnavailable needs no word of ours.
 *
 * @param hasSaid It was said in this run: now only the status counts, whoever wrote it. The first word is ours, as
 * the original's, for who reads reasons.
 */
function saysAvailable({ networkUnavailable: condition }: NodeRecord, hasSaid: boolean): boolean {
  return condition?.status === "False" && (hasSaid || condition.reason === CONDITION.reason);
}

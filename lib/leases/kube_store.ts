/**
 * Leases in Kubernetes: the cluster assigns each Node its podCIDRs, and the Nodes' annotations say the rest.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { AccessError, type ApiAccess } from "../kube/access.ts";
import { ApiClient, retryAfterOf } from "../kube/client.ts";
import { inClusterAccess } from "../kube/in_cluster.ts";
import { kubeconfigAccess } from "../kube/kubeconfig.ts";
import { describeProxy, proxyFromEnvironment } from "../kube/proxy.ts";
import { parseServer } from "../kube/access.ts";
import { getNode, listNodes, type NodeRecord } from "../kube/nodes.ts";
import type { FamilyConfig } from "../config/types.ts";
import type { PerFamily } from "../net/family.ts";
import { type Ip, tryParseIp } from "../net/ip.ts";
import { containsPrefix, formatPrefix, type Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { pause } from "../time/pause.ts";
import type { Joined, JoinRequest, KnownHost, LeavingLease, SubnetManager } from "./contract.ts";
import type { InspectedLeases } from "./inspect.ts";
import { annotationChanges, annotationPrefix, ANNOTATIONS } from "./kube/annotations.ts";
import { inspectNodes } from "./kube/inspect.ts";
import { KubeMembership, wantedAnnotations } from "./kube/membership.ts";
import { readNetConfig } from "./kube/net_config.ts";
import { patchAnnotations } from "./kube/node_api.ts";
import { NodeFeed, sinceOf } from "./kube/node_feed.ts";
import { attributesOfNode, subnetsOfNode } from "./kube/node_lease.ts";
import { findNodeName } from "./kube/node_name.ts";
import { type CallOptions, type StoredConfig, StoreError } from "./types.ts";

/** Wait after a failure at start: doubled up to the second, in milliseconds. */
const RETRY_MS = { first: 250, longest: 5_000 } as const;

/** What the options say. */
export interface KubeOptions {
  /** -kube-api-url; empty: that of the kubeconfig or the Pod. */
  readonly apiUrl: string;
  /** -kubeconfig-file; empty: none. */
  readonly kubeconfigFile: string;
  /** -kube-annotation-prefix. */
  readonly annotationPrefix: string;
  readonly netConfigPath: string;
  /** -set-node-network-unavailable. */
  readonly setCondition: boolean;
  /** The process's environment: NODE_NAME and its kind. */
  readonly env: (name: string) => string | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Opens the store; nothing is connected yet. @throws {StoreError} If an option or a file can't be used. */
export async function openKubeStore(options: KubeOptions): Promise<SubnetManager> {
  checkQueueDepth(options.env);
  try {
    return new KubeManager(await findAccess(options), annotationPrefix(options.annotationPrefix), options);
  } catch (error) {
    if (error instanceof RangeError) {
      throw new StoreError(
        `-kube-annotation-prefix ${JSON.stringify(options.annotationPrefix)}: ${error.message}`,
      );
    }
    if (error instanceof AccessError) throw new StoreError(error.message, { cause: error });
    throw error;
  }
}

/**
 * The original's queue of leases has this many places. Here is none that can fill: the variable is checked only, so that
 * a mistyped one doesn't wait for the way back to the original. CONT_WHEN_CACHE_NOT_READY can have any value there: all
 * but "true" mean no.
 */
function checkQueueDepth(env: KubeOptions["env"]): void {
  const depth = env("EVENT_QUEUE_DEPTH");
  if (!depth || /^[+-]?\d{1,18}$/.test(depth)) return;
  throw new StoreError(
    `EVENT_QUEUE_DEPTH must be an integer, not ${
      JSON.stringify(depth.slice(0, 80))
    }; flanneld has no such queue: ` +
      "it can be removed",
  );
}

/** The access that the options and the environment give, with the proxy on the way. */
async function findAccess(options: KubeOptions): Promise<ApiAccess> {
  const access = await findServer(options);
  const proxy = access.proxy ?? proxyFromEnvironment(access.server, options.env);
  if (!proxy) return access;
  options.log.info(`The API server is reached through the proxy ${describeProxy(proxy)}`);
  return { ...access, proxy };
}

async function findServer({ apiUrl, kubeconfigFile, env }: KubeOptions): Promise<ApiAccess> {
  if (kubeconfigFile !== "") return await kubeconfigAccess(kubeconfigFile, apiUrl);
  if (apiUrl !== "") {
    return {
      server: parseServer(apiUrl, "-kube-api-url"),
      source: "-kube-api-url",
      insecure: false,
      tls: () => Promise.resolve({}),
      authorization: () => Promise.resolve(undefined),
    };
  }
  const access = inClusterAccess(env);
  if (access) return access;
  throw new StoreError(
    "Cannot find the API server: this isn't a Pod (KUBERNETES_SERVICE_HOST is not set); " +
      "set -kubeconfig-file, or -kube-api-url",
  );
}

class KubeManager implements SubnetManager {
  readonly keysAreHosts = true;
  readonly #client: ApiClient;
  readonly #prefix: string;
  readonly #options: KubeOptions;
  #nodeName: Promise<string> | undefined;
  #listing: Promise<{ nodes: NodeRecord[]; version: string }> | undefined;

  constructor(access: ApiAccess, prefix: string, options: KubeOptions) {
    this.#client = new ApiClient(access);
    this.#prefix = prefix;
    this.#options = options;
  }

  get description(): string {
    return `Kubernetes ${this.#client.description}`;
  }

  dropConnections(): void {
    this.#client.dropConnection(new Error("the host's address changed"));
  }

  readConfig(): Promise<StoredConfig | undefined> {
    return readNetConfig(this.#options.netConfigPath);
  }

  async self({ signal = new AbortController().signal }: CallOptions = {}): Promise<KnownHost> {
    // The list takes longer than all else: it is under way from here on.
    this.#listing = this.#list(signal);
    this.#listing.catch(() => {});
    const node = await this.#untilAnswered("own Node", signal, () => this.#readNode(signal));
    return {
      publicIps: {
        ...ipOf("ipv4", node.annotations[this.#prefix + ANNOTATIONS.nodePublicIp]),
        ...ipOf("ipv6", node.annotations[this.#prefix + ANNOTATIONS.nodePublicIpv6]),
      },
      attributes: attributesOfNode(node, this.#prefix),
    };
  }

  async join({ config, attributes, signal }: JoinRequest): Promise<Joined> {
    const { log, metrics, problems, setCondition } = this.#options;
    const nodeName = await this.#untilAnswered("own Node", signal, () => this.#name(signal));
    const { node, subnets } = await this.#assigned(config, signal);
    const source = { client: this.#client, annotationPrefix: this.#prefix };
    const wanted = wantedAnnotations(attributes, node, { annotationPrefix: this.#prefix, problems });
    const changes = annotationChanges(wanted, node.annotations, this.#prefix);
    const [{ nodes, version }] = await Promise.all([
      this.#untilAnswered("list of Nodes", signal, () => this.#listed(signal)),
      changes &&
      this.#untilAnswered(
        "annotations",
        signal,
        () => patchAnnotations(this.#client, nodeName, changes, signal),
      ),
    ]);
    const since = sinceOf(node);
    const families = config.map(({ family }) => family);
    const membership = new KubeMembership({
      ...source,
      ...{
        nodeName,
        uid: node.uid,
        families,
        subnets,
        since,
        attributes,
        setCondition,
        version,
        log,
        metrics,
        problems,
      },
    });
    const feedOptions = {
      own: nodeName,
      annotationPrefix: this.#prefix,
      families,
      log,
      metrics,
      onOwn: () => {},
    };
    return { membership, origin: "assigned", first: (sink) => new NodeFeed(sink, feedOptions).list(nodes) };
  }

  async inspect(config: readonly FamilyConfig[], options: CallOptions = {}): Promise<InspectedLeases> {
    const { signal = new AbortController().signal, timeoutMs } = options;
    const limit = timeoutMs === undefined
      ? signal
      : AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const { nodes, version } = await this.#list(limit);
    const families = config.map(({ family }) => family);
    return { revision: version, leases: inspectNodes(nodes, this.#prefix, families) };
  }

  /** Nothing is given back: the subnets are the cluster's. */
  leasesOf(): Promise<readonly LeavingLease[]> {
    return Promise.resolve([]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
    return Promise.resolve();
  }

  /** The name is found once; what failed is tried again by the next call. */
  async #name(signal: AbortSignal): Promise<string> {
    this.#nodeName ??= findNodeName(this.#client, this.#options.env, signal);
    try {
      return await this.#nodeName;
    } catch (error) {
      this.#nodeName = undefined;
      throw error;
    }
  }

  async #readNode(signal: AbortSignal): Promise<NodeRecord> {
    const source = { client: this.#client, annotationPrefix: this.#prefix };
    return await getNode(source, await this.#name(signal), signal);
  }

  /** The list that {@link self} began, or another one where that failed. */
  async #listed(signal: AbortSignal): Promise<{ nodes: NodeRecord[]; version: string }> {
    const begun = this.#listing ?? this.#list(signal);
    this.#listing = undefined;
    return await begun;
  }

  async #list(signal: AbortSignal): Promise<{ nodes: NodeRecord[]; version: string }> {
    const nodes: NodeRecord[] = [];
    const source = { client: this.#client, annotationPrefix: this.#prefix };
    const version = await listNodes(source, (node) => nodes.push(node), signal);
    return { nodes, version };
  }

  /** Waits until the Node has a podCIDR of each family. @throws {StoreError} If one lies outside of the network. */
  async #assigned(
    config: readonly FamilyConfig[],
    signal: AbortSignal,
  ): Promise<{ node: NodeRecord; subnets: PerFamily<Prefix> }> {
    return await this.#untilAnswered("podCIDR", signal, async () => {
      const node = await this.#readNode(signal);
      const all = subnetsOfNode(node);
      if (typeof all === "string") throw new StoreError(`Node ${node.name} can't be used: ${all}`);
      const subnets: { -readonly [name in keyof PerFamily<Prefix>]: Prefix } = {};
      for (const { family, network } of config) {
        const subnet = all[family.name];
        if (!subnet) {
          throw new Error(
            `Node ${node.name} has no ${family.label} podCIDR yet; the cluster's controller manager assigns them ` +
              "(--allocate-node-cidrs, --cluster-cidr)",
          );
        }
        if (!containsPrefix(network, subnet)) {
          throw new StoreError(
            `Node ${node.name} has podCIDR ${formatPrefix(subnet)}, which is not in the network ` +
              `${formatPrefix(network)} of ${this.#options.netConfigPath}: make one fit the other`,
          );
        }
        subnets[family.name] = subnet;
      }
      return { node, subnets };
    });
  }

  /** Tries until it succeeds; says once why it waits. @throws {StoreError} For what waiting doesn't change. */
  async #untilAnswered<T>(what: string, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    const { log, problems } = this.#options;
    const key = `kubernetes ${what}`;
    let retry: number = RETRY_MS.first, last = "";
    for (;;) {
      try {
        const value = await attempt();
        if (last !== "") problems.clear(key);
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof StoreError) throw error;
        const message = messageOf(error);
        if (message !== last) log.warn(`Waiting for the ${what}: ${message}`);
        last = message;
        problems.wait(key, `waiting for the ${what}: ${message}`);
        await pause(Math.max(retry * (0.5 + Math.random() / 2), retryAfterOf(error)), signal);
        signal.throwIfAborted();
        retry = Math.min(retry * 2, RETRY_MS.longest);
      }
    }
  }
}

function ipOf(name: "ipv4" | "ipv6", text: string | undefined): PerFamily<Ip> {
  const ip = text === undefined ? undefined : tryParseIp(text.trim());
  return ip?.family.name === name ? { [name]: ip } : {};
}

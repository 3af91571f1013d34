/**
 * The routes of a Compute Engine network: own subnet → this instance.
 *
 * @module
 */
import { familiesOf } from "../../lib/net/family.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, type Prefix, samePrefix } from "../../lib/net/prefix.ts";
import type { Log } from "../../lib/observe/types.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/backend/types.ts";
import { Compute, type GceInstance, type GceRoute } from "./compute.ts";
import { GceMetadata } from "./metadata.ts";
import { lastSegment, routeNames, sameInstance } from "./names.ts";

/** The priority of flannel's routes; a lower number wins over them. */
const PRIORITY = 1000;
/** Warnings on a route whose packets go nowhere. */
const DEAD_HOP = new Set([
  "NEXT_HOP_INSTANCE_NOT_FOUND",
  "NEXT_HOP_NOT_RUNNING",
  "NEXT_HOP_ADDRESS_NOT_ASSIGNED",
]);

/** What is known of this host. */
interface Self extends Identity {
  readonly project: string;
  /** The network's name. */
  readonly network: string;
  /** The network as new routes name it. */
  readonly networkPath: string;
  /** `projects/P/zones/Z/instances/I`. */
  readonly instancePath: string;
  readonly addresses: ExternalInterface["addresses"];
}

/** The routes of one network; the table's name is the network's. */
export class GceRouteTable implements RouteTable {
  readonly cloud = "gce";
  readonly #edges: CloudEdges;
  readonly #log: Log;
  readonly #metadata: GceMetadata;
  #compute: { readonly project: string; readonly api: Compute } | undefined;
  #self: Self | undefined;
  /** Which network each name of the project belongs to, and to which range, as of the last listing. */
  #names = new Map<string, string>();
  /** One id for all tries of one insertion: the API then makes it once. */
  #requestIds = new Map<string, string>();

  constructor(edges: CloudEdges, log: Log) {
    this.#edges = edges;
    this.#log = log;
    this.#metadata = new GceMetadata(edges.env);
  }

  async identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const project = await this.#metadata.read("project/project-id", signal);
    const name = await this.#metadata.read("instance/name", signal);
    const zone = lastSegment(await this.#metadata.read("instance/zone", signal));
    if (this.#compute?.project !== project) {
      const { env, clock } = this.#edges;
      this.#compute = { project, api: new Compute(project, this.#metadata, env, clock) };
    }
    const instance = await this.#compute.api.instance(zone, name, signal);
    checkForwarding(instance, name, zone);
    const networkPath = networkOf(instance, external, name) ??
      await this.#metadata.read("instance/network-interfaces/0/network", signal);
    const network = lastSegment(networkPath);
    this.#self = {
      instance: name,
      hop: `${name} in ${zone}`,
      tables: [network],
      project,
      network,
      networkPath: `projects/${project}/global/networks/${network}`,
      instancePath: `projects/${project}/zones/${zone}/instances/${name}`,
      addresses: external.addresses,
    };
    return this.#self;
  }

  async list(signal: AbortSignal): Promise<readonly CloudRoute[]> {
    const routes = await this.#api.routes(signal);
    this.#names = new Map(routes.map((route) => [route.name ?? "", place(route)]));
    return routes.flatMap((route) => this.#read(route));
  }

  #read(route: GceRoute): CloudRoute[] {
    const { network, instancePath, addresses } = this.#known;
    const destination = tryParsePrefix(route.destRange);
    if (!route.name || !destination || lastSegment(route.network) !== network) return [];
    // Routes for tagged instances only, and those that yield to flannel's, rival nobody.
    if ((route.tags ?? []).length > 0 || (route.priority ?? PRIORITY) > PRIORITY) return [];
    const toInstance = sameInstance(route.nextHopInstance, instancePath);
    const ip = route.nextHopIp ? tryParseIp(route.nextHopIp) : undefined;
    const toAddress = ip !== undefined && sameIp(ip, addresses[ip.family.name]);
    const codes = (route.warnings ?? []).map((warning) => warning.code ?? "");
    return [{
      table: network,
      destination,
      id: route.name,
      hop: route.nextHopInstance ? lastSegment(route.nextHopInstance) : route.nextHopIp ?? "elsewhere",
      own: toInstance || toAddress,
      right: toInstance,
      blackhole: codes.some((code) => DEAD_HOP.has(code)),
      // What leads to gateways, tunnels and peerings is the network's own, not an instance's.
      removable: Boolean(route.nextHopInstance || route.nextHopIp),
    }];
  }

  async put(
    _table: string,
    destination: Prefix,
    existing: CloudRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const name = this.#nameFor(destination);
    // There is no call that replaces. A rival under another name is removed once ours is there.
    if (existing?.id === name) await this.#api.deleteRoute(name, signal);
    await this.#insert(name, destination, signal);
    const codes = ((await this.#api.route(name, signal))?.warnings ?? []).map((warning) => warning.code);
    if (codes.length > 0) {
      this.#log.warn("The new route has warnings", { route: name, codes: codes.join(",") });
    }
  }

  /** A name that is free, or that of the subnet's own route. */
  #nameFor(destination: Prefix): string {
    const { network } = this.#known;
    const here = `${network} ${formatPrefix(destination)}`;
    const names = routeNames(destination, network);
    const name = names.find((one) => (this.#names.get(one) ?? here) === here);
    if (name) return name;
    throw new CloudError(
      "config",
      `The names ${names.join(" and ")} are taken by routes of other networks or ranges in project ` +
        `${this.#known.project}: rename those routes`,
    );
  }

  async #insert(name: string, destination: Prefix, signal: AbortSignal): Promise<void> {
    const { networkPath, instancePath } = this.#known;
    const requestId = this.#requestIds.get(name) ?? crypto.randomUUID();
    this.#requestIds.set(name, requestId);
    const route = {
      name,
      destRange: formatPrefix(destination),
      network: networkPath,
      nextHopInstance: instancePath,
      priority: PRIORITY,
      tags: [],
    };
    try {
      await this.#api.insertRoute(route, requestId, signal);
      this.#requestIds.delete(name);
    } catch (error) {
      // After an answer that leaves it open, the next try is the same insertion; after any other, a new one.
      if (!(error instanceof CloudError) || error.kind !== "unavailable") this.#requestIds.delete(name);
      if (error instanceof CloudError && error.kind === "quota") throw await this.#quotaError(error, signal);
      if (!hasCode(error, "alreadyExists", "RESOURCE_ALREADY_EXISTS")) throw error;
      const there = await this.#api.route(name, signal);
      if (!there || !this.#isOurs(there, destination)) throw error;
    }
  }

  #isOurs(route: GceRoute, destination: Prefix): boolean {
    return this.#read(route).some((one) => one.right && samePrefix(one.destination, destination));
  }

  async remove(route: CloudRoute, signal: AbortSignal): Promise<void> {
    await this.#api.deleteRoute(route.id, signal);
  }

  async limits(signal: AbortSignal): Promise<readonly TableUse[]> {
    try {
      const quota = await this.#api.routeQuota(signal);
      return quota ? [{ table: this.#known.network, ...quota }] : [];
    } catch (error) {
      // Knowing the quota is a courtesy: without the permission, the insertion itself tells.
      if (!(error instanceof CloudError) || error.kind !== "denied") throw error;
      this.#log.debug(error.message);
      return [];
    }
  }

  async #quotaError(error: CloudError, signal: AbortSignal): Promise<CloudError> {
    const [use] = await this.limits(signal).catch(() => []);
    const used = use?.used ?? this.#names.size;
    return this.full({ table: this.#known.network, ...use, used }, error.message);
  }

  full({ used, limit }: TableUse, said: string): CloudError {
    const { project } = this.#known;
    return fullTableError({
      what: `project ${project}`,
      used,
      limit,
      said,
      raise: `IAM & Admin, Quotas, "Routes" of the Compute Engine API, in project ${project}`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }

  get #api(): Compute {
    if (!this.#compute) throw new CloudError("conflict", "The project isn't known yet");
    return this.#compute.api;
  }
}

/** Without IP forwarding the network drops what a container sends or gets. Absent means false. */
function checkForwarding(instance: GceInstance, name: string, zone: string): void {
  if (instance.canIpForward === true) return;
  throw new CloudError(
    "config",
    `Instance ${name} may not forward packets: make it with gcloud compute instances create ${name} ` +
      `--zone ${zone} --can-ip-forward --scopes compute-rw, or change it: gcloud compute instances export ` +
      `${name} --zone ${zone} --destination ${name}.yaml, set canIpForward: true there, gcloud compute ` +
      `instances update-from-file ${name} --zone ${zone} --source ${name}.yaml ` +
      `--most-disruptive-allowed-action RESTART`,
  );
}

/** The network of the instance's interface with an address of ours; undefined if the answer doesn't say. */
function networkOf(instance: GceInstance, external: ExternalInterface, name: string): string | undefined {
  const cards = instance.networkInterfaces ?? [];
  const ours = familiesOf(external.addresses).map((family) => external.addresses[family.name]!);
  const texts = (card: typeof cards[number]) =>
    [card.networkIP, card.ipv6Address].filter((text): text is string => Boolean(text));
  const found = cards.find((card) =>
    texts(card).some((text) => ours.some((ip) => sameIp(ip, tryParseIp(text))))
  );
  if (found) return found.network ?? undefined;
  if (cards.length === 0 || (cards.length === 1 && texts(cards[0]!).length === 0)) {
    return cards[0]?.network ?? undefined;
  }
  throw new CloudError(
    "config",
    `No interface of instance ${name} has an address of ${external.name} (${
      ours.map(formatIp).join(", ")
    }); ` +
      `it has ${cards.flatMap(texts).join(", ")}: choose the right interface with -iface`,
  );
}

function tryParsePrefix(text: string | null | undefined): Prefix | undefined {
  try {
    return text ? parsePrefix(text) : undefined;
  } catch {
    return undefined;
  }
}

/** Where a route belongs: network and range. */
function place(route: GceRoute): string {
  const prefix = tryParsePrefix(route.destRange);
  return `${lastSegment(route.network)} ${prefix ? formatPrefix(prefix) : route.destRange}`;
}

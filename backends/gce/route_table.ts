/**
 * The routes of a Compute Engine network: own subnet → this instance.
 *
 * @module
 */
import { messageOf } from "../../lib/errors.ts";
import { formatIp, sameIp, tryParseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, type Prefix, samePrefix } from "../../lib/net/prefix.ts";
import type { Log } from "../../lib/observe/types.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { Compute, type GceRoute, type Operation } from "./compute.ts";
import { checkForwarding, networkOf } from "./instance.ts";
import { GceMetadata } from "./metadata.ts";
import { lastSegment, projectOf, routeNames, sameInstance } from "./names.ts";

/** The priority of flannel's routes; a lower number wins over them. */
const PRIORITY = 1000;
/** Warnings on a route whose packets go nowhere. */
const DEAD_HOP = new Set([
  "NEXT_HOP_INSTANCE_NOT_FOUND",
  "NEXT_HOP_NOT_RUNNING",
  "NEXT_HOP_ADDRESS_NOT_ASSIGNED",
]);

/** What the metadata server says of this host: it stays as long as the host runs. */
interface Place {
  readonly project: string;
  readonly zone: string;
  readonly name: string;
  readonly compute: Compute;
}

/** What Compute Engine said of this host last. */
interface Self extends Identity {
  /** The network's name and its project: not this instance's own one in a Shared VPC. */
  readonly network: string;
  readonly project: string;
  readonly compute: Compute;
  readonly addresses: ExternalInterface["addresses"];
  /** `projects/P/zones/Z/instances/I`; undefined where routes can't name it, as they are in another project. */
  readonly instancePath: string | undefined;
}

/** The routes of one network; the table's name is the network's. */
export class GceRouteTable implements RouteTable {
  readonly cloud = "gce";
  readonly #edges: CloudEdges;
  readonly #log: Log;
  readonly #metadata: GceMetadata;
  #place: Place | undefined;
  #self: Self | undefined;
  /** Which network each name of the project belongs to, and to which range, as of the last listing. */
  #names = new Map<string, string>();
  /** Ids of insertions that got no answer: the API makes each of them once. */
  #requestIds = new Map<string, string>();

  constructor(edges: CloudEdges, log: Log) {
    this.#edges = edges;
    this.#log = log;
    this.#metadata = new GceMetadata(edges.env);
  }

  async instance(signal: AbortSignal): Promise<string> {
    return (await this.#locate(signal)).name;
  }

  async #locate(signal: AbortSignal): Promise<Place> {
    if (this.#place) return this.#place;
    const project = await this.#metadata.read("project/project-id", signal);
    const name = await this.#metadata.read("instance/name", signal);
    const zone = lastSegment(await this.#metadata.read("instance/zone", signal));
    return this.#place = { project, zone, name, compute: this.#computeOf(project) };
  }

  #computeOf(project: string): Compute {
    return new Compute(project, this.#metadata, this.#edges.env, this.#edges.clock);
  }

  async identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const place = await this.#locate(signal);
    const { project, zone, name } = place;
    const instance = await place.compute.instance(zone, name, signal);
    checkForwarding(instance, name, zone);
    const networkPath = networkOf(instance, external, name) ??
      await this.#metadata.read("instance/network-interfaces/0/network", signal);
    const network = lastSegment(networkPath);
    const home = await this.#networkProject(networkPath, project, signal);
    const known = this.#self?.project === home ? this.#self.compute : undefined;
    this.#self = {
      instance: name,
      hop: `${name} in ${zone}`,
      tables: [home === project ? network : `${home}/${network}`],
      network,
      project: home,
      compute: home === project ? place.compute : known ?? this.#computeOf(home),
      addresses: external.addresses,
      instancePath: home === project ? `projects/${project}/zones/${zone}/instances/${name}` : undefined,
    };
    return this.#self;
  }

  /** The project that holds the network, and so its routes: in a Shared VPC the host project. */
  async #networkProject(networkPath: string, project: string, signal: AbortSignal): Promise<string> {
    const named = projectOf(networkPath) ?? project;
    if (named === project || !/^\d+$/.test(named)) return named;
    // The metadata server names projects by number.
    const number = await this.#metadata.read("project/numeric-project-id", signal).catch((error) => {
      if (hasCode(error, "404")) return named;
      throw error;
    });
    return named === number ? project : named;
  }

  async list(signal: AbortSignal): Promise<readonly CloudRoute[]> {
    const routes = await this.#known.compute.routes(signal);
    this.#names = new Map(routes.map((route) => [route.name ?? "", placeOf(route)]));
    // An insertion whose route shows needs no other try.
    for (const name of this.#requestIds.keys()) if (this.#names.has(name)) this.#requestIds.delete(name);
    return routes.flatMap((route) => this.#read(route));
  }

  #read(route: GceRoute): CloudRoute[] {
    const { network, tables: [table], instancePath, addresses } = this.#known;
    const destination = tryParsePrefix(route.destRange);
    if (!route.name || !destination || lastSegment(route.network) !== network) return [];
    const takesAll = (route.tags ?? []).length === 0 && (route.priority ?? PRIORITY) <= PRIORITY;
    // Routes for tagged instances only, and those that yield to flannel's, rival nobody. But a name of ours that
    // stands on one of them keeps ours from being made.
    if (!takesAll && !routeNames(destination, network).includes(route.name)) return [];
    const toInstance = instancePath !== undefined && sameInstance(route.nextHopInstance, instancePath);
    const ip = route.nextHopIp ? tryParseIp(route.nextHopIp) : undefined;
    const toAddress = ip !== undefined && sameIp(ip, addresses[ip.family.name]);
    const codes = (route.warnings ?? []).map((warning) => warning.code ?? "");
    return [{
      table: table!,
      destination,
      id: route.name,
      hop: route.nextHopInstance ? lastSegment(route.nextHopInstance) : route.nextHopIp ?? "elsewhere",
      own: toInstance || toAddress,
      upToDate: (toInstance || toAddress) && takesAll,
      blackhole: codes.some((code) => DEAD_HOP.has(code)),
      // What leads to gateways, tunnels and peerings is the network's own, not an instance's.
      removable: Boolean(route.nextHopInstance || route.nextHopIp),
    }];
  }

  async put(
    _table: string,
    destination: Prefix,
    _existing: CloudRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { compute } = this.#known;
    const name = this.#nameFor(destination);
    // There is no call that replaces. A rival under another name is removed once ours is there.
    if (this.#names.has(name)) await compute.deleteRoute(name, signal);
    await this.#insert(name, destination, signal);
    await this.#logWarnings(name, signal);
  }

  async #logWarnings(name: string, signal: AbortSignal): Promise<void> {
    try {
      const route = await this.#known.compute.route(name, signal);
      const codes = (route?.warnings ?? []).map((warning) => warning.code);
      if (codes.length > 0) {
        this.#log.warn("The new route has warnings", { route: name, codes: codes.join(",") });
      }
    } catch (error) {
      // The next listing shows the route; only its warnings are missing.
      signal.throwIfAborted();
      this.#log.info("Cannot read the new route's warnings", { route: name, reason: messageOf(error) });
    }
  }

  /** A name that is free, or that of the subnet's own route. */
  #nameFor(destination: Prefix): string {
    const { network, project } = this.#known;
    const here = `${network} ${formatPrefix(destination)}`;
    const names = routeNames(destination, network);
    const name = names.find((one) => (this.#names.get(one) ?? here) === here);
    if (name) return name;
    throw new CloudError(
      "config",
      `The names ${names.join(" and ")} are taken by routes of other networks or ranges in project ` +
        `${project}: rename those routes`,
    );
  }

  async #insert(name: string, destination: Prefix, signal: AbortSignal): Promise<void> {
    const { compute, project, network } = this.#known;
    const route = {
      name,
      destRange: formatPrefix(destination),
      network: `projects/${project}/global/networks/${network}`,
      ...this.#hopFor(destination),
      priority: PRIORITY,
      tags: [],
    };
    try {
      const operation = await this.#beginInsert(name, route, signal);
      await compute.finish(operation, signal);
    } catch (error) {
      if (error instanceof CloudError && error.kind === "quota") throw await this.#quotaError(error, signal);
      if (!hasCode(error, "alreadyExists", "RESOURCE_ALREADY_EXISTS")) throw error;
      const there = await compute.route(name, signal);
      if (!there || !this.#isOurs(there, destination)) throw error;
    }
  }

  /** Only an insertion without an answer is the same one at the next try: whatever is answered ends it. */
  async #beginInsert(name: string, route: GceRoute, signal: AbortSignal): Promise<Operation> {
    const requestId = this.#requestIds.get(name) ?? crypto.randomUUID();
    this.#requestIds.set(name, requestId);
    try {
      const operation = await this.#known.compute.insertRoute(route, requestId, signal);
      this.#requestIds.delete(name);
      return operation;
    } catch (error) {
      const open = error instanceof CloudError && error.kind === "unavailable";
      if (!open) this.#requestIds.delete(name);
      throw error;
    }
  }

  /** A route can name instances of its own project only; others it reaches by their address. */
  #hopFor(destination: Prefix): { nextHopInstance: string } | { nextHopIp: string } {
    const { instancePath, addresses, instance } = this.#known;
    if (instancePath !== undefined) return { nextHopInstance: instancePath };
    const address = addresses[destination.family.name];
    if (address) return { nextHopIp: formatIp(address) };
    throw new CloudError(
      "config",
      `${instance} has no ${destination.family.name} address for the route ${formatPrefix(destination)}: ` +
        `in a Shared VPC a route leads to an address`,
    );
  }

  #isOurs(route: GceRoute, destination: Prefix): boolean {
    return this.#read(route).some((one) => one.upToDate && samePrefix(one.destination, destination));
  }

  async remove(route: CloudRoute, signal: AbortSignal): Promise<void> {
    await this.#known.compute.deleteRoute(route.id, signal);
  }

  async limits(signal: AbortSignal): Promise<readonly TableUse[]> {
    const { compute, tables: [table] } = this.#known;
    const quota = await compute.routeQuota(signal);
    return quota ? [{ table: table!, ...quota }] : [];
  }

  async #quotaError(error: CloudError, signal: AbortSignal): Promise<CloudError> {
    const [use] = await this.limits(signal).catch(() => []);
    const used = use?.used ?? this.#names.size;
    return this.full({ table: this.#known.network, ...use, used }, error.message);
  }

  full({ used, limit }: TableUse, reply: string): CloudError {
    const { project } = this.#known;
    return fullTableError({
      what: `project ${project}`,
      used,
      limit,
      reply,
      raise: `IAM & Admin, Quotas, "Routes" of the Compute Engine API, in project ${project}`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }
}

function tryParsePrefix(text: string | null | undefined): Prefix | undefined {
  try {
    return text ? parsePrefix(text) : undefined;
  } catch {
    return undefined;
  }
}

/** Where a route belongs: network and range. */
function placeOf(route: GceRoute): string {
  const prefix = tryParsePrefix(route.destRange);
  return `${lastSegment(route.network)} ${prefix ? formatPrefix(prefix) : route.destRange}`;
}

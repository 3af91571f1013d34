/**
 * The route table of a VPC's router or of the instance's switch: own subnet → this instance.
 *
 * @module
 */
import { formatPrefix, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode, unknownTableError } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { DUPLICATES, GONE } from "./errors.ts";
import { type AliHop, findHop } from "./hop.ts";
import { AliMetadata } from "./metadata.ts";
import type { AliVpcOptions } from "./options.ts";
import { type AliEntry, type AliTable, Vpc } from "./vpc.ts";

/** How often a change under way is looked at, and for how long; milliseconds. */
const POLL_MS = 1_000;
const POLL_LIMIT_MS = 60_000;

/** States in which an entry works and can be changed; the API's documents use both words. */
const SETTLED = new Set(["Available", "Created"]);

/** An entry with what a deletion needs. */
export interface AliRoute extends CloudRoute {
  readonly cidr: string;
  /** Id of its next hop; empty where the answer has none. */
  readonly hopId: string;
  readonly status: string;
}

/** What the metadata server says of this host: it stays as long as the host runs. */
interface Place {
  readonly region: string;
  readonly instance: string;
  readonly vpcId: string;
  readonly api: Vpc;
}

/** Which hop and which tables are this host's. */
interface Self extends Identity {
  readonly target: AliHop;
}

/** The tables that route for this instance. */
export class AliRouteTable implements RouteTable<AliRoute> {
  readonly cloud = "ali-vpc";
  readonly #options: AliVpcOptions;
  readonly #edges: CloudEdges;
  readonly #metadata: AliMetadata;
  #place: Place | undefined;
  #self: Self | undefined;
  /** Custom entries of each table, as of the last listing. */
  #used = new Map<string, number>();
  /** Tokens of creations that got no answer: the API makes each of them once. */
  #clientTokens = new Map<string, string>();

  constructor(options: AliVpcOptions, edges: CloudEdges, metadataBase: string) {
    this.#options = options;
    this.#edges = edges;
    this.#metadata = new AliMetadata(metadataBase, edges.clock.now);
  }

  async instance(signal: AbortSignal): Promise<string> {
    return (await this.#locate(signal)).instance;
  }

  async #locate(signal: AbortSignal): Promise<Place> {
    if (this.#place) return this.#place;
    const region = await this.#metadata.require("region-id", signal);
    const instance = await this.#metadata.require("instance-id", signal);
    const vpcId = await this.#metadata.require("vpc-id", signal);
    const { env, clock } = this.#edges;
    const source = { options: this.#options, env, metadata: this.#metadata, now: clock.date };
    return this.#place = { region, instance, vpcId, api: new Vpc(region, source) };
  }

  async identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const { instance, vpcId, api } = await this.#locate(signal);
    const target = await findHop(this.#metadata, instance, external, signal);
    const tables = chooseTables(await api.tables(vpcId, signal), this.#options, target.vswitch, vpcId);
    const hop = target.id === instance ? instance : `${target.id} of ${instance}`;
    this.#self = { instance, hop, tables, target };
    return this.#self;
  }

  async list(signal: AbortSignal): Promise<readonly AliRoute[]> {
    const lists: AliRoute[][] = [];
    for (const table of this.#known.tables) lists.push(await this.#listTable(table, signal));
    return lists.flat();
  }

  async #listTable(table: string, signal: AbortSignal): Promise<AliRoute[]> {
    const entries = await this.#api.entries(table, signal);
    this.#used.set(table, entries.length);
    const routes = entries.flatMap((entry) => readEntry(entry, table, this.#known.target));
    // A creation whose entry shows needs no other try.
    for (const { cidr } of routes) this.#clientTokens.delete(tokenKey(table, cidr));
    return routes;
  }

  async put(
    table: string,
    destination: Prefix,
    existing: AliRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const cidr = formatPrefix(destination);
    if (existing && !existing.removable) {
      // Ours and on its way: to be waited for. Anybody else's can't be touched until it is done.
      if (existing.own) return await this.#waitUntil(table, cidr, isUpToDate, signal);
      throw new CloudError("conflict", `A change of ${cidr} in ${table} is under way (${existing.status})`);
    }
    if (existing) await this.remove(existing, signal);
    await this.#create(table, cidr, signal);
    await this.#waitUntil(table, cidr, isUpToDate, signal);
  }

  async #create(table: string, cidr: string, signal: AbortSignal): Promise<void> {
    const key = tokenKey(table, cidr);
    const clientToken = this.#clientTokens.get(key) ?? crypto.randomUUID();
    this.#clientTokens.set(key, clientToken);
    const { type, id } = this.#known.target;
    try {
      await this.#api.create({ table, cidr, hopType: type, hop: id }, clientToken, signal);
      this.#clientTokens.delete(key);
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      // Only a creation without an answer is the same one at the next try.
      const open = error.kind === "unavailable" || hasCode(error, "LastTokenProcessing");
      if (!open) this.#clientTokens.delete(key);
      if (error.kind === "quota") throw this.full({ table, used: this.#used.get(table) ?? 0 }, error.message);
      if (!hasCode(error, ...DUPLICATES)) throw error;
      const there = (await this.#listTable(table, signal)).find((route) => route.cidr === cidr);
      if (!there?.own) throw error;
    }
  }

  async remove(route: AliRoute, signal: AbortSignal): Promise<void> {
    try {
      await this.#api.delete({ table: route.table, cidr: route.cidr, hop: route.hopId }, signal);
    } catch (error) {
      if (!hasCode(error, ...GONE)) throw error;
    }
    // The next change would meet this one.
    await this.#waitUntil(route.table, route.cidr, (found) => found?.hopId !== route.hopId, signal);
  }

  async #waitUntil(
    table: string,
    cidr: string,
    is: (found: AliRoute | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#edges;
    for (const end = clock.now() + POLL_LIMIT_MS;;) {
      const found = (await this.#listTable(table, signal)).find((route) => route.cidr === cidr);
      if (is(found)) return;
      if (clock.now() >= end) {
        throw new CloudError(
          "conflict",
          `The change of ${cidr} takes long (${found?.status ?? "not shown"})`,
        );
      }
      await clock.sleep(POLL_MS, signal);
      signal.throwIfAborted();
    }
  }

  /** The API doesn't show the limit; the numbers are as of the last listing. */
  limits(): Promise<readonly TableUse[]> {
    return Promise.resolve(this.#known.tables.map((table) => ({ table, used: this.#used.get(table) ?? 0 })));
  }

  full({ table, used, limit }: TableUse, reply: string): CloudError {
    return fullTableError({
      what: `route table ${table}`,
      used,
      limit,
      reply,
      raise: `Quota Center, Virtual Private Cloud, "custom route entries in each route table", in ${
        this.#place?.region ?? "the instance's region"
      }`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }

  get #api(): Vpc {
    if (!this.#place) throw new CloudError("conflict", "The region isn't known yet");
    return this.#place.api;
  }
}

function isUpToDate(route: AliRoute | undefined): boolean {
  return route?.upToDate === true;
}

function tokenKey(table: string, cidr: string): string {
  return `${table} ${cidr}`;
}

/** The tables of the config, else the vSwitch's own one, else that of the VPC's router. */
function chooseTables(
  tables: readonly AliTable[],
  { routeTableIds }: AliVpcOptions,
  vswitch: string,
  vpcId: string,
): readonly string[] {
  const named = tables.filter((table) => table.routeTableId);
  if (routeTableIds.length > 0) {
    const present = named.map((table) => table.routeTableId!);
    const missing = routeTableIds.find((id) => !present.includes(id));
    if (missing === undefined) return routeTableIds;
    throw unknownTableError(missing, vpcId, present);
  }
  const found = named.find((table) => table.vSwitchIds?.vSwitchId?.includes(vswitch)) ??
    named.find((table) => table.routeTableType === "System") ?? (named.length === 1 ? named[0] : undefined);
  if (found?.routeTableId) return [found.routeTableId];
  throw new CloudError("unavailable", `Alibaba Cloud shows no route table for ${vswitch} in ${vpcId}`);
}

function readEntry(entry: AliEntry, table: string, { ids, ownIds }: AliHop): AliRoute[] {
  const cidr = entry.destinationCidrBlock;
  const hops = entry.nextHops?.nextHop ?? [];
  const destination = cidr && tryParsePrefix(cidr);
  if (!cidr || !destination) return [];
  const hopId = hops[0]?.nextHopId ?? "";
  const status = entry.status ?? "Available";
  const available = SETTLED.has(status);
  const blackhole = hops.length > 0 && hops.every((hop) => hop.enabled === 0);
  return [{
    table,
    destination,
    id: entry.routeEntryId ?? cidr,
    hop: hopId || "elsewhere",
    own: ownIds.includes(hopId),
    upToDate: ids.includes(hopId) && available && hops.length === 1,
    blackhole,
    // Only settled entries can be deleted, and only by their hop.
    removable: available && hopId !== "",
    cidr,
    hopId,
    status,
  }];
}

function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}

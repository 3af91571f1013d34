/**
 * A Tencent Cloud VPC's route tables: own subnet → this instance's address.
 *
 * Tables may hold several entries for one prefix, so an entry is known by its id. They don't show whether an
 * instance is gone; the VPC's interfaces do.
 *
 * @module
 */
import type { ExternalInterface } from "../../lib/external/types.ts";
import { formatPrefix, parsePrefix, type Prefix, samePrefix } from "../../lib/net/prefix.ts";
import type { Log } from "../../lib/observe/types.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode, unknownTableError } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import { findPlace, type TencentPlace } from "./cards.ts";
import { DUPLICATES, GONE } from "./errors.ts";
import { TencentMetadata } from "./metadata.ts";
import type { TencentVpcOptions } from "./options.ts";
import { type TencentRoute, type TencentTable, TencentVpc } from "./vpc.ts";

/** How long an address that an interface has isn't asked for again, in milliseconds. */
const ALIVE_FOR_MS = 600_000;

/** An entry with what its change needs. */
export interface TencentCloudRoute extends CloudRoute {
  readonly entry: TencentRoute;
}

/** What the metadata server says of this host: it stays as long as the host runs. */
interface Host {
  readonly region: string;
  readonly instance: string;
  readonly api: TencentVpc;
}

/** Which address and which tables are this host's. */
interface Self extends Identity {
  readonly place: TencentPlace;
}

/** The tables that route for this instance. */
export class TencentRouteTable implements RouteTable<TencentCloudRoute> {
  readonly cloud = "tencent-vpc";
  readonly #options: TencentVpcOptions;
  readonly #edges: CloudEdges;
  readonly #log: Log;
  readonly #metadata: TencentMetadata;
  #host: Host | undefined;
  #self: Self | undefined;
  /** The tables as {@link identify} just read them, for the next {@link list}. */
  #justRead: readonly TencentTable[] | undefined;
  /** Entries of each table that count against the limit, as of the last listing. */
  #used = new Map<string, number>();
  /** Addresses that an interface has, and until when that needn't be asked again. */
  #alive = new Map<string, number>();
  #mayNotAsk = false;

  constructor(
    options: TencentVpcOptions,
    edges: CloudEdges,
    log: Log,
    metadataBases: readonly string[],
  ) {
    this.#options = options;
    this.#edges = edges;
    this.#log = log;
    this.#metadata = new TencentMetadata(metadataBases);
  }

  async instance(signal: AbortSignal): Promise<string> {
    return (await this.#locate(signal)).instance;
  }

  async #locate(signal: AbortSignal): Promise<Host> {
    if (this.#host) return this.#host;
    const region = await this.#metadata.require("placement/region", signal);
    const instance = await this.#metadata.require("instance-id", signal);
    const source = { options: this.#options, env: this.#edges.env, metadata: this.#metadata };
    return this.#host = { region, instance, api: new TencentVpc(region, source) };
  }

  async identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const { instance, api } = await this.#locate(signal);
    const place = await findPlace(this.#metadata, external, instance, signal);
    const read = await api.tables({ vpcId: place.vpcId }, signal);
    const tables = chooseTables(read, this.#options, place);
    this.#justRead = read;
    this.#self = { instance, hop: `${place.address} of ${instance}`, tables, place };
    return this.#self;
  }

  async list(signal: AbortSignal): Promise<readonly TencentCloudRoute[]> {
    const { tables: ids } = this.#known;
    const tables = this.#justRead ?? await this.#api.tables({ ids }, signal);
    this.#justRead = undefined;
    return ids.flatMap((id) => {
      const table = tables.find((one) => one.RouteTableId === id);
      if (!table) throw new CloudError("unavailable", `Tencent Cloud's answer lacks the route table ${id}`);
      const entries = (table.RouteSet ?? []).filter(({ RouteType }) => (RouteType ?? "USER") === "USER");
      this.#used.set(id, entries.length);
      return entries.flatMap((entry) => this.#read(entry, id));
    });
  }

  #read(entry: TencentRoute, table: string): TencentCloudRoute[] {
    const { address, ownAddresses } = this.#known.place;
    const destination = tryParsePrefix(entry.DestinationCidrBlock);
    if (!destination) return [];
    const toInstance = entry.GatewayType === "NORMAL_CVM";
    const hop = entry.GatewayId ?? "";
    const enabled = entry.Enabled !== false;
    const own = toInstance && ownAddresses.includes(hop);
    return [{
      table,
      destination,
      id: String(entry.RouteId ?? entry.RouteItemId ?? formatPrefix(destination)),
      hop: `${hop || "elsewhere"}${enabled ? "" : " (disabled)"}`,
      own,
      upToDate: toInstance && hop === address && enabled,
      blackhole: own || this.#isAlive(hop) ? false : undefined,
      // What leads to gateways isn't an instance's, and what is disabled rivals nobody.
      removable: toInstance && (enabled || own),
      entry,
    }];
  }

  #isAlive(address: string): boolean {
    return this.#mayNotAsk || (this.#alive.get(address) ?? 0) > this.#edges.clock.now();
  }

  async isGone({ entry }: TencentCloudRoute, signal: AbortSignal): Promise<boolean> {
    const address = entry.GatewayId ?? "";
    try {
      if (!await this.#api.hasAddress(this.#known.place.vpcId, address, signal)) return true;
      this.#alive.set(address, this.#edges.clock.now() + ALIVE_FOR_MS);
    } catch (error) {
      if (!(error instanceof CloudError) || error.kind !== "denied") throw error;
      // A courtesy to others: without the permission their unused routes stay.
      this.#mayNotAsk = true;
      this.#log.info("Routes of hosts that are gone stay in the table", { reason: error.message });
    }
    return false;
  }

  async put(
    table: string,
    destination: Prefix,
    existing: TencentCloudRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const cidr = formatPrefix(destination);
    const { address } = this.#known.place;
    if (existing && existing.entry.Enabled !== false) {
      return await this.#api.replace(table, existing.entry, cidr, address, signal);
    }
    // Replacing leaves a disabled entry disabled.
    if (existing) await this.remove(existing, signal);
    try {
      await this.#api.create(table, cidr, address, signal);
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      if (error.kind === "quota") throw this.full({ table, used: this.#used.get(table) ?? 0 }, error.message);
      if (!hasCode(error, ...DUPLICATES)) throw error;
      // The table didn't show it yet, or somebody was quicker.
      const there = (await this.list(signal)).find((route) =>
        route.table === table && samePrefix(route.destination, destination)
      );
      if (!there) throw error;
      if (!there.upToDate) await this.#api.replace(table, there.entry, cidr, address, signal);
    }
  }

  async remove(route: TencentCloudRoute, signal: AbortSignal): Promise<void> {
    const cidr = formatPrefix(route.destination);
    await this.#api.delete(route.table, route.entry, cidr, signal).catch((error) => {
      if (!hasCode(error, ...GONE)) throw error;
    });
  }

  async limits(signal: AbortSignal): Promise<readonly TableUse[]> {
    const limit = await this.#api.routeLimit(signal);
    return this.#known.tables.map((table) => ({
      table,
      used: this.#used.get(table) ?? 0,
      ...(limit === undefined ? {} : { limit }),
    }));
  }

  full({ table, used, limit }: TableUse, reply: string): CloudError {
    return fullTableError({
      what: `route table ${table}`,
      used,
      limit,
      reply,
      raise: `a ticket to Tencent Cloud for "routing policies per route table", in ${
        this.#host?.region ?? "the instance's region"
      }`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }

  get #api(): TencentVpc {
    if (!this.#host) throw new CloudError("conflict", "The region isn't known yet");
    return this.#host.api;
  }
}

/** The tables of the config, else that of the subnet, else the VPC's default one. */
function chooseTables(
  tables: readonly TencentTable[],
  { routeTableIds }: TencentVpcOptions,
  { vpcId, subnetId }: TencentPlace,
): readonly string[] {
  const named = tables.filter((table) => table.RouteTableId);
  if (routeTableIds.length > 0) {
    const present = named.map((table) => table.RouteTableId!);
    const missing = routeTableIds.find((id) => !present.includes(id));
    if (missing === undefined) return routeTableIds;
    throw unknownTableError(missing, vpcId, present);
  }
  const found =
    named.find(({ AssociationSet }) =>
      subnetId !== undefined && AssociationSet?.some(({ SubnetId }) => SubnetId === subnetId)
    ) ?? named.find((table) => table.Main) ?? (named.length === 1 ? named[0] : undefined);
  if (found?.RouteTableId) return [found.RouteTableId];
  throw new CloudError(
    "unavailable",
    `Tencent Cloud shows no route table for subnet ${
      subnetId ?? "unknown"
    } in ${vpcId}: if it stays so, name one ` +
      `in the config's Backend.RouteTableID`,
  );
}

function tryParsePrefix(text: string | undefined): Prefix | undefined {
  try {
    return text ? parsePrefix(text) : undefined;
  } catch {
    return undefined;
  }
}

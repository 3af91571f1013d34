/**
 * The route table of a VPC's router or of the instance's switch: own subnet → this instance.
 *
 * @module
 */
import { formatPrefix, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/backend/types.ts";
import { DUPLICATES, GONE } from "./errors.ts";
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

/** What is known of this host. */
interface Self extends Identity {
  readonly region: string;
}

/** The one table that routes for this instance. */
export class AliRouteTable implements RouteTable<AliRoute> {
  readonly cloud = "ali-vpc";
  readonly #options: AliVpcOptions;
  readonly #edges: CloudEdges;
  readonly #metadata: AliMetadata;
  #vpc: { readonly region: string; readonly api: Vpc } | undefined;
  #self: Self | undefined;
  #used = 0;
  /** One token for all tries of one creation. */
  #clientTokens = new Map<string, string>();

  constructor(options: AliVpcOptions, edges: CloudEdges, metadataBase: string) {
    this.#options = options;
    this.#edges = edges;
    this.#metadata = new AliMetadata(metadataBase, edges.clock.now);
  }

  async identify(_external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const region = await this.#metadata.require("region-id", signal);
    const instance = await this.#metadata.require("instance-id", signal);
    const vpcId = await this.#metadata.require("vpc-id", signal);
    const vswitch = await this.#metadata.require("vswitch-id", signal);
    if (this.#vpc?.region !== region) {
      const { env, clock } = this.#edges;
      const source = { options: this.#options, env, metadata: this.#metadata, now: clock.now };
      this.#vpc = { region, api: new Vpc(region, source) };
    }
    const table = chooseTable(await this.#vpc.api.tables(vpcId, signal), vswitch, vpcId);
    this.#self = { instance, hop: instance, tables: [table], region };
    return this.#self;
  }

  async list(signal: AbortSignal): Promise<readonly AliRoute[]> {
    const { tables, instance } = this.#known;
    const entries = await this.#api.entries(tables[0]!, signal);
    this.#used = entries.length;
    return entries.flatMap((entry) => readEntry(entry, tables[0]!, instance));
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
      if (existing.own) return await this.#waitUntil(cidr, isRight, signal);
      throw new CloudError("conflict", `A change of ${cidr} in ${table} is under way (${existing.status})`);
    }
    if (existing) await this.remove(existing, signal);
    await this.#create(table, cidr, signal);
    await this.#waitUntil(cidr, isRight, signal);
  }

  async #create(table: string, cidr: string, signal: AbortSignal): Promise<void> {
    const clientToken = this.#clientTokens.get(cidr) ?? crypto.randomUUID();
    this.#clientTokens.set(cidr, clientToken);
    try {
      await this.#api.create({ table, cidr, hop: this.#known.instance }, clientToken, signal);
      this.#clientTokens.delete(cidr);
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      // Only an answer that leaves it open makes the next try the same creation.
      const open = error.kind === "unavailable" || hasCode(error, "LastTokenProcessing");
      if (!open) this.#clientTokens.delete(cidr);
      if (error.kind === "quota") throw this.full({ table, used: this.#used }, error.message);
      if (!hasCode(error, ...DUPLICATES)) throw error;
      const there = (await this.list(signal)).find((route) => route.cidr === cidr);
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
    await this.#waitUntil(route.cidr, (found) => found?.hopId !== route.hopId, signal);
  }

  async #waitUntil(
    cidr: string,
    is: (found: AliRoute | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#edges;
    for (const end = clock.now() + POLL_LIMIT_MS;;) {
      const found = (await this.list(signal)).find((route) => route.cidr === cidr);
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

  /** The API doesn't tell the limit; the number is as of the last listing. */
  limits(): Promise<readonly TableUse[]> {
    return Promise.resolve([{ table: this.#known.tables[0]!, used: this.#used }]);
  }

  full({ table, used, limit }: TableUse, said: string): CloudError {
    return fullTableError({
      what: `route table ${table}`,
      used,
      limit,
      said,
      raise: `Quota Center, Virtual Private Cloud, "custom route entries in each route table", in ${
        this.#self?.region ?? "the instance's region"
      }`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }

  get #api(): Vpc {
    if (!this.#vpc) throw new CloudError("conflict", "The region isn't known yet");
    return this.#vpc.api;
  }
}

function isRight(route: AliRoute | undefined): boolean {
  return route?.right === true;
}

/** The switch's own table, else that of the VPC's router. */
function chooseTable(tables: readonly AliTable[], vswitch: string, vpcId: string): string {
  const named = tables.filter((table) => table.routeTableId);
  const found = named.find((table) => table.vSwitchIds?.vSwitchId?.includes(vswitch)) ??
    named.find((table) => table.routeTableType === "System") ?? (named.length === 1 ? named[0] : undefined);
  if (found?.routeTableId) return found.routeTableId;
  throw new CloudError("unavailable", `Alibaba Cloud shows no route table for ${vswitch} in ${vpcId}`);
}

function readEntry(entry: AliEntry, table: string, instance: string): AliRoute[] {
  const cidr = entry.destinationCidrBlock;
  const hops = entry.nextHops?.nextHop ?? [];
  const destination = cidr && tryParsePrefix(cidr);
  if (!cidr || !destination) return [];
  const hopId = hops[0]?.nextHopId ?? "";
  const status = entry.status ?? "Available";
  const own = hopId === instance;
  const available = SETTLED.has(status);
  return [{
    table,
    destination,
    id: entry.routeEntryId ?? cidr,
    hop: hopId || "elsewhere",
    own,
    right: own && available && hops.length === 1,
    blackhole: hops.length > 0 && hops.every((hop) => hop.enabled === 0),
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

/**
 * The four calls of Alibaba's VPC API that the backend makes, over Alibaba's SDK, which is loaded by the first.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError } from "../cloud/errors.ts";
import { type CloudKeys, findKeys } from "../cloud/keys.ts";
import { PageCount } from "../cloud/pages.ts";
import { ALI_KEYS } from "./credentials.ts";
import { classify } from "./errors.ts";
import type { AliMetadata } from "./metadata.ts";
import type { AliVpcOptions } from "./options.ts";

/** A route table; any field may be missing. */
export interface AliTable {
  readonly routeTableId?: string | undefined;
  readonly routeTableType?: string | undefined;
  readonly vSwitchIds?: { readonly vSwitchId?: readonly string[] | undefined } | undefined;
}

/** An entry of a route table; any field may be missing. */
export interface AliEntry {
  readonly routeEntryId?: string | undefined;
  readonly destinationCidrBlock?: string | undefined;
  readonly status?: string | undefined;
  readonly nextHops?: {
    readonly nextHop?:
      | readonly {
        readonly nextHopId?: string | undefined;
        readonly nextHopType?: string | undefined;
        readonly enabled?: number | undefined;
      }[]
      | undefined;
  } | undefined;
}

/** An entry to remove. */
export interface AliTarget {
  readonly table: string;
  readonly cidr: string;
  readonly hop: string;
}

/** An entry to make. */
export interface NewAliEntry extends AliTarget {
  readonly hopType: "Instance" | "NetworkInterface";
}

/** The SDK is a CommonJS module that marks itself as an ES module: its own default is one step further in. */
async function loadSdk() {
  return (await import("@alicloud/vpc20160428")).default;
}

type Module = Awaited<ReturnType<typeof loadSdk>>;
type Client = InstanceType<Module["default"]>;

/** The SDK, and a client with the keys that it was made with. */
interface Connection {
  readonly module: Module;
  readonly client: Client;
  readonly keys: CloudKeys;
}

/** Milliseconds; the SDK's own limits are longer than a daemon wants to hang. */
const TIMEOUTS = { connectTimeout: 5_000, readTimeout: 15_000 };
/** Temporary keys are fetched anew this long before their end, in milliseconds. */
const KEYS_MARGIN_MS = 180_000;

/** Where keys come from. */
export interface AliSource {
  readonly options: AliVpcOptions;
  readonly env: Env;
  readonly metadata: AliMetadata;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** The VPC API in one region. */
export class Vpc {
  readonly #region: string;
  readonly #source: AliSource;
  #connection: Connection | undefined;

  constructor(region: string, source: AliSource) {
    this.#region = region;
    this.#source = source;
  }

  /** All route tables of a VPC. */
  async tables(vpcId: string, signal: AbortSignal): Promise<AliTable[]> {
    const tables: AliTable[] = [];
    const pages = new PageCount("Alibaba Cloud's list of route tables");
    for (let pageNumber = 1;; pageNumber++) {
      pages.next();
      const page = await this.#call("DescribeRouteTableList", vpcId, signal, async (client, module) => {
        const input = { regionId: this.#region, vpcId, pageNumber, pageSize: 50 };
        return (await client.describeRouteTableList(new module.DescribeRouteTableListRequest(input))).body;
      });
      const items = page?.routerTableList?.routerTableListType ?? [];
      tables.push(...items as AliTable[]);
      if (items.length === 0 || tables.length >= (page?.totalCount ?? 0)) return tables;
    }
  }

  /** All entries of a table but the system's own. */
  async entries(table: string, signal: AbortSignal): Promise<AliEntry[]> {
    const entries: AliEntry[] = [];
    let nextToken: string | undefined;
    const pages = new PageCount("Alibaba Cloud's list of routes");
    do {
      pages.next();
      const page = await this.#call("DescribeRouteEntryList", table, signal, async (client, module) => {
        const input = {
          regionId: this.#region,
          routeTableId: table,
          routeEntryType: "Custom",
          maxResult: 100,
          ...(nextToken ? { nextToken } : {}),
        };
        return (await client.describeRouteEntryList(new module.DescribeRouteEntryListRequest(input))).body;
      });
      entries.push(...(page?.routeEntrys?.routeEntry ?? []) as AliEntry[]);
      nextToken = page?.nextToken || undefined;
    } while (nextToken);
    return entries;
  }

  /** Makes an entry. @param clientToken The same for all tries of one creation: the API then makes it once. */
  async create(
    { table, cidr, hopType, hop }: NewAliEntry,
    clientToken: string,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#call("CreateRouteEntry", `${cidr} in ${table}`, signal, async (client, module) => {
      const input = {
        regionId: this.#region,
        routeTableId: table,
        destinationCidrBlock: cidr,
        nextHopType: hopType,
        nextHopId: hop,
        clientToken,
      };
      await client.createRouteEntry(new module.CreateRouteEntryRequest(input));
    });
  }

  /** Removes an entry. */
  async delete({ table, cidr, hop }: AliTarget, signal: AbortSignal): Promise<void> {
    await this.#call("DeleteRouteEntry", `${cidr} in ${table}`, signal, async (client, module) => {
      const input = {
        regionId: this.#region,
        routeTableId: table,
        destinationCidrBlock: cidr,
        nextHopId: hop,
      };
      await client.deleteRouteEntry(new module.DeleteRouteEntryRequest(input));
    });
  }

  async #call<T>(
    action: string,
    subject: string,
    signal: AbortSignal,
    run: (client: Client, module: Module) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const { client, module, keys } = await this.#connect(signal);
    try {
      // The SDK's calls can't be cancelled; one that is left behind ends at its own time limit.
      return await unlessAborted(run(client, module), signal);
    } catch (error) {
      signal.throwIfAborted();
      const known = classify(error, action, subject, [keys.secret, ...(keys.token ? [keys.token] : [])]);
      if (known.kind === "credentials") this.#connection = undefined;
      throw known;
    }
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    const { options, env, metadata, now } = this.#source;
    const until = this.#connection?.keys.until;
    if (this.#connection && (until === undefined || now() < until - KEYS_MARGIN_MS)) return this.#connection;
    const keys = await findKeys(ALI_KEYS, options.keys, env, metadata, signal);
    const module = await loadSdk();
    const client = new module.default(
      {
        accessKeyId: keys.id,
        accessKeySecret: keys.secret,
        ...(keys.token ? { securityToken: keys.token } : {}),
        regionId: this.#region,
        ...TIMEOUTS,
        ...endpointFrom(env),
      } as unknown as ConstructorParameters<Module["default"]>[0],
    );
    this.#connection = { module, client, keys };
    return this.#connection;
  }
}

/** Another address of the API, as hosts without internet need it: `vpc-vpc.REGION.aliyuncs.com`. */
function endpointFrom(env: Env): { endpoint?: string; protocol?: string } {
  const text = env("ALIBABA_CLOUD_VPC_ENDPOINT");
  if (!text) return {};
  const match = /^(?:(https?):\/\/)?([^/\s]+)\/?$/.exec(text);
  if (!match) {
    throw new CloudError(
      "config",
      `ALIBABA_CLOUD_VPC_ENDPOINT is ${
        JSON.stringify(text)
      }: it must be a host like vpc.cn-beijing.aliyuncs.com`,
    );
  }
  return { endpoint: match[2]!, ...(match[1] === "http" ? { protocol: "HTTP" } : {}) };
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const stop = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", stop);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
    // Nobody listens to it any more once the race is lost.
    work.catch(() => {});
  }
}

/**
 * The six calls of Tencent's VPC API (version 2017-03-12) that the backend makes.
 *
 * @module
 */
import type { Env } from "../cloud/backend.ts";
import { CloudError } from "../cloud/errors.ts";
import { askHttp } from "../cloud/http.ts";
import { type CloudKeys, findKeys } from "../cloud/keys.ts";
import { PageCount } from "../cloud/pages.ts";
import { TENCENT_KEYS } from "./credentials.ts";
import { classify } from "./errors.ts";
import type { TencentMetadata } from "./metadata.ts";
import type { TencentVpcOptions } from "./options.ts";
import { authorizationOf, CONTENT_TYPE } from "./signature.ts";

/** An entry of a route table; any field may be missing. */
export interface TencentRoute {
  readonly RouteId?: number;
  /** The entry's id in newer tables. */
  readonly RouteItemId?: string;
  readonly DestinationCidrBlock?: string;
  /** `NORMAL_CVM`: an instance; others are gateways. */
  readonly GatewayType?: string;
  /** With `NORMAL_CVM` an instance's private IPv4 address. */
  readonly GatewayId?: string;
  readonly Enabled?: boolean;
  /** `USER`: written by hand or by the API; others are the network's own. */
  readonly RouteType?: string;
}

/** A route table; any field may be missing. */
export interface TencentTable {
  readonly RouteTableId?: string;
  readonly VpcId?: string;
  readonly Main?: boolean;
  readonly AssociationSet?: readonly { readonly SubnetId?: string }[] | null;
  readonly RouteSet?: readonly TencentRoute[] | null;
}

/** What a page of tables holds. */
interface TablePage {
  readonly TotalCount?: number;
  readonly RouteTableSet?: readonly TencentTable[] | null;
}

const VERSION = "2017-03-12";
/** Milliseconds that a call may take. */
const TIMEOUT_MS = 15_000;
/** Tables in one answer: the most that the API gives. */
const PAGE_SIZE = 100;
/** Temporary keys are fetched anew this long before their end, in milliseconds. */
const KEYS_MARGIN_MS = 180_000;

/** Where keys come from. */
export interface TencentSource {
  readonly options: TencentVpcOptions;
  readonly env: Env;
  readonly metadata: TencentMetadata;
}

/** The VPC API in one region. */
export class TencentVpc {
  readonly #region: string;
  readonly #source: TencentSource;
  #keys: CloudKeys | undefined;

  constructor(region: string, source: TencentSource) {
    this.#region = region;
    this.#source = source;
  }

  /** All route tables of a VPC, or those with these ids, with their routes. */
  async tables(
    which: { readonly vpcId: string } | { readonly ids: readonly string[] },
    signal: AbortSignal,
  ): Promise<TencentTable[]> {
    const choice = "vpcId" in which
      ? { Filters: [{ Name: "vpc-id", Values: [which.vpcId] }] }
      : { RouteTableIds: which.ids };
    const subject = "vpcId" in which ? which.vpcId : which.ids.join(", ");
    const tables: TencentTable[] = [];
    const pages = new PageCount("Tencent Cloud's list of route tables");
    for (;;) {
      pages.next();
      const input = { ...choice, Offset: String(tables.length), Limit: String(PAGE_SIZE) };
      const page = await this.#call<TablePage>("DescribeRouteTables", subject, input, signal);
      const items = page.RouteTableSet ?? [];
      tables.push(...items);
      if (items.length === 0 || tables.length >= (page.TotalCount ?? 0)) return tables;
    }
  }

  /** Makes a route to an instance's address. */
  async create(table: string, cidr: string, address: string, signal: AbortSignal): Promise<void> {
    const route = {
      DestinationCidrBlock: cidr,
      GatewayType: "NORMAL_CVM",
      GatewayId: address,
      Enabled: true,
    };
    const input = { RouteTableId: table, Routes: [{ ...route, RouteDescription: "flannel" }] };
    await this.#call("CreateRoutes", `${cidr} in ${table}`, input, signal);
  }

  /** Turns a route that is there to an instance's address, in one step. */
  async replace(
    table: string,
    { RouteId, RouteItemId }: TencentRoute,
    cidr: string,
    address: string,
    signal: AbortSignal,
  ): Promise<void> {
    const route = {
      ...(RouteId !== undefined ? { RouteId } : { RouteItemId }),
      DestinationCidrBlock: cidr,
      GatewayType: "NORMAL_CVM",
      GatewayId: address,
      RouteType: "USER",
      Enabled: true,
    };
    await this.#call(
      "ReplaceRoutes",
      `${cidr} in ${table}`,
      { RouteTableId: table, Routes: [route] },
      signal,
    );
  }

  /** Removes a route. */
  async delete(
    table: string,
    { RouteId, RouteItemId }: TencentRoute,
    cidr: string,
    signal: AbortSignal,
  ): Promise<void> {
    const route = RouteId !== undefined ? { RouteId } : { RouteItemId };
    await this.#call("DeleteRoutes", `${cidr} in ${table}`, { RouteTableId: table, Routes: [route] }, signal);
  }

  /** Whether an interface of the VPC has this address. */
  async hasAddress(vpcId: string, address: string, signal: AbortSignal): Promise<boolean> {
    const filters = { "vpc-id": vpcId, "address-ip": address, "ip-exact-match": "true" };
    const Filters = Object.entries(filters).map(([Name, value]) => ({ Name, Values: [value] }));
    const answer = await this.#call<{
      readonly TotalCount?: number;
      readonly NetworkInterfaceSet?: readonly unknown[] | null;
    }>("DescribeNetworkInterfaces", `${address} in ${vpcId}`, { Filters }, signal);
    return (answer.TotalCount ?? answer.NetworkInterfaceSet?.length ?? 1) > 0;
  }

  /** How many routes a table may have; undefined where the answer lacks it. */
  async routeLimit(signal: AbortSignal): Promise<number | undefined> {
    const type = "route-table-max-policies";
    const { VpcLimitSet } = await this.#call<{
      readonly VpcLimitSet?: readonly { readonly LimitType?: string; readonly LimitValue?: number }[] | null;
    }>("DescribeVpcLimits", "the limits", { LimitTypes: [type] }, signal);
    return VpcLimitSet?.find(({ LimitType }) => LimitType === type)?.LimitValue;
  }

  async #call<T>(action: string, subject: string, input: unknown, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const keys = await this.#currentKeys(signal);
    const url = endpointFrom(this.#source.env, this.#region);
    const body = JSON.stringify(input);
    // Signatures are checked against the wall clock.
    const timestamp = Math.floor(Date.now() / 1000);
    const call = { service: "vpc", host: url.host, action, body, timestamp };
    const { status, body: text } = await askHttp({
      url,
      method: "POST",
      headers: {
        "content-type": CONTENT_TYPE,
        "host": url.host,
        "x-tc-action": action,
        "x-tc-version": VERSION,
        "x-tc-region": this.#region,
        "x-tc-timestamp": String(timestamp),
        ...(keys.token ? { "x-tc-token": keys.token } : {}),
        "authorization": authorizationOf(call, keys),
      },
      body,
      timeout: TIMEOUT_MS,
      signal,
      server: `Tencent Cloud to ${action} for ${subject}`,
    });
    const response = parseResponse(text);
    if (!response) {
      throw new CloudError(
        "unavailable",
        `Tencent Cloud answered ${action} for ${subject} with HTTP ${status}`,
      );
    }
    if (!response.Error) return response as T;
    const known = classify(response.Error, action, subject, [
      keys.secret,
      ...(keys.token ? [keys.token] : []),
    ]);
    if (known.kind === "credentials") this.#keys = undefined;
    throw known;
  }

  async #currentKeys(signal: AbortSignal): Promise<CloudKeys> {
    const { options, env, metadata } = this.#source;
    const until = this.#keys?.until;
    if (this.#keys && (until === undefined || Date.now() < until - KEYS_MARGIN_MS)) return this.#keys;
    return this.#keys = await findKeys(TENCENT_KEYS, options.keys, env, metadata, signal);
  }
}

/** The answer's content; undefined where it is none of the API's. */
function parseResponse(text: string): { readonly Error?: Record<string, unknown> } | undefined {
  try {
    const { Response } = JSON.parse(text);
    return typeof Response === "object" && Response !== null ? Response : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The API's address. Regions of the finance zone have one each; another one is
 * `vpc.internal.tencentcloudapi.com`, for hosts without internet.
 */
function endpointFrom(env: Env, region: string): URL {
  const usual = region.endsWith("-fsi") ? `vpc.${region}.tencentcloudapi.com` : "vpc.tencentcloudapi.com";
  const text = env("TENCENTCLOUD_VPC_ENDPOINT") || usual;
  const match = /^(?:(https?):\/\/)?([^/\s]+)\/?$/.exec(text);
  const url = match && `${match[1] ?? "https"}://${match[2]}/`;
  if (url && URL.canParse(url)) return new URL(url);
  throw new CloudError(
    "config",
    `TENCENTCLOUD_VPC_ENDPOINT is ${JSON.stringify(text)}: it must be a host like ${usual}`,
  );
}

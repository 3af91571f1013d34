/**
 * A fake of the part of Tencent's VPC API that flanneld uses: JSON calls with their TC3 signature checked, errors
 * with HTTP 200, tables that may hold several entries for one prefix, limits and permissions.
 *
 * @module
 */
import { type FakeRequest, FakeServer, Faults, json, Lagging } from "./http.ts";
import { checkTencentSignature, type TencentKey } from "./tencent_signature.ts";

/** An entry of a route table. */
export interface TencentEntry {
  readonly id: number;
  readonly cidr: string;
  readonly type: string;
  readonly gateway: string;
  readonly enabled: boolean;
  readonly routeType: "USER" | "CCN";
}

/** A route table. */
export interface TencentTable {
  readonly id: string;
  readonly vpc: string;
  readonly main: boolean;
  subnets: readonly string[];
  readonly routes: Lagging<readonly TencentEntry[]>;
}

/** A network interface of an instance. */
export interface TencentInterface {
  readonly mac: string;
  readonly address: string;
  readonly subnet: string;
}

/** An instance with its primary interface, and perhaps more. */
export interface TencentInstance {
  readonly id: string;
  readonly address: string;
  readonly interfaces: TencentInterface[];
}

const MUTATING = /^(Create|Replace|Delete)/;

/** The route that calls carry; what is looked at of it. */
interface RouteInput {
  readonly RouteId?: number;
  readonly DestinationCidrBlock?: string;
  readonly GatewayType?: string;
  readonly GatewayId?: string;
  readonly Enabled?: boolean;
}

/** A refused call. */
class Refusal extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** One region with one VPC. */
export class FakeTencent implements AsyncDisposable {
  readonly region = "ap-test";
  readonly vpc = "vpc-1";
  readonly subnet = "subnet-1";
  readonly faults = new Faults();
  /** User routes that a table may have. */
  limit = 50;
  readonly keys = new Map<string, TencentKey>([["AKIDTEST", {
    secret: "tencent-secret+key",
    since: Infinity,
  }]]);
  readonly instances = new Map<string, TencentInstance>();
  readonly tables = new Map<string, TencentTable>();
  readonly calls: string[] = [];
  readonly server: FakeServer;
  onChange: () => void = () => {};
  #serial = 100;

  constructor(hostname?: string, port?: number) {
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
    this.addTable("rtb-main", { main: true });
    this.addRoute("0.0.0.0/0", "nat-1", { type: "NAT" });
  }

  addInstance(id: string, address: string): TencentInstance {
    const instance: TencentInstance = { id, address, interfaces: [] };
    this.instances.set(id, instance);
    this.addInterface(instance, address);
    return instance;
  }

  /** Attaches an interface; the first one is the primary. */
  addInterface(instance: TencentInstance, address: string, subnet = this.subnet): void {
    const number = instance.interfaces.length.toString(16).padStart(2, "0");
    instance.interfaces.push({ mac: `52:54:00:00:00:${number}`, address, subnet });
  }

  addTable(id: string, options: { main?: boolean; subnets?: string[]; vpc?: string } = {}): TencentTable {
    const { main = false, subnets = [], vpc = this.vpc } = options;
    const table = { id, vpc, main, subnets, routes: new Lagging<readonly TencentEntry[]>(this.faults, []) };
    this.tables.set(id, table);
    return table;
  }

  /** Adds a route as somebody else would. */
  addRoute(cidr: string, gateway: string, more: Partial<TencentEntry> = {}, table = "rtb-main"): void {
    const { routes } = this.tables.get(table)!;
    const entry = {
      id: ++this.#serial,
      cidr,
      type: "NORMAL_CVM",
      gateway,
      enabled: true,
      routeType: "USER" as const,
    };
    routes.now = [...routes.now, { ...entry, ...more }];
    this.onChange();
  }

  get changes(): string[] {
    return this.calls.filter((call) => MUTATING.test(call));
  }

  /** Where a table sends packets: destination and the hop's address. */
  hops(table = "rtb-main"): Map<string, string> {
    const addresses = new Set(
      [...this.instances.values()].flatMap((one) => one.interfaces.map(({ address }) => address)),
    );
    return new Map(
      this.tables.get(table)!.routes.now.filter((route) => route.enabled && addresses.has(route.gateway))
        .map(({ cidr, gateway }) => [cidr, gateway]),
    );
  }

  async #answer(request: FakeRequest): Promise<Response> {
    if (this.faults.take("broken")) return new Response("<html>502</html>", { status: 502 });
    const action = request.headers.get("x-tc-action") ?? "";
    const RequestId = crypto.randomUUID();
    try {
      const wrong = await checkTencentSignature(request, this.keys, this.faults.credentialsSince);
      if (wrong) throw new Refusal(wrong, "The request can't be authenticated.");
      const version = request.headers.get("x-tc-version");
      if (version !== "2017-03-12" || request.headers.get("x-tc-region") !== this.region) {
        throw new Refusal("UnsupportedRegion", `${version} in ${request.headers.get("x-tc-region")}`);
      }
      this.calls.push(action);
      if (this.faults.take("throttle")) {
        throw new Refusal("RequestLimitExceeded", "Your current request times exceed.");
      }
      if (this.faults.denied.has(action)) {
        throw new Refusal("UnauthorizedOperation", "You are not authorized.");
      }
      return json({ Response: { ...this.#perform(action, JSON.parse(request.body)), RequestId } });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return json({ Response: { Error: { Code: error.code, Message: error.message }, RequestId } });
    }
  }

  #perform(action: string, input: Record<string, unknown>): Record<string, unknown> {
    switch (action) {
      case "DescribeRouteTables":
        return this.#describe(input);
      case "DescribeNetworkInterfaces":
        return this.#describeInterfaces(input);
      case "DescribeVpcLimits":
        return { VpcLimitSet: [{ LimitType: "route-table-max-policies", LimitValue: this.limit }] };
      case "CreateRoutes":
      case "ReplaceRoutes":
      case "DeleteRoutes":
        this.#change(action, input);
        this.onChange();
        return { TotalCount: 1 };
      default:
        throw new Refusal("InvalidAction", "The request action is invalid.");
    }
  }

  #describe(input: Record<string, unknown>): Record<string, unknown> {
    const filters = (input.Filters ?? []) as readonly { Name: string; Values: readonly string[] }[];
    const ids = (input.RouteTableIds ?? []) as readonly string[];
    if (filters.length > 0 && ids.length > 0) {
      throw new Refusal("InvalidParameter.Coexist", "RouteTableIds and Filters");
    }
    if (typeof input.Offset !== "string" || typeof input.Limit !== "string") {
      throw new Refusal("InvalidParameterValue.Malformed", "Offset and Limit must be strings");
    }
    for (const id of ids) if (!this.tables.has(id)) throw this.#noTable(id);
    const found = [...this.tables.values()].filter((table) =>
      (ids.length === 0 || ids.includes(table.id)) &&
      filters.every(({ Name, Values }) => Name === "vpc-id" && Values.includes(table.vpc))
    );
    // Pages far smaller than asked for, which the API allows.
    const from = Number(input.Offset);
    const page = found.slice(from, from + 2);
    return { TotalCount: found.length, RouteTableSet: page.map((table) => this.#show(table)) };
  }

  #describeInterfaces(input: Record<string, unknown>): Record<string, unknown> {
    const filters = new Map(
      ((input.Filters ?? []) as readonly { Name: string; Values: readonly string[] }[])
        .map(({ Name, Values }) => [Name, Values[0]]),
    );
    const exact = filters.get("ip-exact-match") === "true";
    const wanted = filters.get("address-ip") ?? "";
    const found = filters.get("vpc-id") !== this.vpc
      ? []
      : [...this.instances.values()].flatMap(({ interfaces }) => interfaces)
        .filter(({ address }) => exact ? address === wanted : address.endsWith(wanted));
    return {
      TotalCount: found.length,
      NetworkInterfaceSet: found.map(({ mac, address }) => ({
        NetworkInterfaceId: `eni-${mac}`,
        PrivateIpAddressSet: [{ PrivateIpAddress: address, Primary: true }],
      })),
    };
  }

  #show({ id, vpc, main, subnets, routes }: TencentTable): Record<string, unknown> {
    const { sparse } = this.faults;
    const shown = routes.shown.map(({ id, cidr, type, gateway, enabled, routeType }) => ({
      RouteId: id,
      DestinationCidrBlock: cidr,
      GatewayType: type,
      GatewayId: gateway,
      ...(sparse && enabled ? {} : { Enabled: enabled }),
      ...(sparse && routeType === "USER" ? {} : { RouteType: routeType }),
      ...(sparse
        ? {}
        : { RouteItemId: `rti-${id}`, RouteDescription: "", CreatedTime: "2026-01-01 00:00:00" }),
    }));
    return {
      RouteTableId: id,
      ...(sparse ? {} : { VpcId: vpc, RouteTableName: id }),
      ...(main || !sparse ? { Main: main } : {}),
      AssociationSet: sparse && subnets.length === 0
        ? null
        : subnets.map((SubnetId) => ({ SubnetId, RouteTableId: id })),
      RouteSet: sparse && shown.length === 0 ? null : shown,
    };
  }

  #change(action: string, input: Record<string, unknown>): void {
    const id = String(input.RouteTableId);
    const table = this.tables.get(id);
    if (!table) throw this.#noTable(id);
    const [route] = (input.Routes ?? []) as readonly RouteInput[];
    if (!route) throw new Refusal("MissingParameter", "Routes");
    const { routes } = table;
    if (action === "CreateRoutes") return this.#create(routes, route);
    const existing = routes.now.find((one) => one.id === route.RouteId);
    if (!existing) throw new Refusal("InvalidRouteId.NotFound", `route ${route.RouteId} does not exist`);
    const others = routes.now.filter((one) => one !== existing);
    if (action === "DeleteRoutes") {
      routes.now = others;
      return;
    }
    this.#checkHop(route);
    // Whether it is enabled has calls of its own.
    const { cidr, gateway, type } = entryOf(route);
    routes.now = [...others, { ...existing, cidr, gateway, type }];
  }

  #create(routes: Lagging<readonly TencentEntry[]>, route: RouteInput): void {
    this.#checkHop(route);
    const { cidr, gateway, type } = entryOf(route);
    if (routes.now.some((one) => one.cidr === cidr && one.gateway === gateway)) {
      throw new Refusal("InvalidParameterValue.Duplicate", `${cidr} leads to ${gateway} already`);
    }
    if (routes.now.length >= this.limit) throw new Refusal("LimitExceeded", "route quota exceeded");
    const entry = { id: ++this.#serial, cidr, type, gateway, enabled: route.Enabled !== false };
    routes.now = [...routes.now, { ...entry, routeType: "USER" }];
  }

  #checkHop({ GatewayType, GatewayId }: RouteInput): void {
    const cards = [...this.instances.values()].flatMap(({ interfaces }) => interfaces);
    if (GatewayType === "NORMAL_CVM" && cards.some(({ address }) => address === GatewayId)) return;
    throw new Refusal("InvalidParameter.NextHopMismatch", `${GatewayType} ${GatewayId}`);
  }

  #noTable(id: string): Refusal {
    return new Refusal("InvalidRouteTableId.NotFound", `The route table '${id}' does not exist`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

function entryOf({ DestinationCidrBlock, GatewayType, GatewayId }: RouteInput) {
  return { cidr: DestinationCidrBlock ?? "", type: GatewayType ?? "", gateway: GatewayId ?? "" };
}

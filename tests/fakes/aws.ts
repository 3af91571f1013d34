/**
 * A fake of the part of EC2 that flanneld uses: Query requests with their signatures checked, XML answers,
 * route tables with state, limits and permissions. And the metadata service of each instance.
 *
 * @module
 */
import { type AwsKey, checkAwsSignature } from "./aws_signature.ts";
import { type FakeRequest, FakeServer, Faults, Lagging } from "./http.ts";

/** An entry of a table; the optional fields as EC2 shows them. */
export interface AwsRoute {
  readonly cidr: string;
  readonly eni?: string;
  readonly gateway?: string;
  readonly state?: "active" | "blackhole";
  readonly origin?: string;
}

/** A route table. */
export interface AwsTable {
  readonly id: string;
  readonly vpc: string;
  readonly main: boolean;
  subnets: readonly string[];
  readonly routes: Lagging<readonly AwsRoute[]>;
}

/** An instance with one interface. */
export interface AwsInstance {
  readonly id: string;
  readonly eni: string;
  readonly address: string;
  sourceDestCheck: boolean;
}

const XMLNS = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"';
/** Changes; anything else only reads. */
const MUTATING = /^(Create|Replace|Delete|Modify)/;

/** Each table also has a route to a prefix list, which has no destination of its own. */
const PREFIX_LIST_ROUTES = 1;

/** An EC2 error with its HTTP status. */
class Refusal extends Error {
  constructor(readonly code: string, message: string, readonly status = 400) {
    super(message);
  }
}

/** One region with one VPC. */
export class FakeAws implements AsyncDisposable {
  readonly region = "eu-test-1";
  readonly vpc = "vpc-0aaa";
  readonly subnet = "subnet-0aaa";
  readonly faults = new Faults();
  /** Routes that a table may have. */
  limit = 50;
  readonly keys = new Map<string, AwsKey>([["AKIDTEST", { secret: "aws-secret/test+key", since: Infinity }]]);
  readonly instances = new Map<string, AwsInstance>();
  readonly tables = new Map<string, AwsTable>();
  /** Every action that came, in order. */
  readonly calls: string[] = [];
  readonly server: FakeServer;
  /** Called after each change of a table. */
  onChange: () => void = () => {};

  constructor(hostname?: string, port?: number) {
    this.server = new FakeServer((request) => this.#answer(request), hostname, port);
    this.addTable("rtb-0aaa", { main: true });
  }

  addTable(id: string, options: { main?: boolean; subnets?: string[]; vpc?: string } = {}): AwsTable {
    const local: AwsRoute = { cidr: "10.0.0.0/16", gateway: "local", origin: "CreateRouteTable" };
    const internet: AwsRoute = { cidr: "0.0.0.0/0", gateway: "igw-0aaa", origin: "CreateRoute" };
    const { main = false, subnets = [], vpc = this.vpc } = options;
    const table = {
      id,
      vpc,
      main,
      subnets,
      routes: new Lagging<readonly AwsRoute[]>(this.faults, [local, internet]),
    };
    this.tables.set(id, table);
    return table;
  }

  /** Associates a subnet with a table, and with no other one. */
  associate(subnet: string, id: string): void {
    for (const table of this.tables.values()) {
      const others = table.subnets.filter((one) => one !== subnet);
      table.subnets = table.id === id ? [...others, subnet] : others;
    }
  }

  addInstance(id: string, address: string): AwsInstance {
    const instance = { id, eni: `eni-${id.slice(2)}`, address, sourceDestCheck: true };
    this.instances.set(id, instance);
    return instance;
  }

  /** Terminates an instance: its routes become black holes. */
  terminate(id: string): void {
    const eni = this.instances.get(id)?.eni;
    this.instances.delete(id);
    for (const { routes } of this.tables.values()) {
      routes.now = routes.now.map((route) => route.eni === eni ? { ...route, state: "blackhole" } : route);
    }
    this.onChange();
  }

  /** The changes among {@link calls}. */
  get changes(): string[] {
    return this.calls.filter((call) => MUTATING.test(call));
  }

  /** Where a table sends packets: destination and the hop's address. */
  hops(table = "rtb-0aaa"): Map<string, string> {
    const addressOf = (eni?: string) => [...this.instances.values()].find((one) => one.eni === eni)?.address;
    return new Map(
      this.tables.get(table)!.routes.now.flatMap(({ cidr, eni }) => {
        const address = addressOf(eni);
        return address ? [[cidr, address] as const] : [];
      }),
    );
  }

  async #answer(request: FakeRequest): Promise<Response> {
    const form = new URLSearchParams(request.body);
    const action = form.get("Action") ?? "";
    try {
      if (this.faults.take("broken")) throw new Refusal("Unavailable", "The service is unavailable.", 503);
      const wrong = await checkAwsSignature(request, this.keys, this.faults.credentialsSince);
      if (wrong) {
        throw new Refusal(wrong, "The request can't be authenticated.", wrong === "AuthFailure" ? 401 : 400);
      }
      if (form.get("Version") !== "2016-11-15") throw new Refusal("NoSuchVersion", "Version");
      this.calls.push(action);
      if (this.faults.take("throttle")) {
        throw new Refusal("RequestLimitExceeded", "Request limit exceeded.", 503);
      }
      if (this.faults.denied.has(action)) {
        throw new Refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", 403);
      }
      const body = this.#perform(action, form);
      const xml = `<${action}Response ${XMLNS}><requestId>r-1</requestId>${body}</${action}Response>`;
      return new Response(xml, {
        headers: { "content-type": "text/xml;charset=UTF-8", "x-amzn-requestid": "r-1" },
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { code, message, status } = error;
      return new Response(
        `<Response><Errors><Error><Code>${code}</Code><Message>${message}</Message></Error></Errors>` +
          `<RequestID>r-1</RequestID></Response>`,
        { status, headers: { "content-type": "text/xml;charset=UTF-8" } },
      );
    }
  }

  #perform(action: string, form: URLSearchParams): string {
    switch (action) {
      case "DescribeInstances":
        return this.#describeInstances(form);
      case "DescribeRouteTables":
        return this.#describeRouteTables(form);
      case "ModifyNetworkInterfaceAttribute": {
        const eni = form.get("NetworkInterfaceId");
        const instance = [...this.instances.values()].find((one) => one.eni === eni);
        if (!instance) throw new Refusal("InvalidNetworkInterfaceID.NotFound", `${eni} does not exist`);
        instance.sourceDestCheck = form.get("SourceDestCheck.Value") !== "false";
        return "<return>true</return>";
      }
      case "CreateRoute":
      case "ReplaceRoute":
      case "DeleteRoute":
        this.#changeRoute(action, form);
        this.onChange();
        return "<return>true</return>";
      default:
        throw new Refusal("InvalidAction", `The action ${action} is not valid for this web service.`);
    }
  }

  #describeInstances(form: URLSearchParams): string {
    const id = form.get("InstanceId.1") ?? "";
    const instance = this.instances.get(id);
    if (!instance) throw new Refusal("InvalidInstanceID.NotFound", `The instance ID '${id}' does not exist`);
    const card = this.faults.sparse
      ? `<networkInterfaceId>${instance.eni}</networkInterfaceId>`
      : `<networkInterfaceId>${instance.eni}</networkInterfaceId><subnetId>${this.subnet}</subnetId>` +
        `<vpcId>${this.vpc}</vpcId><sourceDestCheck>${instance.sourceDestCheck}</sourceDestCheck>` +
        `<privateIpAddressesSet><item><privateIpAddress>${instance.address}</privateIpAddress>` +
        `<primary>true</primary></item></privateIpAddressesSet>`;
    return `<reservationSet><item><instancesSet><item><instanceId>${id}</instanceId>` +
      `<networkInterfaceSet><item>${card}</item></networkInterfaceSet></item></instancesSet></item></reservationSet>`;
  }

  #describeRouteTables(form: URLSearchParams): string {
    const ids = [...form].filter(([name]) => /^RouteTableId\.\d+$/.test(name)).map(([, id]) => id);
    for (const id of ids) {
      if (!this.tables.has(id)) {
        throw new Refusal("InvalidRouteTableID.NotFound", `The routeTable ID '${id}' does not exist`);
      }
    }
    const filters = new Map<string, string>();
    for (let n = 1; form.has(`Filter.${n}.Name`); n++) {
      filters.set(form.get(`Filter.${n}.Name`)!, form.get(`Filter.${n}.Value.1`) ?? "");
    }
    const tables = [...this.tables.values()].filter((table) =>
      (ids.length === 0 || ids.includes(table.id)) &&
      [...filters].every(([name, value]) =>
        name === "association.subnet-id"
          ? table.subnets.includes(value)
          : name === "association.main"
          ? String(table.main) === value
          : name === "vpc-id" && table.vpc === value
      )
    );
    if (tables.length === 0) return "<routeTableSet/>";
    return `<routeTableSet>${
      tables.map((table) => `<item>${this.#tableXml(table)}</item>`).join("")
    }</routeTableSet>`;
  }

  #tableXml({ id, vpc, routes, main }: AwsTable): string {
    const items = routes.shown.map(({ cidr, eni, gateway, state, origin }) => {
      const key = cidr.includes(":") ? "destinationIpv6CidrBlock" : "destinationCidrBlock";
      const hop = eni
        ? `<networkInterfaceId>${eni}</networkInterfaceId>`
        : `<gatewayId>${gateway}</gatewayId>`;
      const rest = this.faults.sparse
        ? state === "blackhole" ? "<state>blackhole</state>" : ""
        : `<state>${state ?? "active"}</state><origin>${origin ?? "CreateRoute"}</origin>`;
      return `<item><${key}>${cidr}</${key}>${hop}${rest}</item>`;
    });
    items.push(
      "<item><destinationPrefixListId>pl-0aaa</destinationPrefixListId><gatewayId>vpce-0aaa</gatewayId></item>",
    );
    const rest = this.faults.sparse ? "" : `<vpcId>${vpc}</vpcId><associationSet><item>` +
      `<routeTableAssociationId>rtbassoc-1</routeTableAssociationId><main>${main}</main></item></associationSet>`;
    return `<routeTableId>${id}</routeTableId><routeSet>${items.join("")}</routeSet>${rest}`;
  }

  #changeRoute(action: string, form: URLSearchParams): void {
    const id = form.get("RouteTableId") ?? "";
    const routes = this.tables.get(id)?.routes;
    if (!routes) {
      throw new Refusal("InvalidRouteTableID.NotFound", `The routeTable ID '${id}' does not exist`);
    }
    const cidr = form.get("DestinationCidrBlock") ?? form.get("DestinationIpv6CidrBlock") ?? "";
    const others = routes.now.filter((route) => route.cidr !== cidr);
    const exists = others.length < routes.now.length;
    if (action === "DeleteRoute") {
      if (!exists) throw new Refusal("InvalidRoute.NotFound", `no route with destination-cidr-block ${cidr}`);
      routes.now = others;
      return;
    }
    const eni = form.get("NetworkInterfaceId") ?? "";
    if (![...this.instances.values()].some((one) => one.eni === eni)) {
      throw new Refusal(
        "InvalidNetworkInterfaceID.NotFound",
        `The networkInterface ID '${eni}' does not exist`,
      );
    }
    if (action === "ReplaceRoute" && !exists) {
      const words = `There is no route defined for '${cidr}' in the route table. Use CreateRoute instead.`;
      throw new Refusal("InvalidParameterValue", words);
    }
    if (action === "CreateRoute" && exists) {
      throw new Refusal("RouteAlreadyExists", `The route identified by ${cidr} already exists.`);
    }
    if (action === "CreateRoute" && routes.now.length + PREFIX_LIST_ROUTES >= this.limit) {
      throw new Refusal("RouteLimitExceeded", "The maximum number of routes has been reached.");
    }
    routes.now = [...others, { cidr, eni }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

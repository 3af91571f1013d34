/**
 * A VPC's route tables: own subnet → the network interface that carries the host's address.
 *
 * @module
 */
import type { Finding } from "../../lib/backend/finding.ts";
import type { RouteTable as Ec2RouteTable } from "@aws-sdk/client-ec2";
import type { Family } from "../../lib/net/family.ts";
import { formatPrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { Log, Metrics } from "../../lib/observe/types.ts";
import type { CloudEdges } from "../cloud/backend.ts";
import { CloudError, fullTableError, hasCode } from "../cloud/errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { type Destination, Ec2 } from "./ec2.ts";
import { NO_SUCH_ROUTE } from "./errors.ts";
import { Imds } from "./imds.ts";
import { findInterface, type Instance, instanceFromImds, type InstanceInterface } from "./instance.ts";
import type { AwsVpcOptions } from "./options.ts";
import { destinationOf, hopOf, isStatic } from "./route.ts";

/** The parameter that takes a family's destination. */
const DESTINATION: Readonly<Record<Family["name"], (cidr: string) => Destination>> = {
  ipv4: (cidr) => ({ DestinationCidrBlock: cidr }),
  ipv6: (cidr) => ({ DestinationIpv6CidrBlock: cidr }),
};

/** What the metadata service says of this host: it stays as long as the host runs. */
interface Place {
  readonly region: string;
  readonly id: string;
  readonly ec2: Ec2;
}

/** What EC2 said of this host last. */
interface Self extends Identity {
  readonly eni: string;
  readonly vpcId: string | undefined;
  readonly checksSourceDest: boolean;
  /** Ids of all interfaces of the instance. */
  readonly enis: ReadonlySet<string>;
}

/** The tables of one instance's VPC. */
export class AwsRouteTable implements RouteTable {
  readonly cloud = "aws-vpc";
  readonly #options: AwsVpcOptions;
  readonly #edges: CloudEdges;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #imds: Imds;
  #place: Place | undefined;
  #self: Self | undefined;
  #use = new Map<string, TableUse>();
  /** The tables as {@link identify} just read them, for the next {@link list}. */
  #justRead: readonly Ec2RouteTable[] | undefined;
  #warned: string | undefined;

  constructor(options: AwsVpcOptions, edges: CloudEdges, observe: { log: Log; metrics: Metrics }) {
    this.#options = options;
    this.#edges = edges;
    this.#log = observe.log;
    this.#metrics = observe.metrics;
    this.#imds = new Imds(edges.env, edges.clock.now);
  }

  async instance(signal: AbortSignal): Promise<string> {
    return (await this.#locate(signal)).id;
  }

  async #locate(signal: AbortSignal): Promise<Place> {
    if (this.#place) return this.#place;
    const region = await this.#imds.read("placement/region", signal);
    const id = await this.#imds.read("instance-id", signal);
    return this.#place = { region, id, ec2: new Ec2(region, this.#edges.env, this.#metrics) };
  }

  async identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    const { id } = await this.#locate(signal);
    const instance = await this.#describe(id, signal);
    const card = findInterface(instance, external, id);
    const eni = card.NetworkInterfaceId!;
    const { vpcId, subnetId } = await this.#networkOf(card, instance, signal);
    const tables = this.#options.routeTableIds.length > 0
      ? this.#options.routeTableIds
      : [await this.#findTable(vpcId, subnetId, signal)];
    const enis = new Set(instance.interfaces.flatMap((one) => one.NetworkInterfaceId ?? []));
    const checksSourceDest = card.SourceDestCheck === true;
    this.#self = { instance: id, hop: `${eni} of ${id}`, tables, eni, vpcId, checksSourceDest, enis };
    return this.#self;
  }

  async #describe(id: string, signal: AbortSignal): Promise<Instance> {
    try {
      const instance = await this.#client.instance(id, signal);
      if (instance) return instance;
    } catch (error) {
      if (!(error instanceof CloudError) || error.kind !== "denied") throw error;
      // The permission is a convenience for those who name their table: the metadata service knows the rest.
      const instance = await instanceFromImds(this.#imds, signal).catch(() => undefined);
      if (!instance) throw error;
      this.#warnOnce(`${error.message}; whether the source/destination check is off stays unknown`);
      return instance;
    }
    throw new CloudError("conflict", `EC2 doesn't know instance ${id} (yet)`);
  }

  /** VPC and subnet of the interface: by EC2, else by the metadata service. */
  async #networkOf(card: InstanceInterface, instance: Instance, signal: AbortSignal) {
    const vpcId = card.VpcId ?? instance.vpcId;
    const subnetId = card.SubnetId ?? instance.subnetId;
    if (vpcId !== undefined || subnetId !== undefined) return { vpcId, subnetId };
    const described = await instanceFromImds(this.#imds, signal).catch(() => undefined);
    const same = described?.interfaces.find((one) => one.NetworkInterfaceId === card.NetworkInterfaceId);
    return { vpcId: same?.VpcId, subnetId: same?.SubnetId };
  }

  /** The subnet's own table, else the VPC's main one: asked in each pass, as a subnet may get another table. */
  async #findTable(
    vpcId: string | undefined,
    subnetId: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const ask = async (filters: Record<string, string>) => {
      const [table] = await this.#client.routeTables({ filters }, signal);
      if (table?.RouteTableId) this.#justRead = [table];
      return table?.RouteTableId;
    };
    const bySubnet = subnetId && await ask({ "association.subnet-id": subnetId });
    if (bySubnet) return bySubnet;
    const main = vpcId && await ask({ "association.main": "true", "vpc-id": vpcId });
    if (main) return main;
    throw new CloudError(
      "unavailable",
      `EC2 shows no route table for subnet ${subnetId ?? "unknown"} and no main one for VPC ` +
        `${vpcId ?? "unknown"}: if it stays so, name one in the config's Backend.RouteTableID`,
    );
  }

  examine(): readonly Finding[] {
    const { eni, instance, checksSourceDest } = this.#known;
    if (!checksSourceDest) return [];
    return [{
      severity: "warning",
      text: `${eni} of ${instance} checks source and destination and drops containers' packets: ` +
        "flanneld switches that off when it starts, if it may (ec2:ModifyNetworkInterfaceAttribute)",
      evidence: ["ec2:DescribeInstances: SourceDestCheck true"],
      remedy: [
        `aws ec2 modify-network-interface-attribute --network-interface-id ${eni} --no-source-dest-check`,
      ],
    }];
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const { eni, instance, checksSourceDest } = this.#known;
    if (!checksSourceDest) return;
    try {
      await this.#client.disableSourceDestCheck(eni, signal);
      this.#log.info("Source/destination check switched off", { interface: eni });
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      const byHand = error.kind === "denied"
        ? `; or switch the check off by hand: aws ec2 modify-network-interface-attribute ` +
          `--network-interface-id ${eni} --no-source-dest-check`
        : "";
      throw new CloudError(
        error.kind,
        `${eni} of ${instance} checks source and destination and drops containers' packets. ` +
          error.message + byHand,
        error.code === undefined ? {} : { code: error.code },
      );
    }
  }

  async list(signal: AbortSignal): Promise<readonly CloudRoute[]> {
    const { tables: ids, vpcId } = this.#known;
    const read = this.#justRead;
    this.#justRead = undefined;
    const tables = read ?? await this.#client.routeTables({ ids }, signal);
    return ids.flatMap((id) => {
      const table = tables.find((one) => one.RouteTableId === id);
      if (!table) throw new CloudError("unavailable", `EC2's answer lacks the route table ${id}`);
      if (table.VpcId && vpcId && table.VpcId !== vpcId) {
        throw new CloudError(
          "config",
          `Backend.RouteTableID ${id} belongs to ${table.VpcId} and this host to ${vpcId}: ` +
            `it must be a table of this host's VPC`,
        );
      }
      return this.#read(id, table);
    });
  }

  #read(id: string, table: Ec2RouteTable): CloudRoute[] {
    const { eni, enis, instance } = this.#known;
    const counted = (table.Routes ?? []).filter((route) => route.Origin !== "EnableVgwRoutePropagation");
    this.#use.set(id, { table: id, used: counted.length });
    return counted.flatMap((route) => {
      const destination = destinationOf(route);
      if (!destination || !isStatic(route)) return [];
      const leadsTo = route.NetworkInterfaceId;
      return [{
        table: id,
        destination,
        id: formatPrefix(destination),
        hop: hopOf(route),
        own: (leadsTo !== undefined && enis.has(leadsTo)) || route.InstanceId === instance,
        upToDate: leadsTo === eni && route.State !== "blackhole",
        blackhole: route.State === "blackhole",
        removable: true,
      }];
    });
  }

  async put(
    table: string,
    destination: Prefix,
    existing: CloudRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { eni } = this.#known;
    const to = DESTINATION[destination.family.name](formatPrefix(destination));
    const replace = () => this.#client.replaceRoute(table, to, eni, signal);
    const create = () => this.#client.createRoute(table, to, eni, signal);
    if (existing) {
      await replace().catch((error) => {
        if (!hasCode(error, NO_SUCH_ROUTE)) throw error;
        return create();
      });
      return;
    }
    try {
      await create();
    } catch (error) {
      if (hasCode(error, "RouteLimitExceeded")) {
        throw this.full(this.#use.get(table) ?? { table, used: 0 }, (error as Error).message);
      }
      if (!hasCode(error, "RouteAlreadyExists")) throw error;
      // The table didn't show it yet, or somebody was quicker.
      const there = (await this.list(signal)).find((route) =>
        route.table === table && route.id === formatPrefix(destination)
      );
      if (!there?.upToDate) await replace();
    }
  }

  async remove(route: CloudRoute, signal: AbortSignal): Promise<void> {
    const to = DESTINATION[route.destination.family.name](route.id);
    await this.#client.deleteRoute(route.table, to, signal).catch((error) => {
      if (!hasCode(error, NO_SUCH_ROUTE)) throw error;
    });
  }

  /** EC2 doesn't show the limit; the number is as of the last listing. */
  limits(): Promise<readonly TableUse[]> {
    return Promise.resolve([...this.#use.values()]);
  }

  full({ table, used, limit }: TableUse, reply: string): CloudError {
    const region = this.#place?.region ?? "the instance's region";
    return fullTableError({
      what: `route table ${table}`,
      used,
      limit,
      reply,
      raise: `Service Quotas, Amazon VPC, "Routes per route table", L-93826ACB, in ${region}`,
    });
  }

  get #known(): Self {
    if (!this.#self) throw new CloudError("conflict", "The instance isn't known yet");
    return this.#self;
  }

  get #client(): Ec2 {
    if (!this.#place) throw new CloudError("conflict", "The region isn't known yet");
    return this.#place.ec2;
  }

  /** What stays the same in each pass is logged when it begins. */
  #warnOnce(message: string): void {
    if (this.#warned === message) return;
    this.#warned = message;
    this.#log.warn(message);
  }
}

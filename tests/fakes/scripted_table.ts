/**
 * A route table in memory whose next calls fail, or wait, as a test says.
 *
 * @module
 */
import { CloudError } from "../../backends/cloud/errors.ts";
import { RouteRecord } from "../../backends/cloud/record.ts";
import { RouteLoop } from "../../backends/cloud/route_loop.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "../../backends/cloud/route_table.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { formatIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { type TestHost, testHost } from "./session.ts";

/** The calls of {@link RouteTable} that a test may script. */
type Call = "identify" | "prepare" | "list" | "put" | "remove" | "limits";

/** A table `t`, and this host's instance `i`. */
export class ScriptedTable implements RouteTable {
  readonly cloud = "scripted";
  readonly calls: Call[] = [];
  /** What the next calls throw, each once. */
  readonly failures = new Map<Call, unknown[]>();
  /** Runs before a call does its work. */
  before: (call: Call, route?: CloudRoute) => void | Promise<void> = () => {};
  /** The addresses that {@link identify} was asked for. */
  readonly addresses: string[] = [];
  routes: CloudRoute[] = [];
  use: TableUse[] = [{ table: "t", used: 0, limit: 100 }];

  async #enter(call: Call, route?: CloudRoute): Promise<void> {
    this.calls.push(call);
    await this.before(call, route);
    const failure = this.failures.get(call)?.shift();
    if (failure) throw failure;
  }

  instance(): Promise<string> {
    return Promise.resolve("i");
  }

  async identify({ addresses }: ExternalInterface): Promise<Identity> {
    await this.#enter("identify");
    this.addresses.push(formatIp(addresses.ipv4!));
    return { instance: "i", hop: "me", tables: ["t"] };
  }

  prepare(): Promise<void> {
    return this.#enter("prepare");
  }

  async list(): Promise<CloudRoute[]> {
    await this.#enter("list");
    return [...this.routes];
  }

  async put(_table: string, destination: Prefix): Promise<void> {
    await this.#enter("put");
    const text = formatPrefix(destination);
    this.routes = this.routes.filter((route) => formatPrefix(route.destination) !== text);
    this.add(text, { id: "x", hop: "me", own: true, upToDate: true });
  }

  async remove(route: CloudRoute): Promise<void> {
    await this.#enter("remove", route);
    this.routes = this.routes.filter((one) => one.id !== route.id);
  }

  async limits(): Promise<TableUse[]> {
    await this.#enter("limits");
    return this.use;
  }

  full(use: TableUse, reply: string): CloudError {
    return new CloudError("quota", `full: ${use.used} of ${use.limit} ${reply}`);
  }

  /** Adds an entry: another instance's, unless said otherwise. */
  add(cidr: string, more: Partial<CloudRoute> = {}): void {
    const other = { id: cidr, hop: "other", own: false, upToDate: false, blackhole: false, removable: true };
    this.routes.push({ table: "t", destination: parsePrefix(cidr), ...other, ...more });
  }

  /** Adds an entry whose instance is gone. */
  addBlackhole(cidr: string): void {
    this.add(cidr, { hop: "gone", blackhole: true });
  }

  /** Turns an entry to a living instance, as the host that has leased the subnet does. */
  take(cidr: string): void {
    this.routes = this.routes.filter((route) => formatPrefix(route.destination) !== cidr);
    this.add(cidr, { id: `${cidr} taken`, hop: "another" });
  }

  /** The destinations that are in the table. */
  get destinations(): string[] {
    return this.routes.map((route) => formatPrefix(route.destination)).sort();
  }
}

/** A loop over a {@link ScriptedTable} for the subnet 10.20.7.0/24 of 10.20.0.0/16. */
export interface ScriptedLoop {
  readonly table: ScriptedTable;
  readonly host: TestHost;
  readonly loop: RouteLoop<CloudRoute>;
}

/** Makes one. @param folder Where it notes that its route stands; undefined: nowhere. */
export function scriptedLoop(folder?: string, table = new ScriptedTable()): ScriptedLoop {
  const host = testHost("10.0.1.10");
  const loop = new RouteLoop(table, host.session(host.lease("10.20.7.0/24")), {
    networks: [parsePrefix("10.20.0.0/16")],
    resync: 120,
    clock: host.clock,
    record: new RouteRecord(folder, {
      cloud: table.cloud,
      networkId: "/coreos.com/network",
      instance: () => table.instance(),
    }),
  });
  return { table, host, loop };
}

/** The same refusal several times. */
export function refusals(kind: CloudError["kind"], times: number): CloudError[] {
  return Array.from({ length: times }, () => new CloudError(kind, `it is ${kind}`));
}

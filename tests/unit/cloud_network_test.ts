import assert from "node:assert/strict";
import { CloudError } from "../../backends/cloud/errors.ts";
import { CloudNetwork } from "../../backends/cloud/network.ts";
import type { CloudRoute, RouteTable, TableUse } from "../../backends/cloud/route_table.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { testHost, testInterface, until, within } from "../fakes/session.ts";

/** A table in memory whose next calls fail as the test says. */
class ScriptedTable implements RouteTable {
  readonly cloud = "scripted";
  readonly calls: string[] = [];
  readonly failures = new Map<string, CloudError[]>();
  readonly addresses: string[] = [];
  routes: CloudRoute[] = [];
  use: TableUse[] = [{ table: "t", used: 0, limit: 100 }];

  #enter(call: string): void {
    this.calls.push(call);
    const failure = this.failures.get(call)?.shift();
    if (failure) throw failure;
  }
  // deno-lint-ignore require-await
  async identify(external: { addresses: { ipv4?: { value: bigint } } }) {
    this.#enter("identify");
    this.addresses.push(String(external.addresses.ipv4?.value));
    return { instance: "i", hop: "me", tables: ["t"] };
  }
  // deno-lint-ignore require-await
  async list(): Promise<CloudRoute[]> {
    this.#enter("list");
    return [...this.routes];
  }
  // deno-lint-ignore require-await
  async put(table: string, destination: Prefix): Promise<void> {
    this.#enter("put");
    this.routes = this.routes.filter((route) =>
      formatPrefix(route.destination) !== formatPrefix(destination)
    );
    this.routes.push({
      table,
      destination,
      id: "x",
      hop: "me",
      own: true,
      right: true,
      blackhole: false,
      removable: true,
    });
  }
  // deno-lint-ignore require-await
  async remove(route: CloudRoute): Promise<void> {
    this.#enter("remove");
    this.routes = this.routes.filter((one) => one.id !== route.id);
  }
  // deno-lint-ignore require-await
  async limits(): Promise<TableUse[]> {
    this.#enter("limits");
    return this.use;
  }
  full(use: TableUse, said: string): CloudError {
    return new CloudError("quota", `full: ${use.used} of ${use.limit} ${said}`);
  }
}

function setUp() {
  const table = new ScriptedTable();
  const host = testHost("10.0.1.10");
  const network = new CloudNetwork(table, host.session(host.lease("10.20.7.0/24")), {
    networks: [parsePrefix("10.20.0.0/16")],
    resync: 120,
    clock: host.clock,
  });
  return { table, host, network };
}

const many = (kind: CloudError["kind"], times: number) =>
  Array.from({ length: times }, () => new CloudError(kind, `it is ${kind}`));

Deno.test("cloud network: a steady table is listed once a pass, and nothing else is asked", async () => {
  const { table, host, network } = setUp();
  await using _ended = network;
  await within("ready", network.start());
  await host.clock.idle();
  table.calls.length = 0;
  for (let pass = 0; pass < 3; pass++) await host.clock.tick();
  assert.deepEqual(table.calls, ["list", "list", "list"]);
});

Deno.test("cloud network: the same failure is told once, its end once, and every retry is counted", async () => {
  const { table, host, network } = setUp();
  await using _ended = network;
  table.failures.set("list", many("unavailable", 6));
  await within("ready", network.start());
  assert.equal(host.log.lines.filter((line) => line.startsWith("warn it is unavailable")).length, 1);
  assert.equal(host.log.lines.filter((line) => line.includes("reached again")).length, 1);
  assert.equal(host.metrics.sum("cloud_retries_total", "unavailable"), 6);
  const waits = host.clock.sleeps.slice(0, 6);
  assert.deepEqual(waits, [...waits].sort((a, b) => a - b));
});

Deno.test("cloud network: what waiting doesn't mend ends the start after three tries, never a running host", async () => {
  const { table, host, network } = setUp();
  table.failures.set("identify", many("config", 3));
  await assert.rejects(within("refused", network.start()), /it is config/);
  const later = setUp();
  await using running = later.network;
  await within("ready", running.start());
  await later.host.clock.idle();
  later.table.failures.set("list", many("config", 4));
  await later.host.clock.tick();
  assert.match(later.host.log.text, /error it is config/);
  assert.equal(host.end.signal.aborted || later.host.end.signal.aborted, false);
  // After each such failure the host asks anew who it is.
  assert.equal(later.table.calls.filter((call) => call === "identify").length, 5);
});

Deno.test("cloud network: a removal that is refused doesn't keep the host from being ready", async () => {
  const { table, host, network } = setUp();
  await using _ended = network;
  const hole = { table: "t", hop: "gone", own: false, right: false, blackhole: true, removable: true };
  table.routes = ["10.20.1.0/24", "10.20.2.0/24"].map((text) => ({
    ...hole,
    destination: parsePrefix(text),
    id: text,
  }));
  table.failures.set("remove", many("denied", 1));
  await within("ready", network.start());
  await until("the other one is removed as well", () => table.routes.length === 1);
  assert.match(host.log.text, /error it is denied/);
});

Deno.test("cloud network: a full table is refused before a write, and filled when there is room", async () => {
  const { table, host, network } = setUp();
  await using _ended = network;
  table.use = [{ table: "t", used: 100, limit: 100 }];
  const starting = network.start();
  await until("it is told", () => /full: 100 of 100/.test(host.log.text));
  assert.ok(!table.calls.includes("put"));
  table.use = [{ table: "t", used: 99, limit: 100 }];
  await within("ready", starting);
  assert.match(host.log.text, /nearly full/);
});

Deno.test("cloud network: another address is looked up at once; the end stops all and leaves the route", async () => {
  const { table, host, network } = setUp();
  await within("ready", network.start());
  await host.clock.idle();
  network.replan(host.session(host.lease()).plan, testInterface("10.0.1.99"));
  await until("the new address is asked for", () => table.addresses.length === 2);
  assert.notEqual(table.addresses[0], table.addresses[1]);
  await host.clock.idle();
  await within("the end", network[Symbol.asyncDispose]());
  const calls = table.calls.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(table.calls.length, calls);
  assert.equal(table.routes.length, 1);
});

Deno.test("cloud network: a daemon that ends while the cloud is silent ends at once", async () => {
  const { table, host, network } = setUp();
  table.failures.set("identify", many("unavailable", 10_000));
  const starting = network.start();
  starting.catch(() => {});
  await until("it is told", () => /unavailable/.test(host.log.text));
  host.end.abort(new Error("told to end"));
  await assert.rejects(within("the end", starting, 1), /told to end/);
});

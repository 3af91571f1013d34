import assert from "node:assert/strict";
import { CLOUD_RETRIES } from "../../backends/cloud/metrics.ts";
import { makeAliVpc } from "../../backends/ali_vpc/backend.ts";
import type { CloudEdges } from "../../backends/cloud/backend.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import type { AliVpcOptions } from "../../backends/ali_vpc/options.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { FakeAli } from "../fakes/ali.ts";
import { FakeAliMetadata } from "../fakes/ali_metadata.ts";
import { peerLease, startBackend, type TestHost, testHost, until, within } from "../fakes/session.ts";
import { IPV4 } from "../../lib/net/family.ts";

/** One instance in a fake VPC, with a RAM role. */
class Host implements AsyncDisposable {
  readonly metadata: FakeAliMetadata;
  readonly test: TestHost;
  readonly type: BackendType<AliVpcOptions>;
  readonly env = new Map<string, string>();
  constructor(readonly ali: FakeAli, id: string, address: string) {
    ali.addInstance(id, address);
    this.metadata = new FakeAliMetadata(ali, id);
    this.test = testHost(address, { type: "ali-vpc" });
    this.env.set("ALIBABA_CLOUD_VPC_ENDPOINT", ali.server.url);
    const edges: CloudEdges = { env: (key) => this.env.get(key), clock: this.test.clock };
    this.type = makeAliVpc(edges, this.metadata.server.url);
  }
  /** Opens and starts the backend. */
  start(subnet: string, options: JsonObject = {}) {
    const starting = within("the backend is ready", this.#start(subnet, options));
    // A test that fails before it awaits this must not fail for this as well.
    starting.catch(() => {});
    return starting;
  }
  async #start(subnet: string, options: JsonObject) {
    const parsed = this.type.parse(options, [IPV4]);
    assert.deepEqual(parsed.faults, []);
    const backend = await this.type.open(parsed.options, this.test.context);
    return await startBackend(backend, this.test.session(this.test.lease(subnet)));
  }
  async cleanup(subnet: string) {
    await this.type.cleanup!(
      { keys: undefined, routeTableIds: [] },
      this.test.context,
      this.test.lease(subnet),
    );
  }
  async [Symbol.asyncDispose]() {
    this.test.end.abort();
    await this.metadata[Symbol.asyncDispose]();
  }
}

function routes(ali: FakeAli, table?: string): string[] {
  return ali.entries(table).map(({ cidr, hop }) => `${cidr} ${hop}`);
}

const FOREIGN = "0.0.0.0/0 ngw-1";

Deno.test("ali-vpc: a first start makes one route and waits for it, a restart changes nothing", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.faults.now = host.test.clock.now;
  ali.faults.operation = 5_000;
  const running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(ali), [FOREIGN, "10.20.7.0/24 i-a"]);
  assert.ok(ali.entries().every((entry) => entry.settledAt <= host.test.clock.now()));
  await running[Symbol.asyncDispose]();
  ali.calls.length = 0;
  await using _again = await host.start("10.20.7.0/24");
  await host.test.clock.tick();
  assert.deepEqual(ali.changes, []);
  assert.ok(ali.calls.length > 0);
});

Deno.test("ali-vpc: a replaced instance's entry is deleted, waited for and recreated", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.faults.now = host.test.clock.now;
  ali.faults.operation = 3_000;
  ali.faults.conflicts = 2;
  ali.addEntry("10.20.7.0/24", "i-old");
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(ali), [FOREIGN, "10.20.7.0/24 i-a"]);
  assert.equal(host.test.metrics.sumOf(CLOUD_RETRIES, "conflict"), 2);
});

Deno.test("ali-vpc: the switch's own table before the router's", async () => {
  await using ali = new FakeAli();
  ali.addSwitchTable("vtb-switch");
  await using host = new Host(ali, "i-a", "192.168.0.10");
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(ali), [FOREIGN]);
  assert.deepEqual(routes(ali, "vtb-switch"), ["10.20.7.0/24 i-a"]);
});

Deno.test("ali-vpc: only black holes without a lease and own stale routes go, all else stays", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.addInstance("i-b", "192.168.0.11");
  ali.addEntry("10.20.1.0/24", "i-b");
  ali.addEntry("10.20.2.0/24", "i-gone"); // a live lease's
  ali.addEntry("10.99.0.0/24", "i-gone");
  ali.addEntry("10.99.1.0/24", "i-a");
  const kept = routes(ali);
  ali.addEntry("10.20.5.0/24", "i-gone");
  ali.addEntry("10.20.6.0/24", "i-a");
  host.test.peers.set("10.20.2.0-24", peerLease("192.168.0.12", "10.20.2.0/24"));
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  assert.deepEqual(routes(ali), [...kept, "10.20.7.0/24 i-a"]);
});

Deno.test("ali-vpc: a full table is named with number and way out, and filled once there is room", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.limit = 1;
  const starting = host.start("10.20.7.0/24");
  await until("the log names the limit", () => /limit/.test(host.test.log.text));
  assert.match(host.test.log.text, /vtb-system has 1 route[^]*QuotaExceeded[^]*Quota Center[^]*vxlan/);
  ali.limit = 2;
  await using _running = await starting;
  assert.equal(routes(ali).length, 2);
});

Deno.test("ali-vpc: throttling is retried and counted, denial names the action", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.faults.denied.add("CreateRouteEntry");
  const starting = host.start("10.20.7.0/24");
  await until("denied", () => host.test.metrics.sumOf(CLOUD_RETRIES, "denied") > 0);
  assert.match(host.test.log.text, /Permission vpc:CreateRouteEntry is missing/);
  ali.faults.throttle = 3;
  ali.faults.denied.clear();
  await using _running = await starting;
  assert.ok(host.test.metrics.sumOf(CLOUD_RETRIES, "throttled") >= 3);
});

Deno.test("ali-vpc: role keys that end in the middle are fetched anew, and none ever shows", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  await using running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  ali.faults.credentialsSince = Date.now();
  ali.tables.get("vtb-system")!.now = ali.entries().slice(0, 1);
  await host.test.clock.tick();
  assert.equal(routes(ali).length, 2);
  assert.equal(host.test.metrics.sumOf(CLOUD_RETRIES, "credentials"), 1);
  assert.doesNotMatch(host.test.log.text + JSON.stringify(running.status!()), /role-secret|sts-token/);
});

Deno.test("ali-vpc: keys from the config, then from the environment; wrong ones show no secret", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  host.metadata.role = false;
  const starting = host.start("10.20.7.0/24");
  await until("no keys", () => /There are no keys/.test(host.test.log.text));
  host.env.set("ACCESS_KEY_ID", "LTAITEST");
  host.env.set("ACCESS_KEY_SECRET", "wrong+secret");
  await until("refused", () => /SignatureDoesNotMatch/.test(host.test.log.text));
  host.env.set("ACCESS_KEY_SECRET", "ali-secret+key");
  await (await starting)[Symbol.asyncDispose]();
  host.env.clear();
  host.env.set("ALIBABA_CLOUD_VPC_ENDPOINT", ali.server.host.replace(/^/, "http://"));
  const options = { AccessKeyID: "LTAITEST", AccessKeySecret: "ali-secret+key" };
  await (await host.start("10.20.7.0/24", options))[Symbol.asyncDispose]();
  assert.doesNotMatch(host.test.log.text, /wrong\+secret|ali-secret/);
});

Deno.test("ali-vpc: options are checked, and the secret is masked in what is shown", () => {
  const type = makeAliVpc({} as CloudEdges);
  const both = type.parse({ accesskeyid: "LTAI", AccessKeySecret: "hidden-one" }, [IPV4]);
  assert.deepEqual(both.options.keys, { id: "LTAI", secret: "hidden-one" });
  assert.doesNotMatch(JSON.stringify(both.complete), /hidden-one/);
  const half = type.parse({ AccessKeySecret: "hidden-one" }, [IPV4]);
  assert.match(half.faults[0]!.message, /AccessKeyID/);
  assert.doesNotMatch(JSON.stringify(half), /hidden-one/);
  assert.match(type.parse({ AccessKeyID: "LTAI" }, [IPV4]).faults[0]!.message, /AccessKeySecret/);
});

Deno.test("ali-vpc: plain metadata, sparse answers that lag, an API that is down", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  host.metadata.hardened = false;
  ali.faults.sparse = true;
  ali.faults.now = host.test.clock.now;
  ali.faults.lag = 3_000;
  await ali.server.down();
  const starting = host.start("10.20.7.0/24");
  await until("unreachable", () => /No answer from Alibaba Cloud/.test(host.test.log.text));
  ali.faults.broken = 2;
  ali.server.up();
  await using _running = await starting;
  assert.deepEqual(routes(ali), [FOREIGN, "10.20.7.0/24 i-a"]);
  assert.equal(ali.changes.length, 1);
});

Deno.test("ali-vpc: two hosts that race for one entry end with one route", async () => {
  await using ali = new FakeAli();
  await using a = new Host(ali, "i-a", "192.168.0.10");
  await using b = new Host(ali, "i-b", "192.168.0.11");
  const both = await Promise.all([a.start("10.20.7.0/24"), b.start("10.20.7.0/24")]);
  assert.equal(routes(ali).length, 2);
  for (const one of both) await one[Symbol.asyncDispose]();
});

Deno.test("ali-vpc: cleanup removes the own route alone, twice without error", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  ali.addEntry("10.20.8.0/24", "i-b");
  ali.addEntry("10.99.1.0/24", "i-a");
  ali.addEntry("10.20.7.0/24", "i-a");
  await host.cleanup("10.20.7.0/24");
  await host.cleanup("10.20.7.0/24");
  assert.deepEqual(ali.changes, ["DeleteRouteEntry"]);
  assert.equal(routes(ali).length, 3);
});

Deno.test("ali-vpc: RouteTableID, one or several, gets the entry; one of another VPC is an error", async () => {
  await using ali = new FakeAli();
  ali.addTable("vtb-one");
  ali.addTable("vtb-two");
  await using host = new Host(ali, "i-a", "192.168.0.10");
  await (await host.start("10.20.7.0/24", { routetableid: "vtb-one" }))[Symbol.asyncDispose]();
  assert.deepEqual(routes(ali), [FOREIGN]);
  assert.deepEqual(routes(ali, "vtb-one"), ["10.20.7.0/24 i-a"]);
  await using running = await host.start("10.20.7.0/24", { RouteTableID: ["vtb-two", "vtb-system"] });
  assert.deepEqual(routes(ali, "vtb-two"), ["10.20.7.0/24 i-a"]);
  assert.deepEqual(routes(ali), [FOREIGN, "10.20.7.0/24 i-a"]);
  assert.deepEqual((running.status!() as { tables: string[] }).tables, ["vtb-two", "vtb-system"]);
  await assert.rejects(
    host.start("10.20.7.0/24", { RouteTableID: "vtb-far" }),
    /vtb-far isn't a route table of vpc-1.*vtb-system, vtb-one, vtb-two/,
  );
  const { faults } = host.type.parse({ RouteTableID: "rtb-1" }, []);
  assert.match(faults[0]!.message, /RouteTableID.*vtb-/);
});

Deno.test("ali-vpc: an address on a secondary interface gets an entry to that interface, in its switch's table", async () => {
  await using ali = new FakeAli();
  ali.addSwitchTable("vtb-switch");
  const instance = ali.addInstance("i-a", "192.168.9.10");
  instance.interfaces[0] = { ...instance.interfaces[0]!, vswitch: "vsw-other" };
  await using host = new Host(ali, "i-b", "192.168.9.11");
  // The host's address is on eth1.
  ali.instances.get("i-b")!.interfaces[0] = {
    ...instance.interfaces[0]!,
    id: "eni-b0",
    address: "192.168.9.11",
  };
  ali.addInterface(ali.instances.get("i-b")!, "eni-b1", "192.168.0.11");
  const { test } = host;
  Object.assign(test.context.external.addresses, { ipv4: parseIp("192.168.0.11") });
  await using running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(ali, "vtb-switch"), ["10.20.7.0/24 eni-b1"]);
  assert.equal((running.status!() as { hop: string }).hop, "eni-b1 of i-b");
  ali.calls.length = 0;
  await test.clock.tick();
  assert.deepEqual(ali.changes, []);
});

Deno.test("ali-vpc: no interface with the host's address is an error that lists what there is", async () => {
  await using ali = new FakeAli();
  await using host = new Host(ali, "i-a", "192.168.0.10");
  Object.assign(host.test.context.external.addresses, { ipv4: parseIp("192.168.0.99") });
  await assert.rejects(host.start("10.20.7.0/24"), /192\.168\.0\.99.*eni-i-a 192\.168\.0\.10.*-iface/);
});

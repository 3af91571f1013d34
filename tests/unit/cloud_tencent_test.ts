import assert from "node:assert/strict";
import { CLOUD_RETRIES } from "../../backends/cloud/metrics.ts";
import type { CloudEdges } from "../../backends/cloud/backend.ts";
import { makeTencentVpc } from "../../backends/tencent_vpc/backend.ts";
import type { TencentVpcOptions } from "../../backends/tencent_vpc/options.ts";
import { authorizationOf } from "../../backends/tencent_vpc/signature.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { peerLease, type TestHost, testHost, until, within } from "../fakes/session.ts";
import { FakeTencent } from "../fakes/tencent.ts";
import { FakeTencentMetadata } from "../fakes/tencent_metadata.ts";

/** One instance in a fake VPC, with a CAM role. */
class Host implements AsyncDisposable {
  readonly metadata: FakeTencentMetadata;
  readonly test: TestHost;
  readonly type: BackendType<TencentVpcOptions>;
  readonly env = new Map<string, string>();
  constructor(readonly tencent: FakeTencent, id: string, address: string) {
    tencent.addInstance(id, address);
    this.metadata = new FakeTencentMetadata(tencent, id);
    this.test = testHost(address, { type: "tencent-vpc" });
    this.env.set("TENCENTCLOUD_VPC_ENDPOINT", tencent.server.url);
    const edges: CloudEdges = { env: (key) => this.env.get(key), clock: this.test.clock };
    // Nobody listens at the first address, as where a host's resolver doesn't know the server's name.
    this.type = makeTencentVpc(edges, ["http://127.0.0.1:9", this.metadata.server.url]);
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
    assert.ok(backend.carrier === "session");
    return await backend.start(this.test.session(this.test.lease(subnet)));
  }
  async cleanup(...subnets: string[]) {
    const options = { keys: undefined, routeTableIds: [] };
    await this.type.cleanup!(options, this.test.context, this.test.lease(...subnets));
  }
  async [Symbol.asyncDispose]() {
    this.test.end.abort();
    await this.metadata[Symbol.asyncDispose]();
  }
}

function routes(tencent: FakeTencent, table = "rtb-main"): string[] {
  return tencent.tables.get(table)!.routes.now.map(({ cidr, gateway, enabled }) =>
    `${cidr} ${gateway}${enabled ? "" : " off"}`
  );
}

const FOREIGN = "0.0.0.0/0 nat-1";

Deno.test("tencent-vpc: the signature is that of Tencent's worked example", () => {
  const stars = "*".repeat(32);
  const body = String
    .raw`{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}`;
  const call = { service: "cvm", host: "cvm.tencentcloudapi.com", action: "DescribeInstances", body };
  const header = authorizationOf({ ...call, timestamp: 1551113065 }, { id: `AKID${stars}`, secret: stars });
  assert.equal(
    header,
    `TC3-HMAC-SHA256 Credential=AKID${stars}/2019-02-25/cvm/tc3_request, ` +
      "SignedHeaders=content-type;host;x-tc-action, " +
      "Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
  );
});

Deno.test("tencent-vpc: a first start makes one route, a restart changes nothing", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  const running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.10"]);
  await running[Symbol.asyncDispose]();
  tencent.calls.length = 0;
  await using _again = await host.start("10.20.7.0/24");
  await host.test.clock.tick();
  assert.deepEqual(tencent.changes, []);
  assert.ok(tencent.calls.length > 0);
});

Deno.test("tencent-vpc: another host's route is replaced in one step, a second one beside it removed", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.addInstance("ins-b", "172.16.0.11");
  tencent.addRoute("10.20.7.0/24", "172.16.0.11");
  {
    await using _running = await host.start("10.20.7.0/24");
    assert.deepEqual(tencent.changes, ["ReplaceRoutes"]);
    assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.10"]);
    await host.test.clock.idle();
    tencent.addRoute("10.20.7.0/24", "172.16.0.11");
    tencent.addRoute("10.20.7.0/24", "172.16.0.12", { enabled: false });
    tencent.addRoute("10.20.7.0/24", "ccn-1", { type: "CCN", routeType: "CCN" });
    await host.test.clock.tick();
  }
  assert.deepEqual(tencent.changes, ["ReplaceRoutes", "DeleteRoutes"]);
  assert.deepEqual(routes(tencent).slice(1), [
    "10.20.7.0/24 172.16.0.10",
    "10.20.7.0/24 172.16.0.12 off",
    "10.20.7.0/24 ccn-1",
  ]);
});

Deno.test("tencent-vpc: an own route that was disabled is deleted and recreated", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.addRoute("10.20.7.0/24", "172.16.0.10", { enabled: false });
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(tencent.changes, ["DeleteRoutes", "CreateRoutes"]);
  assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.10"]);
});

Deno.test("tencent-vpc: the subnet's own table before the default one, RouteTableID before both", async () => {
  await using tencent = new FakeTencent();
  tencent.addTable("rtb-first", { subnets: ["subnet-other"] });
  tencent.addTable("rtb-sub", { subnets: ["subnet-1"] });
  tencent.addTable("rtb-two");
  tencent.addTable("rtb-far", { vpc: "vpc-2", subnets: ["subnet-1"] });
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  await (await host.start("10.20.7.0/24"))[Symbol.asyncDispose]();
  assert.deepEqual(routes(tencent), [FOREIGN]);
  assert.deepEqual(routes(tencent, "rtb-sub"), ["10.20.7.0/24 172.16.0.10"]);
  const options = { RouteTableID: ["rtb-two", "rtb-main"] };
  await (await host.start("10.20.7.0/24", options))[Symbol.asyncDispose]();
  assert.deepEqual(routes(tencent, "rtb-two"), ["10.20.7.0/24 172.16.0.10"]);
  assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.10"]);
  await assert.rejects(host.start("10.20.7.0/24", { RouteTableID: "rtb-far" }), /rtb-far isn't.*of vpc-1/);
});

Deno.test("tencent-vpc: the address of a secondary interface decides the hop and the table", async () => {
  await using tencent = new FakeTencent();
  tencent.addTable("rtb-sub", { subnets: ["subnet-2"] });
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.addInterface(tencent.instances.get("ins-a")!, "172.16.2.10", "subnet-2");
  Object.assign(host.test.context.external.addresses, { ipv4: parseIp("172.16.2.10") });
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(tencent, "rtb-sub"), ["10.20.7.0/24 172.16.2.10"]);
  Object.assign(host.test.context.external.addresses, { ipv4: parseIp("172.16.2.99") });
  await assert.rejects(host.start("10.20.7.0/24"), /172\.16\.2\.99.*172\.16\.0\.10, 172\.16\.2\.10.*-iface/);
});

Deno.test("tencent-vpc: only black holes without a lease and own stale routes go, all else stays", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.addInstance("ins-b", "172.16.0.11");
  tencent.addRoute("10.20.1.0/24", "172.16.0.11"); // nobody's lease, but the instance is there
  tencent.addRoute("10.20.3.0/24", "172.16.0.12"); // a black hole that a peer has leased
  tencent.addRoute("10.20.4.0/24", "172.16.0.12", { enabled: false });
  tencent.addRoute("10.20.9.0/24", "vpngw-1", { type: "VPN" });
  tencent.addRoute("10.99.0.0/24", "172.16.0.12");
  tencent.addRoute("10.99.1.0/24", "172.16.0.10");
  tencent.addRoute("10.20.2.0/24", "172.16.0.10"); // a peer has leased it
  const kept = routes(tencent);
  tencent.addRoute("10.20.5.0/24", "172.16.0.1"); // ends like 172.16.0.11
  tencent.addRoute("10.20.6.0/24", "172.16.0.10");
  host.test.peers.set("10.20.2.0-24", peerLease("172.16.0.12", "10.20.2.0/24"));
  host.test.peers.set("10.20.3.0-24", peerLease("172.16.0.13", "10.20.3.0/24"));
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  assert.deepEqual(routes(tencent), [...kept, "10.20.7.0/24 172.16.0.10"]);
  // An instance that is there isn't asked for in each pass.
  tencent.calls.length = 0;
  await host.test.clock.tick();
  assert.deepEqual(tencent.calls, ["DescribeRouteTables"]);
});

Deno.test("tencent-vpc: without the right to see interfaces, routes of hosts that are gone stay, and the log says so once", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.faults.denied.add("DescribeNetworkInterfaces");
  tencent.addRoute("10.20.5.0/24", "172.16.0.12");
  await using _running = await host.start("10.20.7.0/24");
  for (let pass = 0; pass < 3; pass++) await host.test.clock.tick();
  assert.equal(routes(tencent).length, 3);
  assert.equal(tencent.calls.filter((call) => call === "DescribeNetworkInterfaces").length, 1);
  assert.equal(host.test.log.text.match(/vpc:DescribeNetworkInterfaces is missing/g)!.length, 1);
  assert.deepEqual(host.test.problems.list(), []);
});

Deno.test("tencent-vpc: a full table is seen before a write, or named by the refusal, and filled later", async () => {
  for (const denied of [false, true]) {
    await using tencent = new FakeTencent();
    await using host = new Host(tencent, "ins-a", "172.16.0.10");
    tencent.limit = 1;
    if (denied) tencent.faults.denied.add("DescribeVpcLimits");
    const starting = host.start("10.20.7.0/24");
    await until("the log names the limit", () => /No room/.test(host.test.log.text));
    assert.match(host.test.log.text, /rtb-main has 1 route.*limit.*ticket to Tencent Cloud[^]*vxlan/);
    assert.equal(tencent.changes.includes("CreateRoutes"), denied);
    tencent.limit = 2;
    await using _running = await starting;
  }
});

Deno.test("tencent-vpc: throttling is retried and counted, denial names the action", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.faults.denied.add("CreateRoutes");
  const starting = host.start("10.20.7.0/24");
  await until("denied", () => host.test.metrics.sumOf(CLOUD_RETRIES, "denied") > 0);
  assert.match(host.test.log.text, /Permission vpc:CreateRoutes is missing/);
  // Courtesy calls take some of them, uncounted.
  tencent.faults.throttle = 6;
  tencent.faults.denied.clear();
  await using _running = await starting;
  assert.ok(host.test.metrics.sumOf(CLOUD_RETRIES, "throttled") >= 2);
});

Deno.test("tencent-vpc: role keys that end early are fetched anew, and none ever shows", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  await using running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  tencent.faults.credentialsSince = Date.now();
  const table = tencent.tables.get("rtb-main")!;
  table.routes.now = table.routes.now.slice(0, 1);
  await host.test.clock.tick();
  assert.equal(routes(tencent).length, 2);
  assert.equal(host.test.metrics.sumOf(CLOUD_RETRIES, "credentials"), 1);
  assert.doesNotMatch(host.test.log.text + JSON.stringify(running.status!()), /role-secret|sts-token/);
});

Deno.test("tencent-vpc: keys from the environment, then from the config; wrong ones show no secret", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  host.metadata.role = false;
  const starting = host.start("10.20.7.0/24");
  await until("no keys", () => /There are no keys/.test(host.test.log.text));
  host.env.set("ACCESS_KEY_ID", "AKIDTEST");
  host.env.set("ACCESS_KEY_SECRET", "wrong+secret");
  await until("refused", () => /AuthFailure.SignatureFailure/.test(host.test.log.text));
  host.env.set("ACCESS_KEY_SECRET", "tencent-secret+key");
  await (await starting)[Symbol.asyncDispose]();
  host.env.delete("ACCESS_KEY_ID");
  const options = { AccessKeyID: "AKIDTEST", AccessKeySecret: "tencent-secret+key" };
  await (await host.start("10.20.7.0/24", options))[Symbol.asyncDispose]();
  assert.doesNotMatch(host.test.log.text, /wrong\+secret|tencent-secret/);
});

Deno.test("tencent-vpc: options are checked, the secret is masked, IPv6 is refused", () => {
  const type = makeTencentVpc({} as CloudEdges);
  const both = type.parse({ accesskeyid: "AKID", AccessKeySecret: "hidden-one" }, [IPV4]);
  assert.deepEqual(both.options.keys, { id: "AKID", secret: "hidden-one" });
  assert.doesNotMatch(JSON.stringify(both.complete), /hidden-one/);
  assert.match(type.parse({ AccessKeySecret: "hidden-one" }, [IPV4]).faults[0]!.message, /AccessKeyID/);
  assert.match(type.parse({ AccessKeyID: "AKID" }, [IPV4]).faults[0]!.message, /AccessKeySecret/);
  assert.match(type.parse({ RouteTableID: "vtb-1" }, [IPV4]).faults[0]!.message, /RouteTableID.*rtb-/);
  assert.match(type.parse({}, [IPV4, IPV6]).faults[0]!.message, /EnableIPv6/);
});

Deno.test("tencent-vpc: sparse answers that lag, an API that is down, then broken", async () => {
  await using tencent = new FakeTencent();
  await using host = new Host(tencent, "ins-a", "172.16.0.10");
  tencent.faults.sparse = true;
  tencent.faults.now = host.test.clock.now;
  tencent.faults.lag = 3_000;
  await tencent.server.down();
  const starting = host.start("10.20.7.0/24");
  await until("unreachable", () => /No answer from Tencent Cloud.*ECONNREFUSED/.test(host.test.log.text));
  tencent.faults.broken = 2;
  tencent.server.up();
  await using _running = await starting;
  assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.10"]);
  assert.equal(tencent.changes.length, 1);
});

Deno.test("tencent-vpc: two hosts that race for one subnet end with one route", async () => {
  await using tencent = new FakeTencent();
  await using a = new Host(tencent, "ins-a", "172.16.0.10");
  await using b = new Host(tencent, "ins-b", "172.16.0.11");
  // Hosts that retry in step would go on for a long time.
  for (const { test } of [a, b]) test.clock.random = Math.random;
  const both = await Promise.all([a.start("10.20.7.0/24"), b.start("10.20.7.0/24")]);
  await both[0][Symbol.asyncDispose]();
  await b.test.clock.idle();
  await b.test.clock.tick();
  assert.deepEqual(routes(tencent), [FOREIGN, "10.20.7.0/24 172.16.0.11"]);
  await both[1][Symbol.asyncDispose]();
});

Deno.test("tencent-vpc: cleanup removes own routes alone, twice without error, also without a lease", async () => {
  for (const subnets of [["10.20.7.0/24"], []]) {
    await using tencent = new FakeTencent();
    await using host = new Host(tencent, "ins-a", "172.16.0.10");
    tencent.addRoute("10.20.8.0/24", "172.16.0.11");
    tencent.addRoute("10.99.1.0/24", "172.16.0.10");
    tencent.addRoute("10.20.7.0/24", "172.16.0.10");
    await host.cleanup(...subnets);
    await host.cleanup(...subnets);
    assert.deepEqual(tencent.changes, ["DeleteRoutes"]);
    assert.equal(routes(tencent).length, 3);
  }
});

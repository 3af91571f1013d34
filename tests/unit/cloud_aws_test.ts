import assert from "node:assert/strict";
import { CLOUD_RETRIES, CLOUD_ROUTE_READY } from "../../backends/cloud/metrics.ts";
import { makeAwsVpc } from "../../backends/aws_vpc/backend.ts";
import type { CloudEdges } from "../../backends/cloud/backend.ts";
import { FakeAws } from "../fakes/aws.ts";
import { FakeImds } from "../fakes/aws_imds.ts";
import { peerLease, startBackend, type TestHost, testHost, until, within } from "../fakes/session.ts";
import { IPV4 } from "../../lib/net/family.ts";

/** One host in a fake VPC, with static keys in its environment. */
class Host implements AsyncDisposable {
  readonly imds: FakeImds;
  readonly test: TestHost;
  readonly edges: CloudEdges;
  readonly env = new Map<string, string>();
  constructor(readonly aws: FakeAws, id: string, address: string, networks?: string[]) {
    aws.addInstance(id, address);
    this.imds = new FakeImds(aws, id);
    this.test = testHost(address, { type: "aws-vpc", ...(networks ? { networks } : {}) });
    this.env.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", this.imds.server.url);
    this.env.set("AWS_ENDPOINT_URL_EC2", aws.server.url);
    this.env.set("AWS_ACCESS_KEY_ID", "AKIDTEST");
    this.env.set("AWS_SECRET_ACCESS_KEY", "aws-secret/test+key");
    // Read here rather than by the SDK's chain, which looks at the whole process's environment.
    this.env.set("AWS_SECURITY_TOKEN", "session-token");
    this.edges = { env: (name) => this.env.get(name), clock: this.test.clock };
  }
  /** Opens and starts the backend. */
  start(subnets: string | string[], options: Record<string, string | string[]> = {}) {
    const starting = within("the backend is ready", this.#start(subnets, options));
    // A test that fails before it awaits this must not fail for this as well.
    starting.catch(() => {});
    return starting;
  }
  async #start(subnets: string | string[], options: Record<string, string | string[]>) {
    const type = makeAwsVpc(this.edges);
    const parsed = type.parse(options, [IPV4]);
    assert.deepEqual(parsed.faults, []);
    const backend = await type.open(parsed.options, this.test.context);
    return await startBackend(backend, this.test.session(this.test.lease(...[subnets].flat())));
  }
  async cleanup(...subnets: string[]) {
    const type = makeAwsVpc(this.edges);
    await type.cleanup!({ routeTableIds: [] }, this.test.context, this.test.lease(...subnets));
  }
  async [Symbol.asyncDispose]() {
    this.test.end.abort();
    await this.imds[Symbol.asyncDispose]();
  }
}

function cloud(): FakeAws {
  const aws = new FakeAws();
  aws.keys.set("AKIDTEST", { secret: "aws-secret/test+key", token: "session-token", since: Infinity });
  return aws;
}

function routes(aws: FakeAws, table = "rtb-0aaa"): string[] {
  return aws.tables.get(table)!.routes.now
    .map((route) => `${route.cidr} ${route.eni ?? route.gateway}${route.state ? ` ${route.state}` : ""}`);
}

const FOREIGN = ["10.0.0.0/16 local", "0.0.0.0/0 igw-0aaa"];

Deno.test("aws-vpc: a first start makes one route, a restart changes nothing", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  const running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(aws), [...FOREIGN, "10.20.7.0/24 eni-0a"]);
  assert.deepEqual(aws.changes, ["ModifyNetworkInterfaceAttribute", "CreateRoute"]);
  assert.equal(aws.instances.get("i-0a")!.sourceDestCheck, false);
  await running[Symbol.asyncDispose]();
  assert.deepEqual(routes(aws), [...FOREIGN, "10.20.7.0/24 eni-0a"]);
  aws.calls.length = 0;
  const again = await host.start("10.20.7.0/24");
  await host.test.clock.tick();
  assert.deepEqual(aws.changes, []);
  assert.ok(aws.calls.length > 0);
  await again[Symbol.asyncDispose]();
});

Deno.test("aws-vpc: a taken route is ours again after the next pass, in one step", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.addInstance("i-0b", "10.0.1.11");
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  const table = aws.tables.get("rtb-0aaa")!;
  table.routes.now = table.routes.now.map((route) => route.eni ? { ...route, eni: "eni-0b" } : route);
  aws.calls.length = 0;
  await host.test.clock.tick();
  assert.deepEqual(aws.changes, ["ReplaceRoute"]);
  assert.deepEqual(routes(aws), [...FOREIGN, "10.20.7.0/24 eni-0a"]);
  assert.match(host.test.log.text, /pointed elsewhere, corrected[^]*eni-0b/);
});

Deno.test("aws-vpc: only black holes without a lease and own stale routes go, all else stays", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.addInstance("i-0b", "10.0.1.11");
  const table = aws.tables.get("rtb-0aaa")!;
  const keep = [
    { cidr: "10.20.1.0/24", eni: "eni-0b" }, // somebody else's, without a lease
    { cidr: "10.20.2.0/24", eni: "eni-gone", state: "blackhole" as const }, // a live lease's
    { cidr: "10.99.0.0/24", eni: "eni-gone", state: "blackhole" as const }, // outside the network
    { cidr: "10.99.1.0/24", eni: "eni-0a" }, // ours, outside the network
    { cidr: "10.20.0.0/16", eni: "eni-0a" }, // the whole network: somebody's gateway
    { cidr: "10.20.3.0/24", eni: "eni-0a" }, // leads here, but a peer has leased it
    {
      cidr: "10.20.4.0/24",
      gateway: "vgw-1",
      state: "blackhole" as const,
      origin: "EnableVgwRoutePropagation",
    },
  ];
  const go = [
    { cidr: "10.20.5.0/24", eni: "eni-gone", state: "blackhole" as const },
    { cidr: "10.20.6.0/24", eni: "eni-0a" },
  ];
  table.routes.now = [...table.routes.now, ...keep, ...go];
  host.test.peers.set("10.20.2.0-24", peerLease("10.0.1.12", "10.20.2.0/24"));
  host.test.peers.set("10.20.3.0-24", peerLease("10.0.1.11", "10.20.3.0/24"));
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  const left = aws.tables.get("rtb-0aaa")!.routes.now.map((route) => route.cidr);
  assert.deepEqual(left, ["10.0.0.0/16", "0.0.0.0/0", ...keep.map((route) => route.cidr), "10.20.7.0/24"]);
});

Deno.test("aws-vpc: several tables, IPv6, and the subnet's own table before the main one", async () => {
  await using aws = cloud();
  aws.addTable("rtb-0sub", { subnets: ["subnet-0aaa"] });
  aws.addTable("rtb-0two");
  await using host = new Host(aws, "i-0a", "10.0.1.10", ["10.20.0.0/16", "fd00:20::/48"]);
  const own = ["10.20.7.0/24", "fd00:20:0:7::/64"];
  {
    await using _running = await host.start(own);
    assert.deepEqual(routes(aws, "rtb-0sub").slice(2), own.map((cidr) => `${cidr} eni-0a`));
    assert.deepEqual(routes(aws), FOREIGN);
  }
  await using _running = await host.start(own, { RouteTableID: ["rtb-0aaa", "rtb-0two"] });
  assert.deepEqual(routes(aws).slice(2), own.map((cidr) => `${cidr} eni-0a`));
  assert.deepEqual(routes(aws, "rtb-0two").slice(2), own.map((cidr) => `${cidr} eni-0a`));
});

Deno.test("aws-vpc: a full table is named with number and way out, and filled once there is room", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.limit = 3;
  const starting = host.start("10.20.7.0/24");
  await until("the log names the limit", () => /limit/.test(host.test.log.text));
  assert.match(host.test.log.text, /rtb-0aaa has 3 routes[^]*RouteLimitExceeded[^]*Service Quotas[^]*vxlan/);
  aws.limit = 4;
  await using _running = await starting;
  assert.equal(routes(aws).length, 3);
});

Deno.test("aws-vpc: an own stale route makes room for the new one in a full table", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.limit = 4;
  const table = aws.tables.get("rtb-0aaa")!;
  table.routes.now = [...table.routes.now, { cidr: "10.20.6.0/24", eni: "eni-0a" }];
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(aws), [...FOREIGN, "10.20.7.0/24 eni-0a"]);
});

Deno.test("aws-vpc: throttling is retried and counted, denial names the action", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.faults.denied.add("CreateRoute");
  const starting = host.start("10.20.7.0/24");
  await until("denied", () => host.test.metrics.sumOf(CLOUD_RETRIES, "denied") > 0);
  assert.match(host.test.log.text, /Permission ec2:CreateRoute is missing/);
  aws.faults.throttle = 2;
  aws.faults.denied.clear();
  await using _running = await starting;
  assert.ok(host.test.metrics.sumOf(CLOUD_RETRIES, "throttled") >= 2);
});

Deno.test("aws-vpc: a refused source/destination check is an error that names the permission, and no reason to wait", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.faults.denied.add("ModifyNetworkInterfaceAttribute");
  await using _running = await host.start("10.20.7.0/24");
  assert.match(host.test.log.text, /warn .*ec2:ModifyNetworkInterfaceAttribute/);
  assert.equal(routes(aws).length, 3);
});

Deno.test("aws-vpc: without DescribeInstances a named table is served by what the metadata says", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.faults.denied.add("DescribeInstances");
  await using _running = await host.start("10.20.7.0/24", { RouteTableID: "rtb-0aaa" });
  assert.equal(routes(aws).length, 3);
  assert.match(host.test.log.text, /warn.*ec2:DescribeInstances/);
});

Deno.test("aws-vpc: sparse answers, and changes that show late", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.faults.sparse = true;
  aws.faults.now = host.test.clock.now;
  aws.faults.lag = 5_000;
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(aws), [...FOREIGN, "10.20.7.0/24 eni-0a"]);
  assert.equal(aws.changes.filter((change) => change === "CreateRoute").length, 1);
});

Deno.test("aws-vpc: an API that is down, then slow to come back, costs no more than time", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  await aws.server.down();
  const starting = host.start("10.20.7.0/24");
  await until("unreachable", () => /ECONNREFUSED/.test(host.test.log.text));
  aws.faults.broken = 2;
  aws.server.up();
  await using _running = await starting;
  assert.equal(routes(aws).length, 3);
});

Deno.test("aws-vpc: cleanup removes the own route alone, twice without error", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  aws.addInstance("i-0b", "10.0.1.11");
  const table = aws.tables.get("rtb-0aaa")!;
  const others = [{ cidr: "10.20.8.0/24", eni: "eni-0b" }, { cidr: "10.99.0.0/24", eni: "eni-0a" }];
  table.routes.now = [...table.routes.now, { cidr: "10.20.7.0/24", eni: "eni-0a" }, ...others];
  await host.cleanup("10.20.7.0/24");
  await host.cleanup("10.20.7.0/24");
  assert.deepEqual(aws.changes, ["DeleteRoute"]);
  assert.equal(routes(aws).length, 4);
});

Deno.test("aws-vpc: what retries don't help is an error that says what would be right", async () => {
  await using aws = cloud();
  aws.addTable("rtb-0far", { vpc: "vpc-0bbb" });
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  await assert.rejects(host.start("10.20.7.0/24", { RouteTableID: "rtb-0none" }), /rtb-0none.*NotFound/);
  await assert.rejects(host.start("10.20.7.0/24", { RouteTableID: "rtb-0far" }), /vpc-0bbb.*vpc-0aaa/);
  host.env.set("AWS_EC2_METADATA_DISABLED", "true");
  await assert.rejects(host.start("10.20.7.0/24"), /AWS_EC2_METADATA_DISABLED/);
  const { faults } = makeAwsVpc(host.edges).parse({ routetableid: ["vpc-1"] }, [IPV4]);
  assert.match(faults[0]!.message, /Backend.RouteTableID/);
});

Deno.test("aws-vpc: metadata version 1 where allowed, a lost session token fetched again", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  host.imds.v2 = false;
  host.imds.v1 = true;
  await (await host.start("10.20.7.0/24"))[Symbol.asyncDispose]();
  host.env.set("AWS_EC2_METADATA_V1_DISABLED", "true");
  const starting = host.start("10.20.7.0/24");
  await until("refused", () => /switched off/.test(host.test.log.text));
  host.imds.v2 = true;
  host.imds.v1 = false;
  await (await starting)[Symbol.asyncDispose]();
  host.imds.dropTokens();
  await (await host.start("10.20.7.0/24"))[Symbol.asyncDispose]();
});

Deno.test("aws-vpc: two hosts that race for one entry end with one route, and no secret ever shows", async () => {
  await using aws = cloud();
  await using a = new Host(aws, "i-0a", "10.0.1.10");
  await using b = new Host(aws, "i-0b", "10.0.1.11");
  const both = await Promise.all([a.start("10.20.7.0/24"), b.start("10.20.7.0/24")]);
  assert.equal(routes(aws).length, 3);
  const shown = [a, b].map((host) => host.test.log.text).join() +
    JSON.stringify(both.map((one) => one.status!()));
  assert.doesNotMatch(shown, /aws-secret|session-token/);
  for (const one of both) await one[Symbol.asyncDispose]();
});

Deno.test("aws-vpc: wrong keys don't crash the daemon, and the message says what to check", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  host.env.set("AWS_SECRET_ACCESS_KEY", "wrong-secret");
  const starting = host.start("10.20.7.0/24");
  await until("refused", () => host.test.metrics.sumOf(CLOUD_RETRIES, "credentials") > 1);
  assert.match(host.test.log.text, /SignatureDoesNotMatch/);
  assert.doesNotMatch(host.test.log.text, /wrong-secret/);
  host.test.end.abort();
  await assert.rejects(starting);
});

Deno.test("aws-vpc: the source/destination check is switched off once that is allowed, and when it comes back", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  const instance = aws.instances.get("i-0a")!;
  aws.faults.denied.add("ModifyNetworkInterfaceAttribute");
  await using _running = await host.start("10.20.7.0/24");
  assert.match(host.test.problems.notReady().join(), /aws-vpc instance: .*drops containers' packets/);
  aws.faults.denied.clear();
  await host.test.clock.idle();
  assert.equal(instance.sourceDestCheck, false);
  assert.deepEqual(host.test.problems.notReady(), []);
  instance.sourceDestCheck = true;
  await host.test.clock.tick();
  assert.equal(instance.sourceDestCheck, false);
});

Deno.test("aws-vpc: a subnet that moves to another table is followed", async () => {
  await using aws = cloud();
  aws.addTable("rtb-0new");
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  await using running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  aws.associate("subnet-0aaa", "rtb-0new");
  await host.test.clock.tick();
  assert.deepEqual(routes(aws, "rtb-0new").slice(2), ["10.20.7.0/24 eni-0a"]);
  assert.deepEqual((running.status!() as { tables: string[] }).tables, ["rtb-0new"]);
  // The old table may serve other subnets: what stands there stays.
  assert.equal(routes(aws).length, 3);
});

Deno.test("aws-vpc: a moved subnet whose new table is full makes the host not ready", async () => {
  await using aws = cloud();
  aws.addTable("rtb-0new");
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  aws.associate("subnet-0aaa", "rtb-0new");
  aws.limit = 3;
  const ticking = host.test.clock.tick();
  await until("it says so", () => /rtb-0new has 3/.test(host.test.problems.notReady().join()));
  assert.equal(host.test.metrics.sumOf(CLOUD_ROUTE_READY, "aws-vpc"), 0);
  aws.limit = 50;
  await ticking;
  assert.deepEqual(host.test.problems.notReady(), []);
});

Deno.test("aws-vpc: a metadata service without tokens is asked for one once, not before each value", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  host.imds.v2 = false;
  host.imds.v1 = true;
  await using _running = await host.start("10.20.7.0/24");
  assert.equal(host.imds.calls.filter((call) => call.startsWith("PUT")).length, 1);
});

Deno.test("aws-vpc: regions of China and GovCloud are called at their own addresses", async () => {
  const { EC2 } = await import("@aws-sdk/client-ec2");
  const hosts = ["eu-west-1", "cn-north-1", "us-gov-west-1"].map((region) => {
    const { endpointProvider } = new EC2({ region }).config;
    return endpointProvider({ Region: region }).url.host;
  });
  assert.deepEqual(hosts, [
    "ec2.eu-west-1.amazonaws.com",
    "ec2.cn-north-1.amazonaws.com.cn",
    "ec2.us-gov-west-1.amazonaws.com",
  ]);
});

Deno.test("aws-vpc: doctor sees the source/destination check, a refusal and full tables, and changes nothing", async () => {
  await using aws = cloud();
  await using host = new Host(aws, "i-0a", "10.0.1.10");
  const examine = async () => {
    const found = await makeAwsVpc(host.edges).examine!({ routeTableIds: [] }, host.test.context);
    return found.map(({ severity, text }) => `${severity}: ${text}`).join("\n");
  };
  assert.match(await examine(), /^warning: eni-0a of i-0a checks source and destination/);
  aws.instances.get("i-0a")!.sourceDestCheck = false;
  assert.match(await examine(), /^ok: routes lead to eni-0a of i-0a, in rtb-0aaa$/);
  aws.keys.clear();
  assert.match(await examine(), /^fault: /);
  assert.deepEqual(aws.changes, []);
});

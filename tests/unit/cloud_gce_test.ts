import assert from "node:assert/strict";
import { CLOUD_RETRIES } from "../../backends/cloud/metrics.ts";
import type { CloudEdges } from "../../backends/cloud/backend.ts";
import { makeGce } from "../../backends/gce/backend.ts";
import { routeNames } from "../../backends/gce/names.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { FakeGce } from "../fakes/gce.ts";
import { FakeGceMetadata } from "../fakes/gce_metadata.ts";
import { peerLease, startBackend, type TestHost, testHost, until, within } from "../fakes/session.ts";

/** One instance in a fake network. */
class Host implements AsyncDisposable {
  readonly metadata: FakeGceMetadata;
  readonly test: TestHost;
  readonly edges: CloudEdges;
  readonly env = new Map<string, string>();
  constructor(readonly gce: FakeGce, name: string, address: string, networks?: string[]) {
    gce.addInstance(name, address);
    this.metadata = new FakeGceMetadata(gce, name);
    this.test = testHost(address, { type: "gce", ...(networks ? { networks } : {}) });
    this.env.set("GCE_METADATA_HOST", this.metadata.server.host);
    this.env.set("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", `${gce.server.url}/compute/v1/`);
    this.edges = { env: (key) => this.env.get(key), clock: this.test.clock };
  }
  /** Opens and starts the backend. */
  start(...subnets: string[]) {
    const starting = within("the backend is ready", this.#start(subnets));
    // A test that fails before it awaits this must not fail for this as well.
    starting.catch(() => {});
    return starting;
  }
  async #start(subnets: string[]) {
    const backend = await makeGce(this.edges).open({}, this.test.context);
    return await startBackend(backend, this.test.session(this.test.lease(...subnets)));
  }
  async cleanup(...subnets: string[]) {
    await makeGce(this.edges).cleanup!({}, this.test.context, this.test.lease(...subnets));
  }
  async [Symbol.asyncDispose]() {
    this.test.end.abort();
    await this.metadata[Symbol.asyncDispose]();
  }
}

function routes(gce: FakeGce): string[] {
  return gce.routes.now.map(({ name, destRange, nextHopInstance, nextHopGateway }) =>
    `${name} ${destRange} ${nextHopInstance?.split("/").at(-1) ?? nextHopGateway}`
  );
}

const FOREIGN = "default-route-1 0.0.0.0/0 default-internet-gateway";

Deno.test("gce: a first start makes one route under the original's name, a restart changes nothing", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.faults.now = host.test.clock.now;
  gce.faults.operation = 2_000;
  const running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(gce), [FOREIGN, "flannel-10-20-7-0-24 10.20.7.0/24 host-a"]);
  await running[Symbol.asyncDispose]();
  gce.calls.length = 0;
  await using _again = await host.start("10.20.7.0/24");
  await host.test.clock.tick();
  assert.deepEqual(gce.changes, []);
  assert.ok(gce.calls.length > 0);
});

Deno.test("gce: a conflicting route of the same name is replaced, a rival of another name removed after", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.addInstance("host-b", "10.128.0.3");
  gce.addRoute("flannel-10-20-7-0-24", "10.20.7.0/24", "host-b");
  gce.addRoute("by-hand", "10.20.7.0/24", "host-b");
  gce.addRoute("by-hand-weak", "10.20.7.0/24", "host-b", { priority: 2000 });
  gce.addRoute("by-hand-tagged", "10.20.7.0/24", "host-b", { tags: ["some"] });
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  assert.deepEqual(routes(gce).map((line) => line.split(" ")[0]).sort(), [
    "by-hand-tagged",
    "by-hand-weak",
    "default-route-1",
    "flannel-10-20-7-0-24",
  ]);
  assert.equal(gce.hops().get("10.20.7.0/24") !== undefined, true);
  assert.match(routes(gce).join("\n"), /flannel-10-20-7-0-24 10.20.7.0\/24 host-a/);
});

Deno.test("gce: another network's route of the same name is left, and ours gets the network as suffix", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.addRoute("flannel-10-20-7-0-24", "10.20.7.0/24", "host-z", { network: gce.networkUrl("other") });
  await using _running = await host.start("10.20.7.0/24");
  assert.deepEqual(routes(gce).slice(1), [
    "flannel-10-20-7-0-24 10.20.7.0/24 host-z",
    "flannel-10-20-7-0-24-flannel-net 10.20.7.0/24 host-a",
  ]);
});

Deno.test("gce: only black holes without a lease and own stale routes go, all else stays", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.addInstance("host-b", "10.128.0.3");
  gce.addRoute("flannel-10-20-1-0-24", "10.20.1.0/24", "host-b");
  gce.addRoute("flannel-10-20-2-0-24", "10.20.2.0/24", "gone"); // a live lease's
  gce.addRoute("elsewhere", "10.99.0.0/24", "gone");
  gce.addRoute("mine-elsewhere", "10.99.1.0/24", "host-a");
  gce.addRoute("other-net", "10.20.9.0/24", "gone", { network: gce.networkUrl("other") });
  const kept = routes(gce);
  gce.addRoute("flannel-10-20-5-0-24", "10.20.5.0/24", "gone");
  gce.addRoute("flannel-10-20-6-0-24", "10.20.6.0/24", "host-a");
  host.test.peers.set("10.20.2.0-24", peerLease("10.128.0.4", "10.20.2.0/24"));
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  assert.deepEqual(routes(gce), [...kept, "flannel-10-20-7-0-24 10.20.7.0/24 host-a"]);
});

Deno.test("gce: a full project is seen before anything is written, with number, limit and way out", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.limit = 1;
  const starting = host.start("10.20.7.0/24");
  await until("the log names the limit", () => /limit/.test(host.test.log.text));
  assert.match(host.test.log.text, /test-project has 1 route and its limit is 1[^]*Quotas[^]*vxlan/);
  assert.deepEqual(gce.changes, []);
  gce.limit = 2;
  await using _running = await starting;
  assert.equal(routes(gce).length, 2);
});

Deno.test("gce: without the right to see quotas, the failed operation names the limit", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.limit = 1;
  gce.faults.denied.add("compute.projects.get");
  const starting = host.start("10.20.7.0/24");
  await until("the log names the limit", () => /QUOTA_EXCEEDED/.test(host.test.log.text));
  assert.match(host.test.log.text, /QUOTA_EXCEEDED: Quota 'ROUTES' exceeded. Limit: 1.0 globally/);
  gce.limit = 2;
  await using _running = await starting;
});

Deno.test("gce: throttling is retried and counted, denial names the permission", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.faults.denied.add("compute.routes.insert");
  const starting = host.start("10.20.7.0/24");
  await until("denied", () => host.test.metrics.sumOf(CLOUD_RETRIES, "denied") > 0);
  assert.match(host.test.log.text, /Permission compute.routes.create is missing/);
  // Courtesy calls take some of them, uncounted.
  gce.faults.throttle = 6;
  gce.faults.denied.clear();
  await using _running = await starting;
  assert.ok(host.test.metrics.sumOf(CLOUD_RETRIES, "throttled") >= 3);
});

Deno.test("gce: tokens that end in the middle are fetched anew, and none ever shows", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  await using running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  gce.tokens.clear();
  gce.routes.now = gce.routes.now.slice(0, 1);
  await host.test.clock.tick();
  assert.deepEqual(routes(gce).length, 2);
  assert.equal(host.test.metrics.sumOf(CLOUD_RETRIES, "credentials"), 1);
  assert.doesNotMatch(host.test.log.text + JSON.stringify(running.status!()), /ya29|Bearer/);
});

Deno.test("gce: an instance that may not forward is an error with the gcloud command", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.instances.get("host-a")!.canIpForward = false;
  await assert.rejects(
    host.start("10.20.7.0/24"),
    /gcloud compute instances create host-a.*--can-ip-forward/,
  );
});

Deno.test("gce: sparse answers, an API that is down, a metadata server that isn't Google's", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.faults.sparse = true;
  gce.faults.now = host.test.clock.now;
  gce.faults.lag = 3_000;
  await gce.server.down();
  host.metadata.foreign = true;
  const starting = host.start("10.20.7.0/24");
  await until("not Google's", () => /isn't Google's/.test(host.test.log.text));
  host.metadata.foreign = false;
  await until("unreachable", () => /No answer from Compute Engine/.test(host.test.log.text));
  gce.faults.broken = 2;
  gce.server.up();
  await using _running = await starting;
  assert.deepEqual(routes(gce), [FOREIGN, "flannel-10-20-7-0-24 10.20.7.0/24 host-a"]);
  assert.equal(gce.changes.length, 1);
});

Deno.test("gce: two hosts that race for one name end with one route", async () => {
  await using gce = new FakeGce();
  await using a = new Host(gce, "host-a", "10.128.0.2");
  await using b = new Host(gce, "host-b", "10.128.0.3");
  const both = await Promise.all([a.start("10.20.7.0/24"), b.start("10.20.7.0/24")]);
  assert.equal(routes(gce).length, 2);
  for (const one of both) await one[Symbol.asyncDispose]();
});

Deno.test("gce: cleanup removes the own route alone, twice without error", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.addRoute("flannel-10-20-8-0-24", "10.20.8.0/24", "host-b");
  gce.addRoute("mine-elsewhere", "10.99.1.0/24", "host-a");
  gce.addRoute("flannel-10-20-7-0-24", "10.20.7.0/24", "host-a");
  await host.cleanup("10.20.7.0/24");
  await host.cleanup("10.20.7.0/24");
  assert.deepEqual(gce.changes, ["compute.routes.delete"]);
  assert.equal(routes(gce).length, 3);
});

Deno.test("gce: route names keep the API's rules for every prefix", () => {
  const rule = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
  for (const text of ["10.20.7.0/24", "fd00:20:0:7::/64", "fd00:1111:2222:3333:4444:5555:6666:7770/124"]) {
    for (const name of routeNames(parsePrefix(text), "a-network-with-a-name-of-some-length")) {
      assert.match(name, rule);
    }
  }
  assert.equal(routeNames(parsePrefix("10.20.7.0/24"), "n")[0], "flannel-10-20-7-0-24");
});

Deno.test("gce: an insertion whose operation failed is tried under a new request id", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.failingInserts = 3;
  await using _running = await host.start("10.20.7.0/24");
  assert.equal(gce.requestIds.length, 4);
  assert.equal(new Set(gce.requestIds).size, 4);
  assert.equal(routes(gce).length, 2);
});

Deno.test("gce: an insertion without an answer is tried under the same request id", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.faults.now = host.test.clock.now;
  gce.faults.operation = 60_000;
  gce.lostInserts = 2;
  await using _running = await host.start("10.20.7.0/24");
  assert.equal(gce.requestIds.length, 3);
  assert.equal(new Set(gce.requestIds).size, 1);
});

Deno.test("gce: a route of our name with tags or another priority is replaced, not inserted again for hours", async () => {
  for (const oddity of [{ tags: ["web"] }, { priority: 2000 }]) {
    for (const hop of ["host-a", "host-b"]) {
      await using gce = new FakeGce();
      await using host = new Host(gce, "host-a", "10.128.0.2");
      gce.addInstance("host-b", "10.128.0.3");
      gce.addRoute("flannel-10-20-7-0-24", "10.20.7.0/24", hop, oddity);
      await using _running = await host.start("10.20.7.0/24");
      assert.deepEqual(gce.changes, ["compute.routes.delete", "compute.routes.insert"]);
      const { priority, tags } = gce.routes.now.find(({ name }) => name === "flannel-10-20-7-0-24")!;
      assert.deepEqual({ priority, tags }, { priority: 1000, tags: [] });
    }
  }
});

Deno.test("gce: an operation that the API doesn't know any more isn't taken for done", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  gce.faults.now = host.test.clock.now;
  gce.faults.operation = 2_000;
  gce.forgetsOperations = true;
  gce.addInstance("host-b", "10.128.0.3");
  gce.addRoute("flannel-10-20-7-0-24", "10.20.7.0/24", "host-b");
  const starting = host.start("10.20.7.0/24");
  await until("the log says so", () => /how it ended is unknown/.test(host.test.log.text));
  await using _running = await starting;
  assert.deepEqual(routes(gce), [FOREIGN, "flannel-10-20-7-0-24 10.20.7.0/24 host-a"]);
});

Deno.test("gce: in a Shared VPC the route stands in the network's project and leads to the address", async () => {
  await using gce = new FakeGce();
  gce.hostProject = "host-project";
  gce.routes.now = [];
  await using host = new Host(gce, "host-a", "10.128.0.2");
  // An instance of the host project with this one's name and zone is another one.
  gce.addRoute("elsewhere", "10.20.9.0/24", "", {
    nextHopInstance: `projects/host-project/zones/${gce.zone}/instances/host-a`,
  });
  {
    await using running = await host.start("10.20.7.0/24");
    await host.test.clock.idle();
    const route = gce.routes.now.find(({ name }) => name === "flannel-10-20-7-0-24")!;
    assert.equal(route.network, "projects/host-project/global/networks/flannel-net");
    assert.equal(route.nextHopIp, "10.128.0.2");
    assert.deepEqual((running.status!() as { tables: string[] }).tables, ["host-project/flannel-net"]);
  }
  gce.calls.length = 0;
  await using _again = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  assert.deepEqual(gce.changes, []);
  assert.equal(gce.routes.now.length, 2);
  gce.faults.denied.add("compute.routes.list");
  const ticking = host.test.clock.tick();
  await until("denied", () => /routes.list is missing.*in project host-project/.test(host.test.log.text));
  gce.faults.denied.clear();
  await ticking;
});

Deno.test("gce: while one black hole's removal takes its time, a host that takes the next one keeps its route", async () => {
  await using gce = new FakeGce();
  await using host = new Host(gce, "host-a", "10.128.0.2");
  await using _running = await host.start("10.20.7.0/24");
  await host.test.clock.idle();
  gce.faults.now = host.test.clock.now;
  gce.faults.operation = 90_000;
  const subnets = ["10.20.1.0/24", "10.20.2.0/24"];
  const nameOf = (subnet: string) => `flannel-${subnet.replace(/[./]/g, "-")}`;
  for (const subnet of subnets) gce.addRoute(nameOf(subnet), subnet, "gone");
  gce.addInstance("host-b", "10.128.0.3");
  gce.onCall = (call) => {
    if (call !== "compute.globalOperations.get") return;
    gce.onCall = () => {};
    const left = subnets.find((subnet) => !gce.deleting.includes(nameOf(subnet)))!;
    host.test.peers.set(left.replace("/", "-"), peerLease("10.128.0.3", left));
    gce.routes.now = gce.routes.now.map((route) =>
      route.destRange === left ? { ...route, nextHopInstance: gce.instanceUrl("host-b") } : route
    );
  };
  await host.test.clock.tick();
  assert.equal(gce.changes.filter((call) => call === "compute.routes.delete").length, 1);
  assert.equal(routes(gce).filter((line) => line.endsWith("host-b")).length, 1);
});

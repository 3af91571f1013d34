/** What a host does on its own Node while others write there, too. */
import assert from "node:assert/strict";
import { ApiClient } from "../../lib/kube/client.ts";
import { KubeMembership } from "../../lib/leases/kube/membership.ts";
import { FAMILIES, type Family } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { ADMIN_RULES } from "../fakes/kube/access.ts";
import type { KubeObject } from "../fakes/kube/objects.ts";
import { FakeApiServer } from "../fakes/kube/server.ts";
import { RecordedLog, until } from "../fakes/session.ts";

const PREFIX = "flannel.alpha.coreos.com/";

const [IPV4, IPV6] = FAMILIES as [Family, Family];
const PUBLIC = { ipv4: "192.0.2.1", ipv6: "2001:db8::1" } as const;
const CIDR = { ipv4: "10.5.1.0/24", ipv6: "fc00:0:0:1::/64" } as const;

/** The Node as the kubelet registers it, once it has a subnet. */
function bareNode(cidr: string): KubeObject {
  return {
    metadata: { name: "own", annotations: {} },
    spec: { podCIDR: cidr, podCIDRs: [cidr] },
    status: {},
  };
}

/** A host on the Node `own` that publishes, and follows. */
class Host implements AsyncDisposable {
  readonly log = new RecordedLog();
  readonly problems = new Problems({ log: this.log });
  readonly membership: KubeMembership;
  readonly #client: ApiClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  private constructor(readonly server: FakeApiServer, readonly family: Family, cidr: string) {
    this.#client = new ApiClient({
      server: new URL(server.url),
      source: "test",
      insecure: false,
      tls: () => Promise.resolve({}),
      authorization: () => Promise.resolve("Bearer secret"),
    });
    const { metadata } = this.node;
    this.membership = new KubeMembership({
      client: this.#client,
      annotationPrefix: PREFIX,
      nodeName: "own",
      families: [family],
      subnets: { [family.name]: parsePrefix(cidr) },
      since: 0n,
      uid: (metadata as { uid?: string }).uid!,
      attributes: {
        publicIps: { [family.name]: parseIp(PUBLIC[family.name]) },
        backendType: "host-gw",
        backendData: {},
      },
      setCondition: true,
      version: String(server.store.version),
      log: this.log,
      metrics: new MetricsRegistry(),
      problems: this.problems,
    });
    const sink = { list: () => {}, change: () => {}, get: () => undefined };
    this.#running = Promise.all([
      this.membership.keep(this.#stop.signal, () => {}),
      this.membership.follow(sink as never, () => {}, this.#stop.signal),
    ]);
    this.membership.ready();
  }

  static async start(family = IPV4): Promise<Host> {
    const server = await FakeApiServer.start();
    server.access.addToken("secret", "flannel");
    server.access.setRules("flannel", ADMIN_RULES);
    const cidr = CIDR[family.name];
    server.store.create("nodes", bareNode(cidr));
    const host = new Host(server, family, cidr);
    await until("it is annotated", () => host.isAnnotated);
    return host;
  }

  get node(): KubeObject {
    return this.server.store.get("nodes", "own");
  }

  get isAnnotated(): boolean {
    return this.publicIp === PUBLIC[this.family.name];
  }

  /** What the Node says that peers dial. */
  get publicIp(): string | undefined {
    const name = this.family.name === "ipv4" ? "public-ip" : "public-ipv6";
    return this.node.metadata.annotations?.[PREFIX + name];
  }

  /** How often the Node was written by the host. */
  get patches(): number {
    return this.server.requests.filter(({ method }) => method === "PATCH").length;
  }

  /** Another program's write. */
  write(annotations: Record<string, string>, status: object = this.node["status"] as object): void {
    const { node } = this;
    this.server.store.update("nodes", { ...node, metadata: { ...node.metadata, annotations }, status });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the test is over"));
    await this.#running;
    this.#client[Symbol.dispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

// Two who wipe each other's annotations wrote as fast as the API server answered.
Deno.test("kube membership: another program that wipes the annotations each time is answered less and less, and named", async () => {
  await using host = await Host.start();
  host.server.requests.splice(0);
  using _wiping = host.server.store.watch(({ object }) => {
    const wiped = Object.keys(object.metadata.annotations ?? {}).some((name) => name.startsWith(PREFIX));
    if (wiped) queueMicrotask(() => host.write({}));
  });
  host.write({});
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  assert.ok(host.patches >= 3 && host.patches <= 8, `${host.patches} patches in 4 s`);
  assert.match(host.log.lines.join("\n"), /Node own are changed by another program each time/);
  _wiping[Symbol.dispose]();
  await until("it is annotated again", () => host.isAnnotated, 5);
});

Deno.test("kube membership: a Node deleted and recreated while the API server is away is annotated again", async () => {
  await using host = await Host.start();
  const { port, store } = host.server;
  await host.server.stop();
  store.delete("nodes", "own");
  store.create("nodes", bareNode(CIDR.ipv4));
  await host.server.listen(port);
  await until("it is annotated", () => host.isAnnotated, 10);
  await until("the condition", () => JSON.stringify(host.node["status"]).includes("FlannelIsUp"), 5);
});

Deno.test("kube membership: refusals in a burst are answered less and less, and what was due is written after them", async () => {
  for (const status of [429, 500, 503]) {
    await using host = await Host.start();
    host.server.faults.failing = new Map([["/api/v1/nodes", status]]);
    host.server.cut();
    host.write({});
    host.server.requests.splice(0);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    assert.ok(
      host.server.requests.length <= 24,
      `${host.server.requests.length} requests in 3 s of ${status}`,
    );
    host.server.faults.failing = new Map();
    await until("it is annotated", () => host.isAnnotated, 10);
  }
});

Deno.test("kube membership, IPv6 only: the overwrite is followed while it runs, and there is no word of IPv4", async () => {
  await using host = await Host.start(IPV6);
  const overwrite = (value: string | undefined) => {
    const { [`${PREFIX}public-ipv6-overwrite`]: _, ...rest } = host.node.metadata.annotations ?? {};
    host.write({ ...rest, ...(value === undefined ? {} : { [`${PREFIX}public-ipv6-overwrite`]: value }) });
  };
  for (const address of ["2001:db8::7", "2001:db8::8"]) {
    overwrite(address);
    await until(`the overwrite ${address}`, () => host.publicIp === address, 5);
  }
  overwrite("192.0.2.7");
  await until("its own, for an address of the other family", () => host.isAnnotated, 5);
  assert.match(host.log.lines.join("\n"), /public-ipv6-overwrite of Node own isn't an address/);
  overwrite(undefined);
  await until("its own", () => host.isAnnotated && host.problems.list().length === 0, 5);
  const names = Object.keys(host.node.metadata.annotations ?? {});
  assert.deepEqual(names.filter((name) => /public-ip$|backend-data$/.test(name)), []);
});

// Each of them cost the API server a read of the whole Node.
Deno.test("kube membership: a kubelet's heartbeats are no reason to ask for the Node, a condition that was taken is", async () => {
  await using host = await Host.start();
  const conditions = () =>
    (host.node["status"] as { conditions?: Record<string, string>[] }).conditions ?? [];
  const isSaid = () =>
    conditions().some(({ status, reason }) => status === "False" && reason === "FlannelIsUp");
  await until("the condition", isSaid);
  const { annotations = {} } = host.node.metadata;
  const heartbeat = (beat: number) => {
    const lastHeartbeatTime = new Date(beat).toISOString();
    host.write(annotations, { conditions: conditions().map((one) => ({ ...one, lastHeartbeatTime })) });
  };
  heartbeat(0);
  await until(
    "the watch is there",
    () => host.membership.health().version === String(host.server.store.version),
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  host.server.requests.splice(0);
  for (let beat = 1; beat <= 20; beat++) {
    heartbeat(beat);
    await until("it is seen", () => host.membership.health().version === String(host.server.store.version));
  }
  assert.deepEqual(host.server.requests.map(({ method, url }) => `${method} ${url}`), []);
  host.write(annotations, {
    conditions: [{ type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" }],
  });
  await until("the condition again", isSaid, 5);
});

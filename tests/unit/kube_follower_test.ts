import assert from "node:assert/strict";
import type { ApiAccess } from "../../lib/kube/access.ts";
import { ApiClient, ApiError } from "../../lib/kube/client.ts";
import { NodeFollower } from "../../lib/kube/node_follower.ts";
import { getNode, type NodeEvent, type NodeRecord } from "../../lib/kube/nodes.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { makeCertificates } from "../../scripts/lab/certificates.ts";
import { ADMIN_RULES } from "../fakes/kube/access.ts";
import { FakeApiServer, type FakeServerOptions } from "../fakes/kube/server.ts";
import { until } from "../fakes/session.ts";

const PREFIX = "flannel.alpha.coreos.com/";

/** A server with some Nodes, a client of it, and what a follower reports. */
class Setup implements AsyncDisposable {
  nodes = new Map<string, NodeRecord>();
  lists = 0;
  readonly seen: NodeEvent[] = [];
  readonly client: ApiClient;
  readonly follower: NodeFollower;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(readonly server: FakeApiServer, access: ApiAccess) {
    this.client = new ApiClient(access);
    this.follower = new NodeFollower({ client: this.client, annotationPrefix: PREFIX }, {
      list: (nodes) => {
        this.lists++;
        this.nodes = new Map(nodes.map((node) => [node.name, node]));
      },
      events: (events) => {
        for (const event of events) {
          this.seen.push(event);
          if (event.kind === "put") this.nodes.set(event.node.name, event.node);
          else this.nodes.delete(event.name);
        }
      },
    }, silentLog);
  }

  static async open(count: number, options: FakeServerOptions = {}, ca?: string): Promise<Setup> {
    const server = await FakeApiServer.start({ bookmarkMs: 50, ...options });
    server.access.addToken("secret", "admin");
    server.access.setRules("admin", ADMIN_RULES);
    for (let i = 0; i < count; i++) {
      server.store.create("nodes", nodeObject(`node-${String(i).padStart(5, "0")}`));
    }
    return new Setup(server, {
      server: new URL(server.url),
      source: "test",
      insecure: false,
      tls: () => Promise.resolve(ca === undefined ? {} : { ca }),
      authorization: () => Promise.resolve("Bearer secret"),
    });
  }

  async follow(): Promise<void> {
    this.#running = this.follower.run(this.#stop.signal);
    await until("the watch stands", () => this.follower.health().connected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the test is over"));
    await this.#running;
    this.client[Symbol.dispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

function nodeObject(name: string, annotations: Record<string, string> = {}) {
  return {
    metadata: {
      name,
      annotations: { [`${PREFIX}kube-subnet-manager`]: "true", other: "é𝄞", ...annotations },
    },
    spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
    status: { images: [{ names: ["a".repeat(300)] }] },
  };
}

/** Writes an annotation of a Node. */
function annotate(server: FakeApiServer, name: string, value: string): void {
  const node = server.store.get("nodes", name);
  const annotations = { ...node.metadata.annotations, [`${PREFIX}public-ip`]: value };
  server.store.update("nodes", { ...node, metadata: { ...node.metadata, annotations } });
}

const publicIp = (setup: Setup, name: string) => setup.nodes.get(name)?.annotations[`${PREFIX}public-ip`];

async function tlsOptions(folder: string): Promise<{ options: FakeServerOptions; ca: string }> {
  const files = await makeCertificates(folder);
  const [key, cert, ca] = await Promise.all(
    [files.serverKey, files.serverCert, files.ca].map((path) => Deno.readTextFile(path)),
  );
  return { options: { tls: { key: key!, cert: cert!, ca: ca! } }, ca: ca! };
}

Deno.test("kube follower: pages, then changes, in chunks that end anywhere, over HTTP/2 and 1.1", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { options, ca } = await tlsOptions(folder);
    for (
      const [name, more] of [["h2", options], ["h1 with TLS", { ...options, http1Only: true }], [
        "http",
        {},
      ]] as const
    ) {
      await using setup = await Setup.open(1_234, more, ca);
      setup.server.faults.chunkBytes = 37;
      await setup.follow();
      assert.equal(setup.nodes.size, 1_234, name);
      assert.deepEqual(Object.keys(setup.nodes.get("node-00007")!.annotations), [
        `${PREFIX}kube-subnet-manager`,
      ]);
      annotate(setup.server, "node-00007", "192.0.2.1");
      setup.server.store.create("nodes", nodeObject("new"));
      setup.server.store.delete("nodes", "node-00001");
      await until("three events", () => setup.seen.length === 3);
      assert.deepEqual(
        [publicIp(setup, "node-00007"), setup.nodes.has("new"), setup.nodes.has("node-00001")],
        [
          "192.0.2.1",
          true,
          false,
        ],
      );
      assert.equal(setup.lists, 1);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("kube follower: a watch that ends, or is cut, goes on where it was, without a list", async () => {
  await using setup = await Setup.open(3);
  await setup.follow();
  setup.server.cut();
  annotate(setup.server, "node-00001", "192.0.2.2");
  await until("the change during the cut", () => publicIp(setup, "node-00001") === "192.0.2.2");
  setup.server.endWatches();
  annotate(setup.server, "node-00001", "192.0.2.3");
  await until("the change after the end", () => publicIp(setup, "node-00001") === "192.0.2.3");
  assert.equal(setup.lists, 1);
});

Deno.test("kube follower: a version that is too old brings a list, whichever way the server says so", async () => {
  for (const goneAs of ["answer", "event"] as const) {
    await using setup = await Setup.open(3);
    setup.server.faults.goneAs = goneAs;
    await setup.follow();
    const { port } = setup.server;
    await setup.server.stop();
    setup.server.store.delete("nodes", "node-00000");
    annotate(setup.server, "node-00001", "192.0.2.4");
    setup.server.store.compact();
    await setup.server.listen(port);
    await until(`the change, 410 as ${goneAs}`, () => publicIp(setup, "node-00001") === "192.0.2.4");
    assert.deepEqual([setup.lists, setup.nodes.has("node-00000")], [2, false]);
  }
});

Deno.test("kube follower: a server that was restored from a backup is noticed, though it could stay silent", async () => {
  await using setup = await Setup.open(3);
  await setup.follow();
  const { port } = setup.server;
  await setup.server.stop();
  setup.server.store.delete("nodes", "node-00002");
  setup.server.store.rewind(10);
  await setup.server.listen(port);
  await until("a second list", () => setup.lists === 2);
  assert.equal(setup.nodes.has("node-00002"), false);
});

Deno.test("kube follower: nothing is missed while watches are cut, ended and compacted at random", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { options, ca } = await tlsOptions(folder);
    await using setup = await Setup.open(40, options, ca);
    const { server } = setup;
    await setup.follow();
    const faults = [
      () => server.cut(),
      () => server.endWatches(),
      () => (server.store.compact(), server.cut()),
      () => server.sayGoodbye(),
    ];
    for (let cycle = 0; cycle < 50; cycle++) {
      for (let change = 0; change < 10; change++) {
        const name = `node-${String(Math.floor(Math.random() * 60)).padStart(5, "0")}`;
        const isThere = server.store.list("nodes").some(({ metadata }) => metadata.name === name);
        if (!isThere) server.store.create("nodes", nodeObject(name));
        else if (Math.random() < 0.3) server.store.delete("nodes", name);
        else annotate(server, name, `192.0.2.${Math.floor(Math.random() * 250)}`);
        if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        if (change === 5) faults[Math.floor(Math.random() * faults.length)]!();
      }
    }
    const wanted = () =>
      server.store.list("nodes").map(({ metadata }) => [
        metadata.name,
        metadata.uid,
        metadata.annotations?.[`${PREFIX}public-ip`],
      ]);
    const seen = () =>
      [...setup.nodes.values()].map(({ name, uid, annotations }) => [
        name,
        uid,
        annotations[`${PREFIX}public-ip`],
      ]).sort();
    await until("all is known", () => JSON.stringify(seen()) === JSON.stringify(wanted().sort()));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

// The answer's head alone counted as success, so that the wait never grew: a list and a watch every 100 ms.
Deno.test("kube follower: a server that ends each watch at once is asked less and less", async () => {
  await using setup = await Setup.open(3);
  await setup.follow();
  const { server } = setup;
  server.requests.splice(0);
  const ending = setInterval(() => server.endWatches(), 5);
  try {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
  } finally {
    clearInterval(ending);
  }
  const watches = server.requests.filter(({ url }) => url.includes("watch=true"));
  assert.ok(watches.length <= 8, `${watches.length} watches in 2 s`);
});

Deno.test("kube client: a refusal is an error that says who may not do what", async () => {
  await using setup = await Setup.open(1);
  setup.server.access.setRules("admin", []);
  const source = { client: setup.client, annotationPrefix: PREFIX };
  const refused = getNode(source, "node-00000", AbortSignal.timeout(5_000));
  await assert.rejects(
    refused,
    (error) => error instanceof ApiError && error.status === 403 && /admin.*cannot get/.test(error.message),
  );
});

Deno.test("kube client: an answer that is large comes compressed, and is read as it comes", async () => {
  await using setup = await Setup.open(600);
  await setup.follow();
  assert.equal(setup.nodes.size, 600);
});

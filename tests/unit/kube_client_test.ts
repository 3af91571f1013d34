/** What networks, proxies and busy servers do to the client. */
import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { ApiAccess } from "../../lib/kube/access.ts";
import { ApiClient, ApiError } from "../../lib/kube/client.ts";
import { NodeFollower } from "../../lib/kube/node_follower.ts";
import { currentVersion, type NodeEvent, watchNodes } from "../../lib/kube/nodes.ts";
import { Silence, WatchPace } from "../../lib/kube/watch_pace.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { makeCertificates } from "../../scripts/lab/certificates.ts";
import { ADMIN_RULES } from "../fakes/kube/access.ts";
import { FakeApiServer, type FakeServerOptions } from "../fakes/kube/server.ts";
import { until } from "../fakes/session.ts";
import { TcpProxy } from "../lab/tcp_proxy.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const NEVER = new AbortController().signal;

function accessTo(url: string, ca?: string): ApiAccess {
  return {
    server: new URL(url),
    source: "test",
    insecure: false,
    tls: () => Promise.resolve(ca === undefined ? {} : { ca }),
    authorization: () => Promise.resolve("Bearer secret"),
  };
}

async function openServer(options: FakeServerOptions = {}): Promise<FakeApiServer> {
  const server = await FakeApiServer.start({ bookmarkMs: 50, ...options });
  server.access.addToken("secret", "admin");
  server.access.setRules("admin", ADMIN_RULES);
  return server;
}

/** A server with TLS, and the authority of its certificate. */
async function openTlsServer(
  hostname = "127.0.0.1",
  certified = hostname,
  options: FakeServerOptions = {},
): Promise<{ server: FakeApiServer; ca: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const files = await makeCertificates(folder, { addresses: [certified] });
    const [key, cert, ca] = await Promise.all(
      [files.serverKey, files.serverCert, files.ca].map((path) => Deno.readTextFile(path)),
    );
    return {
      server: await openServer({ hostname, tls: { key: key!, cert: cert!, ca: ca! }, ...options }),
      ca: ca!,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A follower that runs until it is disposed of. */
function follow(client: ApiClient): NodeFollower & AsyncDisposable {
  const sink = { list: () => {}, events: () => {} };
  const follower = new NodeFollower({ client, annotationPrefix: PREFIX }, sink, silentLog);
  const stop = new AbortController();
  const running = follower.run(stop.signal);
  return Object.assign(follower, {
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error("the test is over"));
      await running;
    },
  });
}

// After a goodbye the connection got no more pings: a server that died then was noticed after up to ten minutes.
Deno.test("kube client: a watch moves to another connection soon after the server's goodbye, and misses nothing", async () => {
  const { server, ca } = await openTlsServer();
  await using _server = server;
  using client = new ApiClient(accessTo(server.url, ca));
  await using follower = follow(client);
  await until("the watch stands", () => follower.health().connected);
  server.requests.splice(0);
  server.sayGoodbye();
  const isKnown = () => follower.health().version === String(server.store.version);
  server.store.create("nodes", { metadata: { name: "new" } });
  await until("the watch goes on", isKnown);
  await until("another watch", () => server.requests.some(({ url }) => url.includes("watch=true")), 12);
  server.store.create("nodes", { metadata: { name: "newer" } });
  await until("the next change", isKnown);
  assert.equal(follower.health().lists, 1);
});

// A frozen server, an unplugged cable: nothing comes, and nothing says so.
Deno.test("kube client: a connection that died silently is noticed within 10 s", async () => {
  const { server, ca } = await openTlsServer();
  await using _server = server;
  await using proxy = new TcpProxy(`127.0.0.1:${server.port}`);
  using client = new ApiClient(accessTo(`https://127.0.0.1:${proxy.port}`, ca));
  await using follower = follow(client);
  await until("the watch stands", () => follower.health().connected);
  proxy.mute();
  await until("the silence is noticed", () => !follower.health().connected, 10);
  assert.match(follower.health().lastError ?? "", /gave no answer for 4 s/);
  proxy.heal();
  await until("the watch stands again", () => follower.health().connected);
});

/** Servers without HTTP/2, and what is to be trusted. */
const HTTP1_SERVERS = {
  "plain HTTP": async () => ({ server: await openServer({ bookmarkMs: 60_000 }), ca: undefined }),
  "TLS": () => openTlsServer("127.0.0.1", "127.0.0.1", { http1Only: true, bookmarkMs: 60_000 }),
};

// Signs of life came from another connection than the watch's: its own death was noticed after 150 s.
for (const [name, open] of Object.entries(HTTP1_SERVERS)) {
  Deno.test(`kube client: a watch over HTTP/1.1 (${name}) that falls silent alone misses nothing for 10 s`, async () => {
    const { server, ca } = await open();
    await using _server = server;
    using client = new ApiClient(accessTo(server.url, ca));
    await using follower = follow(client);
    await until("the watch stands", () => follower.health().connected);
    for (let round = 0; round < 2; round++) {
      server.silenceWatches();
      server.store.create("nodes", { metadata: { name: `node${round}` } });
      await until("the change", () => follower.health().version === String(server.store.version), 9.5);
    }
    assert.equal(follower.health().lists, 1);
  });

  Deno.test(`kube client: a dead connection with HTTP/1.1 (${name}) is noticed within 10 s`, async () => {
    const { server, ca } = await open();
    await using _server = server;
    await using proxy = new TcpProxy(`127.0.0.1:${server.port}`);
    using client = new ApiClient(accessTo(server.url.replace(`:${server.port}`, `:${proxy.port}`), ca));
    await using follower = follow(client);
    await until("the watch stands", () => follower.health().connected);
    proxy.mute();
    await until("the silence is noticed", () => !follower.health().connected, 9.5);
    proxy.heal();
    await until("the watch stands again", () => follower.health().connected);
  });
}

// Behind a proxy that answers pings by itself, a request without an answer was waited for without an end.
Deno.test("kube client: a server that takes requests and never answers is left for another connection", async () => {
  for (const tls of [true, false]) {
    const { server, ca } = tls ? await openTlsServer() : { server: await openServer(), ca: "" };
    await using _server = server;
    using client = new ApiClient(accessTo(server.url, ca), { requestMs: 5_000, headMs: 300 });
    const source = { client, annotationPrefix: PREFIX };
    server.faults.delayMs = 60_000;
    const late = new RegExp(`GET /api/v1/nodes: no answer from ${client.description} in 0.3 s`);
    await assert.rejects(watchNodes(source, "1", () => {}, NEVER), late);
    await assert.rejects(currentVersion(source, NEVER), late);
    server.faults.delayMs = 0;
    assert.equal(await currentVersion(source, NEVER), String(server.store.version));
  }
});

Deno.test("kube client: a server that asks to be left alone for a while is", async () => {
  await using server = await openServer();
  server.faults.failing = new Map([["GET /api/v1/nodes", 429]]);
  server.faults.retryAfter = 2;
  using client = new ApiClient(accessTo(server.url));
  await assert.rejects(
    currentVersion({ client, annotationPrefix: PREFIX }, NEVER),
    (error) => error instanceof ApiError && error.status === 429 && error.retryAfterMs === 2_000,
  );
  server.requests.splice(0);
  await using follower = follow(client);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.equal(server.requests.length, 1);
  server.faults.failing = new Map();
  await until("the watch stands", () => follower.health().connected);
});

// A bookmark without a version led to a watch from "now": what happened meanwhile was missed.
Deno.test("kube client: a bookmark without a version, and an event of a kind to come, change nothing", async () => {
  const server = http.createServer((_request, response) => {
    const object = { metadata: { name: "a", resourceVersion: "8" } };
    for (const event of [{ type: "BOOKMARK", object: {} }, { type: "ARCHIVED", object }]) {
      response.write(JSON.stringify(event));
    }
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    using client = new ApiClient(accessTo(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
    const seen: NodeEvent[] = [];
    let last = "";
    await watchNodes({ client, annotationPrefix: PREFIX }, "7", (events, version) => {
      seen.push(...events);
      last = version;
    }, NEVER);
    assert.deepEqual([seen, last], [[], "8"]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

Deno.test("kube client: a watch on which nothing comes ends, one on which something comes doesn't", async () => {
  using silent = new Silence(60_000, 100, "late");
  using lively = new Silence(60_000, 100, "late");
  using long = new Silence(150, 60_000, "late");
  silent.broken();
  const talking = setInterval(() => (lively.broken(), long.broken()), 10);
  try {
    await until("the silent one ends", () => silent.signal.aborted, 2);
    await until("the long one ends", () => long.signal.aborted, 2);
    assert.equal(lively.signal.aborted, false);
  } finally {
    clearInterval(talking);
  }
});

// Events are a sign of life, and where they come the server is not asked for more than over HTTP/2.
Deno.test("kube client: over HTTP/1.1 watches are short while they are quiet, and a slow server gets more time", () => {
  const pace = new WatchPace(() => 0);
  assert.deepEqual([pace.next(true).seconds, pace.next(true).silenceMs], [300, 150_000]);
  const went = (events: number, lastedMs: number | undefined, isLate = false) => {
    const beganAt = lastedMs === undefined ? undefined : performance.now() - lastedMs;
    pace.ended({ events, beganAt, isLate });
    const { seconds, headMs, isProof } = pace.next(false);
    return isProof ? [seconds, headMs] : "long";
  };
  assert.deepEqual(went(11, 4_000), [4, 6_000]);
  assert.equal(went(13, 4_000), "long");
  assert.equal(went(5_000, 300_000), "long");
  assert.deepEqual(went(50, 10_000, true), [4, 6_000], "silence ends a long one");
  for (const head of [12_000, 24_000, 30_000, 30_000]) assert.deepEqual(went(0, undefined), [4, head]);
  assert.deepEqual(went(0, 7_000, true), [4, 6_000], "what began late isn't slow");
});

Deno.test("kube client: an API server with an IPv6 address, and a certificate for another address", async () => {
  for (
    const [listens, certified, serverName, isGood] of [
      ["::1", "::1", undefined, true],
      ["::1", "127.0.0.1", undefined, false],
      ["127.0.0.1", "::1", undefined, false],
      ["127.0.0.1", "::1", "::1", true],
      ["127.0.0.1", "127.0.0.1", "192.0.2.1", false],
      ["127.0.0.1", "192.0.2.1", "localhost", true],
    ] as const
  ) {
    const { server, ca } = await openTlsServer(listens, certified);
    await using _server = server;
    const access = { ...accessTo(server.url, ca), ...(serverName ? { serverName } : {}) };
    using client = new ApiClient(access);
    const asked = currentVersion({ client, annotationPrefix: PREFIX }, NEVER);
    const what = `${listens}, certificate for ${certified}, expected ${serverName}`;
    if (isGood) assert.equal(await asked, String(server.store.version), what);
    else await assert.rejects(asked, /certificate/i, what);
  }
});

// Certificates are renewed and authorities replaced while hosts run; files are read again for each connection.
Deno.test("kube client: a server with another certificate of another authority is trusted once the CA's file says so", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [old, anew] = [await openTlsServer(), await openTlsServer()];
    const { port } = old.server;
    await anew.server.stop();
    const access = {
      ...accessTo(old.server.url),
      tls: async () => ({ ca: await Deno.readTextFile(`${folder}/ca.crt`) }),
    };
    await Deno.writeTextFile(`${folder}/ca.crt`, old.ca);
    using client = new ApiClient(access);
    await using follower = follow(client);
    await until("the watch stands", () => follower.health().connected);
    await old.server.stop();
    await using server = anew.server;
    await server.listen(port);
    await until("it is refused", () => /certificate/.test(follower.health().lastError ?? ""));
    // Both, as while authorities are replaced.
    await Deno.writeTextFile(`${folder}/ca.crt`, old.ca + anew.ca);
    await until("it is trusted", () => follower.health().connected, 10);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { parseIp } from "../../lib/net/ip.ts";
import { type HealthOptions, type ListenAddress, ListenError, serveHealth } from "../../lib/observe/http.ts";
import { counter } from "../../lib/observe/metric_spec.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";

function options(more: Partial<HealthOptions & ListenAddress> = {}): HealthOptions & ListenAddress {
  return {
    address: parseIp("127.0.0.1"),
    port: 0,
    problems: new Problems(),
    metrics: new MetricsRegistry(),
    status: () => ({}),
    onError: () => {},
    onAcceptError: () => {},
    ...more,
  };
}

async function get(port: number, path: string, init?: RequestInit): Promise<[number, string]> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
  return [response.status, await response.text()];
}

Deno.test("HTTP: healthz is 200, readyz names the reasons until there are none", async () => {
  const problems = new Problems();
  problems.wait("lease", "no subnet yet");
  await using server = serveHealth(options({ problems }));
  assert.deepEqual(await get(server.port, "/healthz"), [200, "ok\n"]);
  problems.set("rules", "not written", { notReady: true });
  assert.deepEqual(await get(server.port, "/readyz"), [503, "lease: no subnet yet\nrules: not written\n"]);
  problems.set("lease", "lost", { notReady: true });
  problems.clear("rules");
  assert.deepEqual(await get(server.port, "/readyz"), [503, "lease: lost\n"]);
  problems.clear("lease");
  assert.deepEqual(await get(server.port, "/readyz"), [200, "ok\n"]);
  assert.deepEqual(await get(server.port, "/healthz", { method: "POST" }), [405, "only GET and HEAD\n"]);
  assert.equal((await get(server.port, "/x"))[0], 404);
});

Deno.test("HTTP: metrics and status; a failing status is a 500 that is reported", async () => {
  const metrics = new MetricsRegistry();
  metrics.count(counter("flannel_events_total", "Events"));
  const errors: unknown[] = [];
  let broken = false;
  const status = () => {
    if (broken) throw new Error("boom");
    return { subnet: "10.5.72.0/24" };
  };
  await using server = serveHealth(options({ metrics, status, onError: (error) => void errors.push(error) }));
  const [code, text] = await get(server.port, "/metrics");
  assert.equal(code, 200);
  assert.match(text, /^flannel_events_total 1$/m);
  assert.deepEqual(JSON.parse((await get(server.port, "/status"))[1]), { subnet: "10.5.72.0/24" });
  broken = true;
  assert.deepEqual(await get(server.port, "/status"), [500, "internal error\n"]);
  assert.equal(errors.length, 1);
});

Deno.test("HTTP: a status gets the query; a value that there isn't is the client's fault", async () => {
  const status = (query: URLSearchParams) => {
    if (query.get("peers") === "x") throw new RangeError("peers must be all");
    return { peers: query.get("peers") };
  };
  await using server = serveHealth(options({ status }));
  assert.equal((await get(server.port, "/status"))[1], '{\n  "peers": null\n}\n');
  assert.equal((await get(server.port, "/status?a=b&peers=all#x"))[1], '{"peers":"all"}\n');
  assert.deepEqual(await get(server.port, "/status?peers=x"), [400, "peers must be all\n"]);
});

Deno.test("HTTP: a port in use and a foreign address are said with the way out", async () => {
  await using first = serveHealth(options());
  assert.throws(() => serveHealth(options({ port: first.port })), (error: Error) => {
    assert(error instanceof ListenError);
    const expected =
      `Cannot serve /healthz on 127.0.0.1:${first.port}: the port is in use by another program; ` +
      "choose another with -healthz-port, 0 turns it off";
    assert.equal(error.message, expected);
    return true;
  });
  assert.throws(() => serveHealth(options({ address: parseIp("192.0.2.1") })), (error: Error) => {
    assert.equal(
      error.message,
      "Cannot serve /healthz on 192.0.2.1:0: the address is none of this host's; choose another with -healthz-ip",
    );
    return true;
  });
});

Deno.test("HTTP: a client that never ends its request doesn't keep the server from ending", async () => {
  const server = serveHealth(options());
  using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await client.write(new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he"));
  await client.read(new Uint8Array(10));
  const begin = performance.now();
  await server[Symbol.asyncDispose]();
  assert(performance.now() - begin < 900);
});

Deno.test("HTTP: a status that hangs doesn't either", async () => {
  const hang = Promise.withResolvers<Record<string, never>>();
  const asked = Promise.withResolvers<void>();
  let waiting = 0;
  const server = serveHealth(options({
    status: () => {
      if (++waiting === 2) asked.resolve();
      return hang.promise;
    },
  }));
  const replies = Promise.all([get(server.port, "/status"), get(server.port, "/status")]);
  await asked.promise;
  const begin = performance.now();
  await server[Symbol.asyncDispose]();
  assert(performance.now() - begin < 900);
  hang.resolve({});
  const cut = [503, "flanneld ends\n"];
  assert.deepEqual(await replies, [cut, cut]);
});

Deno.test("HTTP: listens on IPv6", async () => {
  await using server = serveHealth(options({ address: parseIp("::1") }));
  const response = await fetch(`http://[::1]:${server.port}/healthz`);
  assert.equal(await response.text(), "ok\n");
});

Deno.test("HTTP: a refusal is a 403 for what is known of the network, and nothing else is refused", async () => {
  await using server = serveHealth(options({
    refusal: ({ fields }) => fields.get("host") === "evil.example" ? "no" : undefined,
    page: (path) => Promise.resolve({ status: 200, body: `page ${path}\n` }),
  }));
  const ask = async (path: string, host: string) => {
    using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await client.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
    return Number((await new Response(client.readable).text()).split(" ")[1]);
  };
  for (const path of ["/", "/events", "/status"]) {
    assert.equal(await ask(path, "evil.example"), 403, path);
    assert.equal(await ask(path, "localhost"), 200, path);
  }
  for (const path of ["/healthz", "/readyz", "/metrics"]) assert.equal(await ask(path, "evil.example"), 200);
  assert.equal(await ask("/x", "evil.example"), 404);
});

import assert from "node:assert/strict";
import type { HttpLimits, HttpServerOptions, HttpStream } from "../../lib/observe/http_connection.ts";
import { HttpServer } from "../../lib/observe/http_server.ts";

const encoder = new TextEncoder();

const LIMITS: HttpLimits = {
  connections: 4,
  streams: 2,
  headBytes: 512,
  requestMs: 60_000,
  answerMs: 60_000,
};

/** A server on loopback. */
function serve(more: Partial<HttpServerOptions> & { limits?: HttpLimits } = {}) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const errors: unknown[] = [];
  const server = new HttpServer(listener, {
    answer: ({ path }) => ({ status: 200, body: `${path}\n` }),
    onError: (error) => void errors.push(error),
    onAcceptError: (error) => void errors.push(error),
    limits: LIMITS,
    ...more,
  });
  return {
    errors,
    connect: () => Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** All that comes until the other side closes; what came before a reset counts. */
async function readAll(client: Deno.Conn): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(4096);
  let text = "";
  try {
    for (let count = await client.read(buffer); count !== null; count = await client.read(buffer)) {
      text += decoder.decode(buffer.subarray(0, count), { stream: true });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return text;
}

/** Sends bytes, gives the answer's status line and body. */
async function ask(server: ReturnType<typeof serve>, text: string): Promise<[string, string]> {
  using client = await server.connect();
  await client.write(encoder.encode(text));
  const answer = await readAll(client);
  return [answer.split("\r\n", 1)[0]!, answer.slice(answer.indexOf("\r\n\r\n") + 4)];
}

// Deno.serve waited without limit for the rest of a request.
for (
  const [what, sent] of [["sends nothing", ""], ["never ends its request", "GET / HTTP/1.1\r\nHo"]] as const
) {
  Deno.test(`HTTP limits: a client that ${what} is cut off in time`, async () => {
    await using server = serve({ limits: { ...LIMITS, requestMs: 50 } });
    using client = await server.connect();
    if (sent !== "") await client.write(encoder.encode(sent));
    assert.equal(await readAll(client), "");
  });
}

Deno.test("HTTP limits: clients that hold connections don't keep a probe from its answer", async () => {
  await using server = serve();
  const idle: Deno.Conn[] = [];
  for (let count = 0; count < 20; count++) idle.push(await server.connect());
  try {
    assert.deepEqual(await ask(server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), [
      "HTTP/1.1 200 OK",
      "/healthz\n",
    ]);
    // Those that had waited longest were closed for the others.
    for (const client of idle.slice(0, 15)) assert.equal(await readAll(client), "");
  } finally {
    for (const client of idle) client.close();
  }
});

// For half a second each, answered connections that their clients left open took the places of all others.
Deno.test("HTTP limits: clients that have their answer and stay don't keep a probe from its own", async () => {
  await using server = serve();
  const stayed: Deno.Conn[] = [];
  try {
    for (let count = 0; count < 20; count++) {
      const client = await server.connect();
      stayed.push(client);
      await client.write(encoder.encode("GET /healthz HTTP/1.0\r\n\r\n"));
      assert.match(await readAll(client), /^HTTP\/1\.1 200 OK/, `client ${count}`);
    }
  } finally {
    for (const client of stayed) client.close();
  }
});

Deno.test("HTTP limits: a client that doesn't read its answer is cut off in time", async () => {
  const body = "x".repeat(32 * 1024 * 1024);
  await using server = serve({
    limits: { ...LIMITS, answerMs: 100 },
    answer: () => ({ status: 200, body }),
  });
  using client = await server.connect();
  await client.write(encoder.encode("GET / HTTP/1.0\r\n\r\n"));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert((await readAll(client)).length < body.length);
});

Deno.test("HTTP limits: a head that is too long gets 431", async () => {
  await using server = serve();
  const [status] = await ask(server, `GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(600)}\r\n\r\n`);
  assert.equal(status, "HTTP/1.1 431 Request Header Fields Too Large");
});

Deno.test("HTTP: what isn't a request gets 400, without a word in the log", async () => {
  await using server = serve();
  const bad = [
    // Each was a logged error and a 500: the URL was made of the Host field.
    "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: x/../\r\n\r\n",
    "GET /healthz HTTP/1.1\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    "\x16\x03\x01\x02\r\n\r\n",
    "GET\r\n\r\n",
  ];
  for (const text of bad) {
    assert.equal((await ask(server, text))[0], "HTTP/1.1 400 Bad Request", JSON.stringify(text));
  }
  assert.equal((await ask(server, "PRI * HTTP/2.0\r\n\r\n"))[0], "HTTP/1.1 505 HTTP Version Not Supported");
  assert.deepEqual(server.errors, []);
});

Deno.test("HTTP: the forms of a request", async () => {
  await using server = serve();
  const good = [
    "GET /x HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\r\n",
    "GET /x?y=z HTTP/1.1\r\nhost:[::1]:8080\r\n\r\n",
    "GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /x HTTP/1.0\r\n\r\n",
    "GET /x HTTP/1.1\nHost: \n\n",
    "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
  ];
  for (const text of good) {
    assert.deepEqual(await ask(server, text), ["HTTP/1.1 200 OK", "/x\n"], JSON.stringify(text));
  }
  assert.deepEqual(await ask(server, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"), ["HTTP/1.1 200 OK", ""]);
});

Deno.test("HTTP: a request that comes byte by byte", async () => {
  await using server = serve();
  using client = await server.connect();
  for (const byte of encoder.encode("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")) {
    await client.write(Uint8Array.of(byte));
  }
  assert.match(await readAll(client), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n\/x\n$/);
});

// Deno.serve ended with the first accept that failed, and the daemon with it.
Deno.test("HTTP: an accept that fails is tried again, and its end is said", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let failures = 2;
  const source = {
    accept: () => failures-- > 0 ? Promise.reject(new Error("Too many open files")) : listener.accept(),
    close: () => listener.close(),
  };
  const said: (string | undefined)[] = [];
  const recovered = Promise.withResolvers<void>();
  await using _server = new HttpServer(source, {
    answer: () => ({ status: 200, body: "ok\n" }),
    onError: () => {},
    onAcceptError: (message) => {
      said.push(message);
      if (message === undefined) recovered.resolve();
    },
  });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  await client.write(encoder.encode("GET / HTTP/1.0\r\n\r\n"));
  assert.match(await readAll(client), /200 OK/);
  await recovered.promise;
  assert.deepEqual(said, ["Too many open files", "Too many open files", undefined]);
});

// Streams: server-sent events of the page.

/** A stream that sends what is put into it. */
function pushedStream() {
  let push: (text: string) => Promise<void> = () => Promise.reject(new Error("no stream yet"));
  const began = Promise.withResolvers<AbortSignal>();
  const ended = Promise.withResolvers<void>();
  const body: HttpStream = (send, signal) => {
    push = send;
    began.resolve(signal);
    signal.addEventListener("abort", () => ended.resolve());
    return ended.promise;
  };
  return { body, began: began.promise, ended: ended.promise, push: (text: string) => push(text) };
}

const GET = encoder.encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n");

Deno.test("HTTP streams: pieces come as they are sent; a client that leaves ends the stream", async () => {
  const stream = pushedStream();
  await using server = serve({ answer: () => ({ status: 200, body: stream.body }) });
  using client = await server.connect();
  await client.write(GET);
  await stream.began;
  const decoder = new TextDecoder(), buffer = new Uint8Array(4096);
  const next = async () => decoder.decode(buffer.subarray(0, await client.read(buffer) ?? 0));
  assert.match(await next(), /^HTTP\/1.1 200 OK\r\n(?!.*content-length)/s);
  await stream.push("data: 1\n\n");
  assert.equal(await next(), "data: 1\n\n");
  await stream.push("data: 2\n\n");
  assert.equal(await next(), "data: 2\n\n");
  client.close();
  await stream.ended;
  await assert.rejects(stream.push("data: 3\n\n"));
  assert.deepEqual(server.errors, []);
});

Deno.test("HTTP streams: a reader that takes nothing is dropped, and the sender waits for it meanwhile", async () => {
  const stream = pushedStream();
  await using server = serve({
    answer: () => ({ status: 200, body: stream.body }),
    limits: { ...LIMITS, answerMs: 200 },
  });
  using client = await server.connect();
  await client.write(GET);
  await stream.began;
  const piece = "x".repeat(1_000_000);
  let sent = 0;
  await assert.rejects(async () => {
    // Until the socket's own buffers are full.
    for (; sent < 100; sent++) await stream.push(piece);
  });
  assert.ok(sent < 100);
  await stream.ended;
  assert.deepEqual(server.errors, []);
});

Deno.test("HTTP streams: one more than the limit gets a 503, and other requests are still answered", async () => {
  const streams: Promise<void>[] = [];
  await using server = serve({
    answer: ({ path }) => {
      if (path !== "/events") return { status: 200, body: "ok\n" };
      const stream = pushedStream();
      streams.push(stream.began.then(() => {}));
      return { status: 200, body: stream.body };
    },
  });
  const request = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
  using first = await server.connect();
  using second = await server.connect();
  for (const client of [first, second]) {
    await client.write(encoder.encode(request));
    await client.read(new Uint8Array(100));
  }
  await Promise.all(streams);
  assert.deepEqual(await ask(server, request), [
    "HTTP/1.1 503 Service Unavailable",
    "there are 2 streams already\n",
  ]);
  assert.deepEqual(await ask(server, "GET /healthz HTTP/1.0\r\n\r\n"), ["HTTP/1.1 200 OK", "ok\n"]);
});

Deno.test("HTTP streams: the server's end ends them at once", async () => {
  const times: number[] = [];
  // The best of some: a busy machine makes single ones late.
  for (let run = 0; run < 5; run++) {
    const stream = pushedStream();
    const server = serve({ answer: () => ({ status: 200, body: stream.body }) });
    using client = await server.connect();
    await client.write(GET);
    const signal = await stream.began;
    const began = performance.now();
    await server[Symbol.asyncDispose]();
    times.push(performance.now() - began);
    assert.ok(signal.aborted);
  }
  // Answers under way would get 200 ms.
  assert.ok(Math.min(...times) < 150, String(times));
});

Deno.test("HTTP streams: one that fails is reported", async () => {
  const body: HttpStream = () => Promise.reject(new Error("boom"));
  await using server = serve({ answer: () => ({ status: 200, body }) });
  await ask(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.deepEqual(server.errors.map(String), ["Error: boom"]);
});

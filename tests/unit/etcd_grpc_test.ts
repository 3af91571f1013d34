/** gRPC calls against an HTTP/2 server that answers what etcd itself answers only when something is wrong. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { CallError } from "../../lib/leases/etcd/faults.ts";
import { GrpcClient } from "../../lib/leases/etcd/grpc.ts";
import { KEEP_ALIVE, METHODS } from "../../lib/leases/etcd/layouts.ts";

const RANGE = METHODS["KV.range"];
const REQUEST = { key: Buffer.from("k") };
const LIMITS = { deadlineMs: 5000, connectMs: 5000 };

/** A message as gRPC frames it. */
function framed(message: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.from([compressed, 0, 0, 0, 0]);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

type Answer = (stream: ServerHttp2Stream) => void;

/** Answers in gRPC's way: the bytes, then the trailers. */
function answering(bytes: Uint8Array, trailers: Record<string, string> = { "grpc-status": "0" }): Answer {
  return (stream) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end(bytes);
  };
}

interface Served {
  readonly client: GrpcClient;
  readonly sessions: readonly ServerHttp2Session[];
  answer: Answer;
}

async function withServer(run: (served: Served) => Promise<void>, host = "127.0.0.1"): Promise<void> {
  const server = createServer();
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => void sessions.push(session));
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.resume();
    served.answer(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const target = `${host}:${(server.address() as AddressInfo).port}`;
  const client = new GrpcClient({ url: `http://${target}`, target, secure: false }, {});
  const served: Served = { client, sessions, answer: answering(framed(new Uint8Array())) };
  try {
    await run(served);
  } finally {
    client.close();
    for (const session of sessions) session.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

function test(name: string, fn: () => Promise<void>): void {
  // Sockets end a moment after they are closed.
  Deno.test({ name: `etcd grpc: ${name}`, sanitizeOps: false, sanitizeResources: false, fn });
}

function is(code: number, details: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CallError, String(error));
    assert.equal(error.code, code, error.details);
    assert.match(error.details, details);
    return true;
  };
}

test("what a proxy says in HTTP, and what a server says in gRPC", () =>
  withServer(async (served) => {
    const call = () => served.client.unary(RANGE, REQUEST, {}, LIMITS);
    for (const [status, code] of [[404, 12], [503, 14], [401, 16], [418, 2]] as const) {
      served.answer = (stream) => (stream.respond({ ":status": status }), stream.end("<html>"));
      await assert.rejects(call(), is(code, new RegExp(`HTTP status code ${status}`)));
    }
    // An error alone: the headers are the trailers.
    served.answer = (stream) =>
      stream.respond({ ":status": 200, "grpc-status": "7", "grpc-message": "permission%20denied: 100%" }, {
        endStream: true,
      });
    await assert.rejects(call(), is(7, /^permission%20denied: 100%$/));
    served.answer = (stream) =>
      stream.respond({ ":status": 200, "grpc-status": "7", "grpc-message": "caf%C3%A9 100%25" }, {
        endStream: true,
      });
    await assert.rejects(call(), is(7, /^café 100%$/));
  }));

test("answers that can't be read are errors of their own", () =>
  withServer(async (served) => {
    const call = () => served.client.unary(RANGE, REQUEST, {}, LIMITS);
    served.answer = answering(framed(Buffer.from([0x0a, 0x05]), 0));
    await assert.rejects(call(), is(13, /can't be read: A message is cut off/));
    served.answer = answering(framed(new Uint8Array(), 1));
    await assert.rejects(call(), is(13, /compressed/));
    served.answer = answering(new Uint8Array());
    await assert.rejects(call(), is(13, /no message/));
    served.answer = (stream) => (stream.respond({ ":status": 200 }), stream.end(framed(new Uint8Array())));
    await assert.rejects(call(), is(2, /without a status/));
    served.answer = (stream) => stream.close(11);
    await assert.rejects(call(), is(8, /reset with HTTP\/2 code 11/));
  }));

test("messages are cut as they were sent, however the bytes come", () =>
  withServer(async (served) => {
    const bytes = Buffer.concat(["5", "300", "9"].map((TTL) => framed(KEEP_ALIVE.response.encode({ TTL }))));
    served.answer = (stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      for (const byte of bytes) stream.write(Buffer.from([byte]));
      stream.end(bytes);
    };
    const stream = await served.client.stream(KEEP_ALIVE, {}, LIMITS);
    const ttls: string[] = [];
    for await (const { TTL } of stream) ttls.push(TTL);
    assert.deepEqual(ttls, ["5", "300", "9", "5", "300", "9"]);
    await stream.ended;
  }));

test("a message of 3 MB", () =>
  withServer(async (served) => {
    const value = Buffer.alloc(3_000_000, "x");
    const kv = { key: REQUEST.key, value, create_revision: "1", mod_revision: "1", lease: "0" };
    const header = { cluster_id: "1", revision: "1", raft_term: "1" };
    served.answer = answering(framed(RANGE.response.encode({ header, kvs: [kv], more: false, count: "1" })));
    const { kvs } = await served.client.unary(RANGE, REQUEST, {}, LIMITS);
    assert.ok(kvs[0]!.value.equals(value));
  }));

test("a connection that ends fails its calls, and the next call makes another", () =>
  withServer(async (served) => {
    await served.client.unary(RANGE, REQUEST, {}, LIMITS);
    const plain = served.answer;
    served.answer = () => served.sessions.at(-1)!.destroy();
    await assert.rejects(served.client.unary(RANGE, REQUEST, {}, LIMITS), is(14, /./));
    served.answer = plain;
    await served.client.unary(RANGE, REQUEST, {}, LIMITS);
    assert.equal(served.sessions.length, 2);
  }));

test("a call that is refused before it began is made again", () =>
  withServer(async (served) => {
    const plain = served.answer;
    let refused = 0;
    served.answer = (stream) => {
      refused++;
      served.answer = plain;
      stream.close(7);
    };
    await served.client.unary(RANGE, REQUEST, {}, LIMITS);
    assert.equal(refused, 1);
  }));

test("deadline and signal end a call that gets no answer, and the connection stays", () =>
  withServer(async (served) => {
    const plain = served.answer;
    served.answer = () => {};
    const short = { ...LIMITS, deadlineMs: 50 };
    await assert.rejects(served.client.unary(RANGE, REQUEST, {}, short), is(4, /^Deadline exceeded/));
    const signal = AbortSignal.timeout(50);
    const reason = await served.client.unary(RANGE, REQUEST, {}, { ...LIMITS, signal }).catch((error) =>
      error
    );
    assert.equal(reason, signal.reason);
    served.answer = plain;
    await served.client.unary(RANGE, REQUEST, {}, LIMITS);
    assert.equal(served.sessions.length, 1);
  }));

test("of a name's addresses, one that listens is found", () =>
  withServer(async (served) => {
    await served.client.unary(RANGE, REQUEST, {}, LIMITS);
  }, "localhost"));

test("a name that isn't known, and a port where nobody listens", async () => {
  for (const [target, named] of [["nowhere.invalid:1", /./], ["127.0.0.1:1", /ECONNREFUSED/]] as const) {
    const client = new GrpcClient({ url: `http://${target}`, target, secure: false }, {});
    await assert.rejects(client.unary(RANGE, REQUEST, {}, LIMITS), is(14, named));
  }
});

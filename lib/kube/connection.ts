/**
 * One connection to an API server: HTTP/2 where the server speaks it, else HTTP/1.1.
 *
 * A watch is silent for minutes where nothing changes, so that silence doesn't distinguish a dead connection from a quiet
 * one. HTTP/2 has pings for that, which cost the server nothing; HTTP/1.1 has none (see `watch_pace.ts`).
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import tls from "node:tls";
import type { ApiAccess } from "./access.ts";

/** A request, with all that the server needs. */
export interface HttpRequest {
  readonly method: "GET" | "PATCH" | "POST" | "PUT" | "DELETE";
  /** Path with query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends the request, also while its answer is read. */
  readonly signal: AbortSignal;
}

/** An answer whose body is still to be read. */
export interface HttpResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Readable;
}

/** A connection. */
export interface Connection {
  /** @throws {Error} If the connection fails before the answer's head is there. @throws The signal's reason. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /** Whether new requests can't be made any more: the server said goodbye, or it broke. */
  readonly isClosed: boolean;
  /** Resolves when the other side answers; undefined where the protocol has no such thing. */
  readonly ping?: () => Promise<void>;
  /** Ends it with everything that is under way. */
  close(reason: Error): void;
}

/** How long one address of the server may take to connect, TLS included, in milliseconds. */
const CONNECT_MS = 3_000;

/**
 * Connects to the first address of the server that answers; of several the order is by chance, so that hosts spread
 * over the servers behind one name.
 *
 * @throws {Error} That names each address and why it failed. @throws {AccessError} If a certificate can't be read.
 */
export async function connect(access: ApiAccess, signal: AbortSignal): Promise<Connection> {
  const { server } = access;
  if (server.protocol === "http:") return new Http1Connection(server, {});
  const material = await access.tls();
  const host = server.hostname.replace(/^\[|\]$/g, "");
  const options: tls.ConnectionOptions = {
    ...material,
    port: Number(server.port || 443),
    rejectUnauthorized: !access.insecure,
    ALPNProtocols: ["h2", "http/1.1"],
    ...identity(access.serverName ?? host),
  };
  const failures: string[] = [];
  for (const { address } of shuffled(await lookup(host, { all: true }))) {
    signal.throwIfAborted();
    try {
      const socket = await connectTls({ ...options, host: address }, signal);
      if (socket.alpnProtocol === "h2") return new Http2Connection(server, socket);
      socket.destroy();
      return new Http1Connection(server, options);
    } catch (error) {
      signal.throwIfAborted();
      failures.push(`${address}: ${(error as Error).message}`);
    }
  }
  throw new Error(failures.join("; "));
}

/**
 * The name that the certificate must have. SNI takes names only (RFC 6066, section 3); an address is checked all the
 * same.
 */
function identity(name: string): tls.ConnectionOptions {
  if (!isIP(name)) return { servername: name };
  return { checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(name, certificate) };
}

function shuffled<T>(list: readonly T[]): T[] {
  return list.map((value) => ({ value, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ value }) =>
    value
  );
}

function connectTls(options: tls.ConnectionOptions, signal: AbortSignal): Promise<tls.TLSSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
  const socket = tls.connect(options);
  const give = (error: Error) => {
    socket.destroy();
    reject(error);
  };
  const timer = setTimeout(() => give(new Error(`no answer in ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  const onAbort = () => give(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  socket.once("secureConnect", () => resolve(socket));
  socket.once("error", give);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  });
}

class Http2Connection implements Connection {
  readonly #session: http2.ClientHttp2Session;
  #closing = false;

  constructor(server: URL, socket: tls.TLSSocket) {
    this.#session = http2.connect(server.origin, { createConnection: () => socket });
    // The streams that are under way fail with the same error: nothing is lost here.
    this.#session.on("error", () => this.#closing = true);
    this.#session.on("goaway", () => this.#closing = true);
    this.#session.on("close", () => this.#closing = true);
  }

  get isClosed(): boolean {
    return this.#closing || this.#session.destroyed || this.#session.closed;
  }

  request({ method, path, headers, body, signal }: HttpRequest): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    const stream = this.#session.request({ ":method": method, ":path": path, ...headers });
    const onAbort = () => {
      reject(signal.reason);
      stream.destroy(signal.reason as Error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    stream.once("close", () => {
      signal.removeEventListener("abort", onAbort);
      reject(new Error("the connection was closed before the answer"));
    });
    stream.once("error", reject);
    stream.once(
      "response",
      (head) => resolve({ status: Number(head[":status"]), headers: texts(head), body: stream }),
    );
    stream.end(body);
    return promise;
  }

  readonly ping = (): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#session.ping((error) => error ? reject(error) : resolve());
    return promise;
  };

  close(reason: Error): void {
    this.#closing = true;
    this.#session.destroy(reason);
  }
}

class Http1Connection implements Connection {
  readonly #server: URL;
  readonly #agent: http.Agent;
  readonly #secure: boolean;
  readonly #ended = new AbortController();

  constructor(server: URL, options: tls.ConnectionOptions) {
    this.#server = server;
    this.#secure = server.protocol === "https:";
    const { ca, cert, key, rejectUnauthorized, servername } = options;
    const agentOptions = { ca, cert, key, rejectUnauthorized, servername, keepAlive: true };
    this.#agent = this.#secure
      ? new https.Agent(agentOptions as https.AgentOptions)
      : new http.Agent({ keepAlive: true });
  }

  get isClosed(): boolean {
    return this.#ended.signal.aborted;
  }

  request({ method, path, headers, body, signal }: HttpRequest): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    const url = new URL(path, this.#server);
    const options = { method, agent: this.#agent, headers: { ...headers } };
    const request = this.#secure ? https.request(url, options) : http.request(url, options);
    const either = AbortSignal.any([signal, this.#ended.signal]);
    const onAbort = () => {
      reject(either.reason);
      request.destroy(either.reason as Error);
    };
    either.addEventListener("abort", onAbort, { once: true });
    request.once("close", () => either.removeEventListener("abort", onAbort));
    request.once("error", reject);
    request.once("response", (answer) => {
      // A body that is cut off ends with an event of its own kind, which no reader of the stream sees.
      answer.once("aborted", () => answer.destroy(new Error("the connection was closed within the answer")));
      resolve({ status: answer.statusCode ?? 0, headers: texts(answer.headers), body: answer });
    });
    request.end(body);
    return promise;
  }

  close(reason: Error): void {
    this.#ended.abort(reason);
    this.#agent.destroy();
  }
}

/** Headers with one text each. */
function texts(
  headers: Readonly<Record<string, string | string[] | number | undefined>>,
): Record<string, string> {
  const pairs = Object.entries(headers).filter(([, value]) => value !== undefined);
  return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]));
}

/**
 * One connection to an API server: HTTP/2 where the server speaks it, else HTTP/1.1.
 *
 * A watch is silent for minutes where nothing changes, so that silence doesn't distinguish a dead connection from a quiet
 * one. HTTP/2 has pings for that, which cost the server nothing; HTTP/1.1 has none (see `watch_pace.ts`).
 *
 * @module
 */
import http from "node:http";
import http2 from "node:http2";
import type { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { TLSSocket } from "node:tls";
import type { ApiAccess } from "./access.ts";
import { forwardingProxy, HTTP1_ONLY, openSocket } from "./socket.ts";
import { proxyAuthorization } from "./tunnel.ts";

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

/**
 * Connects.
 *
 * @throws {Error} That names each address and why it failed. @throws {AccessError} If a certificate can't be read.
 */
export async function connect(access: ApiAccess, signal: AbortSignal): Promise<Connection> {
  const socket = await openSocket(access, signal);
  const isHttp2 = socket instanceof TLSSocket && socket.alpnProtocol === "h2";
  return isHttp2 ? new Http2Connection(access.server, socket) : new Http1Connection(access, socket);
}

class Http2Connection implements Connection {
  readonly #session: http2.ClientHttp2Session;
  #closing = false;

  constructor(server: URL, socket: TLSSocket) {
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

/** Sockets for HTTP/1.1: the one that there is, then others as they are needed. */
class Sockets extends http.Agent {
  readonly #open: () => Promise<Socket>;
  #first: Socket | undefined;

  constructor(first: Socket, open: () => Promise<Socket>) {
    super({ keepAlive: true });
    this.#first = first;
    this.#open = open;
  }

  override createConnection(
    _options: unknown,
    done?: (error: Error | null, socket: Duplex) => void,
  ): Duplex {
    const first = this.#first;
    this.#first = undefined;
    const opening = first && !first.destroyed ? Promise.resolve(first) : this.#open();
    // Without a socket where there is an error, and without one to return: the types know neither.
    const none = undefined as unknown as Duplex;
    opening.then((socket) => done?.(null, socket), (error) => done?.(error, none));
    return none;
  }

  override destroy(): void {
    this.#first?.destroy();
    super.destroy();
  }
}

class Http1Connection implements Connection {
  readonly #sockets: Sockets;
  readonly #ended = new AbortController();
  /** What stands before a path, and which headers are added: a proxy without a tunnel wants the whole URL. */
  readonly #prefix: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(access: ApiAccess, socket: Socket) {
    const { server, proxy } = access;
    this.#sockets = new Sockets(socket, () => openSocket(access, this.#ended.signal, HTTP1_ONLY));
    const forwards = forwardingProxy(access) !== undefined;
    this.#prefix = forwards ? server.origin : "";
    const authorization = forwards ? proxyAuthorization(proxy!) : undefined;
    this.#headers = {
      host: server.host,
      ...(authorization === undefined ? {} : { "proxy-authorization": authorization }),
    };
  }

  get isClosed(): boolean {
    return this.#ended.signal.aborted;
  }

  request({ method, path, headers, body, signal }: HttpRequest): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    const request = http.request({
      method,
      agent: this.#sockets,
      path: this.#prefix + path,
      headers: { ...this.#headers, ...headers },
    });
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
    this.#sockets.destroy();
  }
}

/** Headers with one text each. */
function texts(
  headers: Readonly<Record<string, string | string[] | number | undefined>>,
): Record<string, string> {
  const pairs = Object.entries(headers).filter(([, value]) => value !== undefined);
  return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]));
}

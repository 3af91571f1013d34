/**
 * A fake API server that speaks the real wire: HTTP/2 and 1.1, lists with pages, watches with bookmarks, 410 in both
 * forms, patches, RBAC, Status objects, gzip. kubectl works against it, which keeps it honest.
 *
 * @module
 */
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";
import { Access } from "./access.ts";
import { DISCOVERY, KINDS } from "./discovery.ts";
import { type KubeObject, ObjectStore, StatusError, type StoredEvent } from "./objects.ts";
import { applyPatch } from "./patch.ts";
import { type Call, onlyPart, parseJson, parsePath, readBody, selector, verbOf } from "./request.ts";

/** How the server is made. */
export interface FakeServerOptions {
  /** PEM texts; without them it speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string };
  readonly hostname?: string;
  readonly port?: number;
  /** Milliseconds between bookmarks; the real server sends one about every minute. */
  readonly bookmarkMs?: number;
  /** Speaks HTTP/1.1 only. */
  readonly http1Only?: boolean;
}

/** Faults that a test switches on. */
export interface Faults {
  /** Answers of lists and watches are written in pieces of so many bytes. */
  chunkBytes: number;
  /** How a watch from a version that is too old is refused: as an HTTP answer, or as an event. */
  goneAs: "answer" | "event";
  /** Requests that are answered with this status, by "METHOD path" or a part of it. */
  failing: Map<string, number>;
  /** Milliseconds before each answer. */
  delayMs: number;
  /** Seconds that refusals ask to be left alone for; 0: they don't ask. */
  retryAfter: number;
  /** Whether large answers are compressed for who takes that. */
  gzip: boolean;
}

/** A request as the log keeps it. */
export interface LoggedRequest {
  readonly method: string;
  readonly url: string;
  readonly user: string;
  readonly contentType: string;
  readonly body: string;
}

/** Either kind of node:http's and node:http2's messages: of both, what is used here is the same. */
type Request = http.IncomingMessage;
type Response = http.ServerResponse;

/** From this size on the real server compresses what it may. */
const GZIP_BYTES = 128 * 1024;

/** See the module's text. */
export class FakeApiServer implements AsyncDisposable {
  readonly store = new ObjectStore();
  readonly access = new Access();
  readonly faults: Faults = {
    chunkBytes: Infinity,
    goneAs: "event",
    failing: new Map(),
    delayMs: 0,
    retryAfter: 0,
    gzip: true,
  };
  readonly requests: LoggedRequest[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #watches = new Set<{ end(): void; isSilent: boolean }>();
  readonly #options: FakeServerOptions;
  #server: http.Server | https.Server | http2.Http2SecureServer | undefined;

  private constructor(options: FakeServerOptions) {
    this.#options = options;
  }

  /** Starts a server with a namespace `default` and nothing else. */
  static async start(options: FakeServerOptions = {}): Promise<FakeApiServer> {
    const server = new FakeApiServer(options);
    await server.listen(options.port ?? 0);
    return server;
  }

  /** Begins to listen, also again after {@link stop}. */
  async listen(port: number): Promise<void> {
    const { tls, hostname = "127.0.0.1", http1Only } = this.#options;
    const handler = (request: unknown, response: unknown) =>
      void this.#answer(request as Request, response as Response);
    const options = { ...tls, ...(tls?.ca ? { requestCert: true, rejectUnauthorized: false } : {}) };
    const server = !tls
      ? http.createServer(handler)
      : http1Only
      ? https.createServer(options, handler)
      : http2.createSecureServer({ ...options, allowHTTP1: true }, handler);
    server.on(tls ? "secureConnection" : "connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
    });
    server.on("sessionError", () => {});
    server.on("session", (session: http2.ServerHttp2Session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, hostname, resolve);
    });
    this.#server = server;
  }

  get port(): number {
    return (this.#server!.address() as AddressInfo).port;
  }

  get url(): string {
    const { tls, hostname = "127.0.0.1" } = this.#options;
    return `${tls ? "https" : "http"}://${hostname.includes(":") ? `[${hostname}]` : hostname}:${this.port}`;
  }

  /** Breaks all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Says goodbye on all connections, as the server does now and then (--goaway-chance): what is under way stays. */
  sayGoodbye(): void {
    for (const session of this.#sessions) session.goaway();
  }

  /** Ends all watches as the server does when their time is up. */
  endWatches(): void {
    for (const watch of [...this.#watches]) watch.end();
  }

  /** The watches that are under way say nothing more and never end; new ones, and other requests, are answered. */
  silenceWatches(): void {
    for (const watch of this.#watches) watch.isSilent = true;
  }

  /** Stops listening and breaks all connections. What it holds stays, for {@link listen}. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    this.cut();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answer(request: Request, response: Response): Promise<void> {
    response.on("error", () => {});
    try {
      const body = await readBody(request);
      if (this.faults.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.faults.delayMs));
      await this.#route(request, response, body);
    } catch (error) {
      const status = error instanceof StatusError
        ? error
        : new StatusError(500, "InternalError", String(error));
      this.#send(request, response, status.code, status.body);
    }
  }

  async #route(request: Request, response: Response, body: string): Promise<void> {
    const url = new URL(request.url!, "https://server");
    const method = request.method!;
    const peer = (request.socket as TLSSocket).getPeerCertificate?.();
    const user = this.access.userOf(request.headers.authorization, [peer?.subject?.CN].flat()[0]);
    const contentType = request.headers["content-type"] ?? "";
    this.requests.push({ method, url: request.url!, user, contentType, body });
    for (const [pattern, code] of this.faults.failing) {
      if (`${method} ${request.url}`.includes(pattern)) throw new StatusError(code, "", `fault: ${pattern}`);
    }
    const known = DISCOVERY[url.pathname];
    if (known) return this.#send(request, response, 200, known);
    const call = parsePath(url.pathname);
    const watching = ["1", "true"].includes(url.searchParams.get("watch") ?? "");
    const verb = verbOf(method, call.name !== undefined, watching);
    const resource = call.subresource === undefined ? call.resource : `${call.resource}/${call.subresource}`;
    const scope = call.namespace === undefined ? undefined : `in the namespace "${call.namespace}"`;
    this.access.check(user, verb, resource, scope);
    if (verb === "watch") return await this.#watch(response, call, url.searchParams);
    if (verb === "list") return this.#list(request, response, call, url.searchParams);
    this.#send(request, response, verb === "create" ? 201 : 200, this.#act(verb, call, contentType, body));
  }

  /** What isn't a list or a watch. */
  #act(verb: string, call: Call, contentType: string, body: string): object {
    const { resource, name = "", namespace, subresource } = call;
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    const parsed = body === "" ? {} : parseJson(body);
    if (verb === "get") return this.#full(resource, this.store.get(resource, key));
    if (verb === "delete") {
      const { uid } = this.store.delete(resource, key).metadata;
      return {
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Success",
        details: { name, kind: resource, uid },
      };
    }
    if (verb === "create") {
      const object = parsed as KubeObject;
      const metadata = { ...object.metadata, ...(namespace === undefined ? {} : { namespace }) };
      return this.#full(resource, this.store.create(resource, { ...object, metadata }));
    }
    const before = this.store.get(resource, key);
    const after = verb === "patch" ? applyPatch(before, parsed, contentType) : parsed as KubeObject;
    return this.#full(resource, this.store.update(resource, onlyPart(before, after, subresource)));
  }

  #full(resource: string, object: KubeObject): KubeObject {
    return { kind: KINDS[resource] ?? "Unknown", apiVersion: "v1", ...object };
  }

  #list(request: Request, response: Response, call: Call, query: URLSearchParams): void {
    const all = this.store.list(call.resource).filter(selector(call, query));
    const limit = query.get("resourceVersion") === "0" ? 0 : Number(query.get("limit") ?? 0);
    const { version, start } = this.#continued(query.get("continue"));
    const rest = all.filter((object) => object.metadata.name > start);
    const items = limit > 0 ? rest.slice(0, limit) : rest;
    const left = rest.length - items.length;
    const token = { v: "meta.k8s.io/v1", rv: version, start: items.at(-1)?.metadata.name };
    const metadata = {
      resourceVersion: String(version),
      ...(left > 0 ? { continue: btoa(JSON.stringify(token)), remainingItemCount: left } : {}),
    };
    const head = { kind: `${KINDS[call.resource]}List`, apiVersion: "v1", metadata };
    const text = `${JSON.stringify(head).slice(0, -1)},"items":[${items.map(textOf).join()}]}`;
    this.#sendText(request, response, 200, text);
  }

  #continued(token: string | null): { version: number; start: string } {
    if (!token) return { version: this.store.version, start: "" };
    const { rv, start } = JSON.parse(atob(token)) as { rv: number; start: string };
    if (rv >= this.store.oldest) return { version: rv, start };
    const inconsistent = btoa(JSON.stringify({ v: "meta.k8s.io/v1", rv: this.store.version, start }));
    const message = "The provided continue parameter is too old to display a consistent list result.";
    throw new StatusError(410, "Expired", message, { continue: inconsistent });
  }

  async #watch(response: Response, call: Call, query: URLSearchParams): Promise<void> {
    const from = Number(query.get("resourceVersion") || 0);
    const isSelected = selector(call, query);
    const gone = from > 0 && from < this.store.oldest
      ? new StatusError(410, "Expired", `too old resource version: ${from} (${this.store.oldest})`)
      : undefined;
    if (gone && this.faults.goneAs === "answer") throw gone;
    response.writeHead(200, { "content-type": "application/json" });
    const write = (type: string, object: object) =>
      this.#write(response, `${JSON.stringify({ type, object })}\n`);
    if (gone) {
      write("ERROR", gone.body);
      return void response.end();
    }
    // Headers go out at once, as the real server's do.
    response.flushHeaders?.();
    const notify = (event: StoredEvent) => {
      if (event.resource === call.resource && isSelected(event.object)) {
        write(event.type, this.#full(call.resource, event.object));
      }
    };
    if (from === 0) {
      for (const object of this.store.list(call.resource).filter(isSelected)) {
        write("ADDED", this.#full(call.resource, object));
      }
    } else for (const event of this.store.eventsAfter(call.resource, from)) notify(event);
    await this.#follow(response, notify, { query, kind: KINDS[call.resource]!, write });
  }

  async #follow(
    response: Response,
    notify: (event: StoredEvent) => void,
    { query, kind, write }: {
      query: URLSearchParams;
      kind: string;
      write(type: string, object: object): void;
    },
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const watch = { isSilent: false, end: () => watch.isSilent || resolve() };
    const seconds = Number(query.get("timeoutSeconds") || 1_800);
    const timer = setTimeout(watch.end, seconds * 1000);
    const bookmark = () => {
      if (watch.isSilent) return;
      const metadata = { resourceVersion: String(this.store.version), creationTimestamp: null };
      write("BOOKMARK", { kind, apiVersion: "v1", metadata, spec: {}, status: {} });
    };
    const wantsBookmarks = query.get("allowWatchBookmarks") === "true";
    const bookmarks = wantsBookmarks ? setInterval(bookmark, this.#options.bookmarkMs ?? 60_000) : undefined;
    using _watching = this.store.watch((event) => watch.isSilent || notify(event));
    this.#watches.add(watch);
    response.on("close", resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      clearInterval(bookmarks);
      this.#watches.delete(watch);
      response.end();
    }
  }

  #send(request: Request, response: Response, status: number, value: object): void {
    this.#sendText(request, response, status, JSON.stringify(value));
  }

  #sendText(request: Request, response: Response, status: number, text: string): void {
    const zip = this.faults.gzip && text.length > GZIP_BYTES &&
      /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    response.writeHead(status, {
      "content-type": "application/json",
      ...(zip ? { "content-encoding": "gzip" } : {}),
      ...(status >= 400 && this.faults.retryAfter > 0
        ? { "retry-after": String(this.faults.retryAfter) }
        : {}),
    });
    if (zip) response.write(gzipSync(text, { level: 1 }));
    else this.#write(response, text);
    response.end();
  }

  /** Writes text in pieces, which may end within a character. */
  #write(response: Response, text: string): void {
    const { chunkBytes } = this.faults;
    if (text.length <= chunkBytes) return void response.write(text);
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += chunkBytes) response.write(bytes.slice(at, at + chunkBytes));
  }
}

const texts = new WeakMap<object, string>();

/** An object's text, made once: lists of thousands of Nodes are as fast as the real server's. */
function textOf(object: KubeObject): string {
  const text = texts.get(object) ?? JSON.stringify(object);
  texts.set(object, text);
  return text;
}

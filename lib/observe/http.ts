/**
 * The HTTP server for probes and monitoring (/healthz, /readyz, /metrics), and for what is known of the network:
 * /status, and the page that shows it.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { JsonObject } from "../config/types.ts";
import { IPV6 } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import type { HttpRequest } from "./http_request.ts";
import type { HttpAnswer, HttpClient } from "./http_connection.ts";
import { type ConnectionSource, HttpServer } from "./http_server.ts";
import { formatFor, type MetricsRegistry } from "./metrics.ts";
import type { Problems } from "./problems.ts";

/** What the page is made of: itself, and its stream of changes. */
const PAGE_PATHS = ["/", "/events"] as const;

/** One of them. */
export type PagePath = typeof PAGE_PATHS[number];

/** What the server serves. */
export interface HealthOptions {
  readonly problems: Pick<Problems, "notReady">;
  readonly metrics: MetricsRegistry;
  /** What /status shows; the query says how much. @throws {RangeError} If a parameter has no such value. */
  status(query: URLSearchParams): object | Promise<object>;
  /** What /peers shows; absent: there is no such path. */
  peers?(): JsonObject | Promise<JsonObject>;
  /** Why a request for what is known of the network is refused. Absent: whoever can connect may have it. */
  refusal?(request: HttpRequest, client: HttpClient): string | undefined;
  /** Answers what belongs to the page: {@link PAGE_PATHS}. Absent: there is none. */
  page?(path: PagePath): Promise<HttpAnswer>;
  /** Called with what went wrong in an answer. */
  onError(error: unknown): void;
  /** Accepting connections fails and is tried again, or (undefined) works again. */
  onAcceptError(message: string | undefined): void;
}

/** Where the server listens. */
export interface ListenAddress {
  readonly address: Ip;
  /** 0 takes a free one. */
  readonly port: number;
}

/** A running server. */
export type HealthServer = AsyncDisposable;

/** The server can't listen. The message names address and port, the cause and what to do. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/**
 * Starts the server. Disposing it lets answers under way finish, for a moment.
 *
 * @throws {ListenError} If the address is none of this host's, the port is in use, or it isn't allowed.
 */
export function serveHealth(
  options: HealthOptions & ListenAddress,
): HealthServer & { readonly port: number } {
  const { address, port } = options;
  let listener: Deno.TcpListener;
  try {
    listener = Deno.listen({ hostname: formatIp(address), port });
  } catch (error) {
    throw new ListenError(explain(address, port, error), { cause: error });
  }
  const server = serve(listener, options);
  return { port: listener.addr.port, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** As {@link serveHealth}, on a Unix socket. @throws {Error} If the path can't be listened on. */
export function serveHealthLocally(path: string, options: HealthOptions): HealthServer {
  return serve(Deno.listen({ transport: "unix", path }), options);
}

function serve(source: ConnectionSource, options: HealthOptions): HttpServer {
  return new HttpServer(source, {
    answer: (request, client) => answer(request, client, options),
    onError: options.onError,
    onAcceptError: options.onAcceptError,
  });
}

/** Answers one request. */
async function answer(
  request: HttpRequest,
  client: HttpClient,
  options: HealthOptions,
): Promise<HttpAnswer> {
  const { method, path, fields } = request;
  if (method !== "GET" && method !== "HEAD") {
    return { status: 405, body: "only GET and HEAD\n", fields: { allow: "GET, HEAD" } };
  }
  switch (path) {
    case "/healthz":
      return { status: 200, body: "ok\n" };
    case "/readyz": {
      const reasons = options.problems.notReady();
      if (reasons.length === 0) return { status: 200, body: "ok\n" };
      return { status: 503, body: reasons.map((reason) => `${reason}\n`).join("") };
    }
    case "/metrics": {
      const { text, contentType } = options.metrics.render(formatFor(fields.get("accept")));
      return { status: 200, body: text, contentType };
    }
    default:
      return await answerNetwork(request, client, options);
  }
}

/** Answers what is known of the network. */
async function answerNetwork(
  request: HttpRequest,
  client: HttpClient,
  options: HealthOptions,
): Promise<HttpAnswer> {
  const { path } = request;
  const pagePath = options.page && PAGE_PATHS.find((one) => one === path);
  const isThere = pagePath || path === "/status" || (path === "/peers" && options.peers);
  if (!isThere) {
    const paths = ["/healthz", "/readyz", "/metrics", "/status", ...options.page ? PAGE_PATHS : []];
    return { status: 404, body: `not found: there are ${paths.join(", ")}\n` };
  }
  const refused = options.refusal?.(request, client);
  if (refused !== undefined) return { status: 403, body: `${refused}\n` };
  if (pagePath) return await options.page!(pagePath);
  return path === "/peers" ? json(await options.peers!(), 0) : await answerStatus(request, options);
}

async function answerStatus({ query }: HttpRequest, options: HealthOptions): Promise<HttpAnswer> {
  try {
    // A list of thousands of peers isn't read by people: without indentation it is half as long.
    return json(await options.status(query), query.get("peers") === "all" ? 0 : 2);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { status: 400, body: `${error.message}\n` };
  }
}

function json(value: object, indent: number): HttpAnswer {
  return {
    status: 200,
    body: `${JSON.stringify(value, null, indent)}\n`,
    contentType: "application/json",
    fields: { "x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin" },
  };
}

function explain(address: Ip, port: number, error: unknown): string {
  const shown = address.family === IPV6 ? `[${formatIp(address)}]` : formatIp(address);
  const what = `Cannot serve /healthz on ${shown}:${port}`;
  if (error instanceof Deno.errors.AddrInUse) {
    return `${what}: the port is in use by another program; choose another with -healthz-port, 0 turns it off`;
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return `${what}: the address is none of this host's; choose another with -healthz-ip`;
  }
  return `${what}: ${messageOf(error)}`;
}

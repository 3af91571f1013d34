/**
 * The HTTP server for probes and monitoring: /healthz, /readyz, /metrics, /status.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { JsonObject } from "../config/types.ts";
import { IPV6 } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import type { HttpRequest } from "./http_request.ts";
import { type ConnectionSource, type HttpAnswer, HttpServer } from "./http_server.ts";
import { formatFor, type MetricsRegistry } from "./metrics.ts";
import type { Problems } from "./problems.ts";

/** What the server serves. */
export interface HealthOptions {
  readonly problems: Pick<Problems, "notReady">;
  readonly metrics: MetricsRegistry;
  /** What /status shows. */
  status(): JsonObject | Promise<JsonObject>;
  /** What /peers shows; absent: there is no such path. */
  peers?(): JsonObject | Promise<JsonObject>;
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
    answer: (request) => answer(request, options),
    onError: options.onError,
    onAcceptError: options.onAcceptError,
  });
}

const NOT_FOUND: HttpAnswer = {
  status: 404,
  body: "not found: there are /healthz, /readyz, /metrics, /status\n",
};

/** Answers one request. */
async function answer({ method, path, fields }: HttpRequest, options: HealthOptions): Promise<HttpAnswer> {
  if (method !== "GET" && method !== "HEAD") {
    return { status: 405, body: "only GET and HEAD\n", allow: "GET, HEAD" };
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
    case "/status": {
      const body = JSON.stringify(await options.status(), null, 2);
      return { status: 200, body: `${body}\n`, contentType: "application/json" };
    }
    case "/peers": {
      if (!options.peers) return NOT_FOUND;
      const body = JSON.stringify(await options.peers());
      return { status: 200, body: `${body}\n`, contentType: "application/json" };
    }
    default:
      return NOT_FOUND;
  }
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

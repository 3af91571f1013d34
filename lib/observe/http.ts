/**
 * The HTTP server for probes and monitoring: /healthz, /readyz, /metrics, /status.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { JsonObject } from "../config/types.ts";
import { IPV6 } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import type { MetricsRegistry } from "./metrics.ts";
import type { Problems } from "./problems.ts";

/** What the server serves. */
export interface HealthOptions {
  readonly problems: Pick<Problems, "notReady">;
  readonly metrics: MetricsRegistry;
  /** What /status shows. */
  status(): JsonObject | Promise<JsonObject>;
  /** Called with what went wrong in an answer. */
  onError(error: unknown): void;
}

/** Where the server listens. */
export interface ListenAddress {
  readonly address: Ip;
  /** 0 takes a free one. */
  readonly port: number;
}

/** A running server. */
export type HealthServer = AsyncDisposable;

/** The server can't listen. The message names address and port, the cause and how to mend it. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** How long answers under way may take when the server ends, in milliseconds. */
const GRACE = 200;

/**
 * Starts the server. Disposing it lets answers under way finish, for a moment.
 *
 * @throws {ListenError} If the address is none of this host's, the port is in use, or it isn't allowed.
 */
export function serveHealth(
  options: HealthOptions & ListenAddress,
): HealthServer & { readonly port: number } {
  const { address, port } = options;
  try {
    const answers = new Answers(options);
    const server = Deno.serve({ hostname: formatIp(address), port, ...answers.handlers }, answers.handle);
    return { port: server.addr.port, [Symbol.asyncDispose]: () => answers.end(server) };
  } catch (error) {
    throw new ListenError(explain(address, port, error), { cause: error });
  }
}

/** As {@link serveHealth}, on a Unix socket. @throws {Error} If the path can't be listened on. */
export function serveHealthLocally(path: string, options: HealthOptions): HealthServer {
  const answers = new Answers(options);
  const server = Deno.serve({ path, ...answers.handlers }, answers.handle);
  return { [Symbol.asyncDispose]: () => answers.end(server) };
}

/** Answers requests until the end, which doesn't wait for a hanging one. */
class Answers {
  readonly #pending = new Set<(response: Response) => void>();
  readonly handlers;

  constructor(readonly options: HealthOptions) {
    this.handlers = { onListen() {}, onError: failed(options) };
  }

  handle = async (request: Request): Promise<Response> => {
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    this.#pending.add(resolve);
    answer(request, this.options).then(resolve, reject);
    try {
      return await promise;
    } finally {
      this.#pending.delete(resolve);
    }
  };

  async end(server: { shutdown(): Promise<void> }): Promise<void> {
    const timer = setTimeout(() => {
      for (const resolve of this.#pending) resolve(text("flanneld ends\n", 503));
    }, GRACE);
    await server.shutdown();
    clearTimeout(timer);
  }
}

function failed(options: HealthOptions): (error: unknown) => Response {
  return (error) => {
    options.onError(error);
    return text("internal error\n", 500);
  };
}

/** Answers one request. */
async function answer(request: Request, options: HealthOptions): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return text("only GET and HEAD\n", 405, { allow: "GET, HEAD" });
  }
  switch (new URL(request.url).pathname) {
    case "/healthz":
      return text("ok\n", 200);
    case "/readyz": {
      const reasons = options.problems.notReady();
      if (reasons.length === 0) return text("ok\n", 200);
      return text(reasons.map((reason) => `${reason}\n`).join(""), 503);
    }
    case "/metrics": {
      const read = await options.metrics.render();
      return text(read.text, 200, { "content-type": read.contentType });
    }
    case "/status": {
      const body = JSON.stringify(await options.status(), null, 2);
      return text(`${body}\n`, 200, { "content-type": "application/json" });
    }
    default:
      return text("not found: there are /healthz, /readyz, /metrics, /status\n", 404);
  }
}

function text(body: string, status: number, headers: Record<string, string> = {}): Response {
  const common = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  return new Response(body, { status, headers: { ...common, ...headers } });
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

/**
 * The part that all fake clouds share: an HTTP server that can be switched off, and what can be wrong with it.
 *
 * @module
 */

/** What a test makes go wrong. */
export class Faults {
  /** So many of the next calls are throttled. */
  throttle = 0;
  /** Actions (as the cloud names them) that the caller may not use. */
  readonly denied = new Set<string>();
  /** So many of the next calls get an answer of HTTP 503. */
  broken = 0;
  /** So many of the next changes meet another one under way (Alibaba, Google). */
  conflicts = 0;
  /** Milliseconds until a change shows in listings, by {@link now}. */
  lag = 0;
  /** The fake's clock, in milliseconds. */
  now: () => number = () => Date.now();
  /** Milliseconds that an operation takes. */
  operation = 0;
  /** Optional fields are left out of answers. */
  sparse = false;
  /** Credentials given out before this time (milliseconds since the epoch) count as expired. */
  credentialsSince = 0;

  /** Takes one from the counter, if there is one. */
  take(counter: "throttle" | "broken" | "conflicts"): boolean {
    if (this[counter] <= 0) return false;
    this[counter]--;
    return true;
  }
}

/** A value whose changes show later than they are made. */
export class Lagging<T> {
  readonly #faults: Faults;
  #versions: { at: number; value: T }[];

  constructor(faults: Faults, value: T) {
    this.#faults = faults;
    this.#versions = [{ at: -Infinity, value }];
  }

  /** As it really is. */
  get now(): T {
    return this.#versions.at(-1)!.value;
  }

  set now(value: T) {
    this.#versions.push({ at: this.#faults.now(), value });
  }

  /** As listings show it. */
  get shown(): T {
    if (this.#faults.lag === 0) return this.now;
    const until = this.#faults.now() - this.#faults.lag;
    return this.#versions.findLast((version) => version.at <= until)!.value;
  }
}

/** A request with its body read. */
export interface FakeRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
  /** The caller's address. */
  readonly from: string;
}

/** A server on one address, which can go away and come back on the same port. */
export class FakeServer implements AsyncDisposable {
  readonly #handle: (request: FakeRequest) => Response | Promise<Response>;
  readonly #hostname: string;
  #port: number;
  #server: Deno.HttpServer<Deno.NetAddr> | undefined;

  constructor(
    handle: (request: FakeRequest) => Response | Promise<Response>,
    hostname = "127.0.0.1",
    port = 0,
  ) {
    this.#handle = handle;
    this.#hostname = hostname;
    this.#port = port;
    this.up();
  }

  /** `http://127.0.0.1:PORT`. */
  get url(): string {
    return `http://${this.host}`;
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return `${this.#hostname}:${this.#port}`;
  }

  /** Listens (again). */
  up(): void {
    if (this.#server) return;
    const options = { hostname: this.#hostname, port: this.#port, onListen: () => {} };
    this.#server = Deno.serve(options, async (request, info) => {
      const body = await request.text();
      const { method, headers } = request;
      const from = (info.remoteAddr as Deno.NetAddr).hostname;
      return await this.#handle({ method, url: new URL(request.url), headers, body, from });
    });
    this.#port = this.#server.addr.port;
  }

  /** Stops listening: connections are refused. */
  async down(): Promise<void> {
    await this.#server?.shutdown();
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }
}

/** An answer in JSON. */
export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json; charset=UTF-8", ...headers },
  });
}

/** Hex of a SHA-256. */
export async function sha256Hex(text: string): Promise<string> {
  return hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/** HMAC-SHA256. */
export async function hmac(
  key: Uint8Array<ArrayBuffer> | string,
  text: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const raw = typeof key === "string" ? new TextEncoder().encode(key) : key;
  const imported = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)));
}

/** Bytes in hex. */
export function hex(bytes: ArrayBuffer | Uint8Array): string {
  return [...new Uint8Array(bytes as ArrayBuffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Percent-encoding by RFC 3986, as both AWS and Alibaba sign it. */
export function rfc3986(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

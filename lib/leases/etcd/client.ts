/**
 * One etcd endpoint through npm:etcd3: unary calls and the watch stream.
 *
 * Of etcd3 only the generated gRPC clients are used. Its connection pool picks hosts at random, allows no mix
 * of http and https, waits up to 20 s for a connection and logs in over a channel of its own without options;
 * its Watcher takes the header's revision for its cursor (see watch.ts). So every endpoint gets a client of
 * its own with policies that do nothing, and the order of endpoints is pool.ts's business.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Endpoint } from "./endpoints.ts";
import type { RpcError } from "./faults.ts";
import type { CallName, Calls, WatchResponse } from "./messages.ts";

/** What is needed to speak with a server. */
export interface Credentials {
  /** PEM texts; used for https endpoints only. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly username?: string;
  readonly password?: string;
}

/** The watch stream as grpc-js gives it: a duplex object stream. */
export interface WatchStream extends AsyncIterable<WatchResponse> {
  write(request: unknown): void;
  cancel(): void;
  on(event: "error", listener: (error: Error) => void): void;
  /** Comes once, when the stream has ended, well or badly. */
  on(event: "status", listener: () => void): void;
}

interface Metadata {
  set(key: string, value: string): void;
}

interface RpcClient {
  getChannel(): { getConnectivityState(connect: boolean): number };
}

type UnaryMethod = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: RpcError | null, response: unknown) => void,
) => { cancel(): void };

type WatchMethod = (metadata: Metadata, options: Record<string, never>) => WatchStream;

interface Connector {
  connectionOptions?: { servername?: string };
}

/** The part of etcd3's inside that its types hide. */
interface Pool {
  readonly hosts: readonly {
    readonly channelCredentials: { _createSecureConnector(...args: unknown[]): Connector };
  }[];
  withConnection<T>(
    service: string,
    use: (connection: { client: RpcClient; metadata: Metadata }) => T | Promise<T>,
  ): Promise<T>;
}

/** grpc-js's connectivityState.READY. */
const READY = 2;

const CHANNEL_OPTIONS = {
  // A connection that was cut without a word is noticed 6 + 3 s after its last sign of life. etcd refuses
  // clients that ping more often than every 5 s (--grpc-keepalive-min-time).
  "grpc.keepalive_time_ms": 6000,
  "grpc.keepalive_timeout_ms": 3000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Pages keep answers small, but nothing limits a lease's value or what one transaction changes.
  "grpc.max_receive_message_length": -1,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
};

let library: Promise<typeof import("etcd3")> | undefined;

/** Starts to load etcd3 (about 100 ms); later calls wait for the same load. */
export function loadEtcd3(): Promise<typeof import("etcd3")> {
  return library ??= import("etcd3");
}

/** A call's outcome that isn't an answer, with the name of who didn't answer. */
export class CallError extends Error implements RpcError {
  override readonly name = "CallError";
  constructor(readonly code: number, readonly details: string) {
    super(details);
  }
}

/** A client of one endpoint. Nothing is connected before the first call. */
export class EtcdClient {
  readonly #pool: Pool;
  readonly #close: () => void;
  readonly #credentials: Credentials;
  #token: Promise<string | undefined> | undefined;

  /** @throws {Error} If the certificates can't be used. */
  constructor(etcd3: typeof import("etcd3"), readonly endpoint: Endpoint, credentials: Credentials) {
    const direct = { execute: <T>(call: () => T) => call() };
    const { ca, cert, key } = credentials;
    const pem = (text: string) => Buffer.from(text);
    const client = new etcd3.Etcd3({
      hosts: [endpoint.url],
      grpcOptions: CHANNEL_OPTIONS,
      // deno-lint-ignore no-explicit-any -- etcd3 wants cockatiel's policy class; of it, it calls execute alone.
      faultHandling: { host: () => direct as any, global: direct as any },
      ...endpoint.secure && (ca || cert)
        ? {
          credentials: {
            rootCertificate: (ca ? pem(ca) : null) as Buffer,
            ...cert && key ? { certChain: pem(cert), privateKey: pem(key) } : {},
          },
        }
        : {},
    });
    this.#pool = (client as unknown as { pool: Pool }).pool;
    this.#close = () => client.close();
    this.#credentials = credentials;
    if (endpoint.secure) allowAddresses(this.#pool);
  }

  /**
   * One unary call.
   *
   * @param deadlineMs For the answer, the connection included.
   * @param connectMs For the connection alone, where there is none yet.
   * @throws {CallError} With gRPC's code. @throws The signal's reason.
   */
  async call<N extends CallName>(
    name: N,
    request: Calls[N]["request"],
    deadlineMs: number,
    connectMs: number,
    signal?: AbortSignal,
  ): Promise<Calls[N]["response"]> {
    const token = name === "Auth.authenticate" ? undefined : await this.#login(deadlineMs, connectMs, signal);
    signal?.throwIfAborted();
    const [service, method] = name.split(".") as [string, string];
    return await this.#pool.withConnection(service, ({ client, metadata }) => {
      if (token !== undefined) metadata.set("token", token);
      const unary = (client as unknown as Record<string, UnaryMethod>)[method]!;
      return new Promise<Calls[N]["response"]>((resolve, reject) => {
        let why: unknown;
        const cancel = (reason: unknown) => {
          why = reason;
          call.cancel();
        };
        const onAbort = () => cancel(signal!.reason);
        const timer = setTimeout(() => {
          if (client.getChannel().getConnectivityState(false) !== READY) {
            cancel(new CallError(14, `no connection within ${connectMs} ms`));
          }
        }, connectMs);
        const call = unary.call(
          client,
          request,
          metadata,
          { deadline: Date.now() + deadlineMs },
          (error, response) => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", onAbort);
            if (error) reject(why ?? new CallError(error.code, error.details));
            else resolve(response as Calls[N]["response"]);
          },
        );
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    });
  }

  /** Opens a watch stream; its errors come out of its iterator. */
  async openWatch(deadlineMs: number, connectMs: number, signal?: AbortSignal): Promise<WatchStream> {
    const token = await this.#login(deadlineMs, connectMs, signal);
    return await this.#pool.withConnection("Watch", ({ client, metadata }) => {
      if (token !== undefined) metadata.set("token", token);
      const stream = (client as unknown as { watch: WatchMethod }).watch(metadata, {});
      // Before anybody iterates, an error would end the process.
      stream.on("error", () => {});
      return stream;
    });
  }

  /** Forgets the session, so that the next call logs in again. */
  forgetToken(): void {
    this.#token = undefined;
  }

  close(): void {
    this.#close();
  }

  /** The session's token, shared by all calls: so no caller's signal ends the login itself. */
  #login(deadlineMs: number, connectMs: number, signal?: AbortSignal): Promise<string | undefined> {
    const { username, password } = this.#credentials;
    if (!username) return Promise.resolve(undefined);
    if (!this.#token) {
      const request = { name: username, password: password ?? "" };
      const token = this.call("Auth.authenticate", request, deadlineMs, connectMs).then(
        (answer) => answer.token,
        (error) => {
          // A server without users takes everybody.
          if (/authentication is not enabled/.test(String(error))) return undefined;
          if (this.#token === token) this.#token = undefined;
          throw error;
        },
      );
      this.#token = token;
    }
    return untilAborted(this.#token, signal);
  }
}

/** The promise's outcome, or the signal's reason as soon as it fires. */
function untilAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * grpc-js names the server in the TLS handshake even where the endpoint is an address, which RFC 6066
 * section 3 forbids and node:tls refuses. Without a name, the certificate is checked against the address.
 */
function allowAddresses(pool: Pool): void {
  for (const { channelCredentials } of pool.hosts) {
    const create = channelCredentials._createSecureConnector.bind(channelCredentials);
    channelCredentials._createSecureConnector = (...args) => {
      const connector = create(...args);
      const options = connector.connectionOptions;
      if (options && /^\d+(\.\d+){3}$|:/.test(options.servername ?? "")) delete options.servername;
      return connector;
    };
  }
}

/**
 * One etcd endpoint: its unary calls and streams, in a user's session.
 *
 * @module
 */
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { CallError, classify } from "./faults.ts";
import { type CallStream, GrpcClient, type Metadata } from "./grpc.ts";
import { KEEP_ALIVE, type Method, METHODS, WATCH } from "./layouts.ts";
import type { CallLimits } from "./limits.ts";
import type { CallName, Calls, WatchRequest, WatchResponse } from "./messages.ts";
import { Session } from "./session.ts";

/** The watch stream. */
export type WatchStream = CallStream<WatchRequest, WatchResponse>;

/** Every answer of etcd has one. UNAVAILABLE: another endpoint may be an etcd. */
const NO_HEADER = new CallError(14, "the answer has no header: is that an etcd?");

/** A client of one endpoint. Nothing is connected before the first call. */
export class EtcdClient {
  readonly #grpc: GrpcClient;
  readonly #session: Session;

  /** @throws {Error} If the certificates can't be used. */
  constructor(readonly endpoint: Endpoint, credentials: Credentials) {
    const { username, password } = credentials;
    this.#grpc = new GrpcClient(endpoint, credentials);
    this.#session = new Session(
      username ? (limits) => this.#login({ name: username, password: password ?? "" }, limits) : undefined,
    );
  }

  /**
   * One unary call, with one more login if the session has ended.
   *
   * @throws {CallError} With gRPC's code. @throws The signal's reason.
   */
  call<N extends CallName>(
    name: N,
    request: Calls[N]["request"],
    limits: CallLimits,
  ): Promise<Calls[N]["response"]> {
    return this.#inSession(limits, (token) => this.#unary(name, request, token, limits));
  }

  /**
   * Opens a watch stream; what it ends with comes out of its iterator.
   *
   * @param start Makes the watch on the stream. It may run a second time, on another stream, with a new session.
   */
  watch<T>(start: (stream: WatchStream) => Promise<T>, limits: CallLimits): Promise<T> {
    return this.#inSession(limits, async (token) => {
      const stream = await this.#grpc.stream(WATCH, metadataWith(token), limits);
      try {
        return await start(stream);
      } catch (error) {
        stream.cancel();
        throw error;
      }
    });
  }

  /**
   * Gives the etcd lease `id` its whole time to live again.
   *
   * @returns That time in seconds, or 0 if there is no such lease any more.
   */
  keepAlive(id: string, limits: CallLimits): Promise<number> {
    return this.#inSession(limits, async (token) => {
      const { deadlineMs } = limits;
      const stream = await this.#grpc.stream(KEEP_ALIVE, metadataWith(token), limits, deadlineMs);
      try {
        stream.write({ ID: id });
        for await (const { TTL } of stream) return Math.max(0, Number(TTL));
        throw new CallError(14, "etcd ended the keep-alive stream");
      } catch (error) {
        limits.signal?.throwIfAborted();
        throw error;
      } finally {
        stream.cancel();
      }
    });
  }

  close(): void {
    this.#grpc.close();
  }

  async #inSession<T>(limits: CallLimits, use: (token: string | undefined) => Promise<T>): Promise<T> {
    const token = await this.#session.token(limits);
    try {
      return await use(token.text);
    } catch (error) {
      if (!(error instanceof CallError) || !endsSession(error)) throw error;
      if (!await this.#session.refused(token)) throw error;
    }
    return await use((await this.#session.token(limits)).text);
  }

  async #login(
    user: { name: string; password: string },
    limits: CallLimits,
  ): Promise<string | undefined> {
    try {
      return (await this.#unary("Auth.authenticate", user, undefined, limits)).token;
    } catch (error) {
      // A server without users takes everybody.
      if (/authentication is not enabled/.test(String(error))) return undefined;
      throw error;
    }
  }

  async #unary<N extends CallName>(
    name: N,
    request: Calls[N]["request"],
    token: string | undefined,
    limits: CallLimits,
  ): Promise<Calls[N]["response"]> {
    const method: Method<Calls[N]["request"], Calls[N]["response"]> = METHODS[name];
    const response = await this.#grpc.unary(method, request, metadataWith(token), limits);
    if ((response as { header: unknown }).header === null) throw NO_HEADER;
    return response;
  }
}

/**
 * What every call carries. `hasleader` (etcd, api/v3rpc/rpctypes/metadatafields.go): a member that is cut off
 * from its quorum refuses calls at once and ends streams after some 3 s, instead of keeping silent.
 */
function metadataWith(token: string | undefined): Metadata {
  return { hasleader: "true", ...token === undefined ? {} : { token } };
}

/** Whether a new login may help. */
function endsSession(error: CallError): boolean {
  const { kind } = classify(error);
  return kind === "token" || kind === "anonymous";
}

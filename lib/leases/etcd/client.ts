/**
 * One etcd endpoint through npm:etcd3: unary calls and streams.
 *
 * @module
 */
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { classify, type RpcError } from "./faults.ts";
import {
  type CallStream,
  type Channels,
  type Metadata,
  openChannels,
  READY,
  type StreamMethod,
  type UnaryMethod,
} from "./library.ts";
import type { CallLimits } from "./limits.ts";
import type { CallName, Calls, KeepAliveResponse, WatchResponse } from "./messages.ts";
import { Session } from "./session.ts";

/** The watch stream. */
export type WatchStream = CallStream<WatchResponse>;

/** A call's outcome that isn't an answer, with the name of who didn't answer. */
export class CallError extends Error implements RpcError {
  override readonly name = "CallError";
  constructor(readonly code: number, readonly details: string) {
    super(details);
  }

  /** From whatever grpc-js threw. */
  static from(error: unknown): CallError {
    if (error instanceof CallError) return error;
    const { code, details } = error as { code?: unknown; details?: unknown };
    return new CallError(
      typeof code === "number" ? code : 14,
      typeof details === "string" ? details : String(error),
    );
  }
}

/** Every answer of etcd has one. UNAVAILABLE: another endpoint may be an etcd. */
const NO_HEADER = new CallError(14, "the answer has no header: is that an etcd?");

/** A client of one endpoint. Nothing is connected before the first call. */
export class EtcdClient {
  readonly #channels: Channels;
  readonly #close: () => void;
  readonly #session: Session;

  /** @throws {Error} If the certificates can't be used. */
  constructor(etcd3: typeof import("etcd3"), readonly endpoint: Endpoint, credentials: Credentials) {
    const { username, password } = credentials;
    const { channels, close } = openChannels(etcd3, endpoint, credentials);
    this.#channels = channels;
    this.#close = close;
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
      const stream = await this.#stream<WatchResponse>("Watch.watch", token);
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
      const stream = await this.#stream<KeepAliveResponse>(
        "Lease.leaseKeepAlive",
        token,
        Date.now() + limits.deadlineMs,
      );
      const stop = () => stream.cancel();
      limits.signal?.addEventListener("abort", stop, { once: true });
      try {
        stream.write({ ID: id });
        for await (const { TTL } of stream) return Math.max(0, Number(TTL));
        throw new CallError(14, "etcd ended the keep-alive stream");
      } catch (error) {
        limits.signal?.throwIfAborted();
        throw CallError.from(error);
      } finally {
        limits.signal?.removeEventListener("abort", stop);
        stop();
      }
    });
  }

  close(): void {
    this.#close();
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
    { deadlineMs, connectMs, signal }: CallLimits,
  ): Promise<Calls[N]["response"]> {
    signal?.throwIfAborted();
    const [service, method] = name.split(".") as [string, string];
    return await this.#channels.withConnection(service, ({ client, metadata }) => {
      prepare(metadata, token);
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
        const deadline = Date.now() + deadlineMs;
        const call = unary.call(client, request, metadata, { deadline }, (error, response) => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          if (error) reject(why ?? CallError.from(error));
          else if ((response as { header?: unknown }).header === null) reject(NO_HEADER);
          else resolve(response as Calls[N]["response"]);
        });
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    });
  }

  #stream<Response>(
    name: "Watch.watch" | "Lease.leaseKeepAlive",
    token: string | undefined,
    deadline?: number,
  ): Promise<CallStream<Response>> {
    const [service, method] = name.split(".") as [string, string];
    return this.#channels.withConnection(service, ({ client, metadata }) => {
      prepare(metadata, token);
      const open = (client as unknown as Record<string, StreamMethod>)[method]!;
      const stream = open.call(client, metadata, deadline === undefined ? {} : { deadline });
      // Before anybody iterates, an error would end the process.
      stream.on("error", () => {});
      return stream as CallStream<Response>;
    });
  }
}

/**
 * What every call carries. `hasleader` (etcd, api/v3rpc/rpctypes/metadatafields.go): a member that is cut off
 * from its quorum refuses calls at once and ends streams after some 3 s, instead of keeping silent.
 */
function prepare(metadata: Metadata, token: string | undefined): void {
  metadata.set("hasleader", "true");
  if (token !== undefined) metadata.set("token", token);
}

/** Whether a new login may help. */
function endsSession(error: CallError): boolean {
  const { kind } = classify(error);
  return kind === "token" || kind === "anonymous";
}

/**
 * gRPC's calls to one endpoint: one with one answer, and a stream in both directions.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { SecureContext } from "node:tls";
import { messageOf } from "../../errors.ts";
import { Call, REFUSED } from "./call.ts";
import { Connection, secureContextOf } from "./connection.ts";
import type { Credentials } from "./credentials.ts";
import type { Endpoint } from "./endpoints.ts";
import { CallError } from "./faults.ts";
import type { Method } from "./layouts.ts";
import type { CallLimits } from "./limits.ts";

/** gRPC's INTERNAL. */
const INTERNAL = 13;

/** What a call carries beside its message. */
export type Metadata = Readonly<Record<string, string>>;

/** Calls to one endpoint; a connection is made for the first one, and anew after it has ended. */
export class GrpcClient {
  readonly #endpoint: Endpoint;
  readonly #secure: SecureContext | undefined;
  #connection: Connection | undefined;

  /** @throws {Error} If the certificates can't be used. */
  constructor(endpoint: Endpoint, credentials: Credentials) {
    this.#endpoint = endpoint;
    this.#secure = endpoint.secure ? secureContextOf(credentials) : undefined;
  }

  /** A call with one answer. @throws {CallError} @throws The signal's reason. */
  async unary<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    request: Request,
    metadata: Metadata,
    limits: CallLimits,
  ): Promise<Response> {
    const message = method.request.encode(request);
    for (let attempt = 1;; attempt++) {
      const call = this.#call(method, metadata, limits, limits.deadlineMs);
      try {
        call.send(message, true);
        return decode(method, await call.only());
      } catch (error) {
        limits.signal?.throwIfAborted();
        if (error !== REFUSED || attempt > 1) throw error;
      } finally {
        call.cancel();
      }
    }
  }

  /**
   * A call in which both sides send any number of messages.
   *
   * @param deadlineMs Ends the whole call.
   * @throws {CallError} If there is no connection within the limits. @throws The signal's reason.
   */
  async stream<Request extends object, Response extends object>(
    method: Method<Request, Response>,
    metadata: Metadata,
    limits: CallLimits,
    deadlineMs?: number,
  ): Promise<CallStream<Request, Response>> {
    const call = this.#call(method, metadata, limits, deadlineMs);
    try {
      await call.opened;
    } catch (error) {
      limits.signal?.throwIfAborted();
      throw error;
    }
    return new CallStream(method, call);
  }

  close(): void {
    this.#connection?.close();
  }

  #call(
    { path }: { readonly path: string },
    metadata: Metadata,
    limits: CallLimits,
    deadlineMs: number | undefined,
  ): Call {
    limits.signal?.throwIfAborted();
    if (!this.#connection?.isUsable) this.#connection = new Connection(this.#endpoint, this.#secure);
    const headers = {
      ":method": "POST",
      ":path": `/etcdserverpb.${path}`,
      "content-type": "application/grpc",
      "user-agent": "flanneld",
      te: "trailers",
      ...deadlineMs === undefined ? {} : { "grpc-timeout": `${Math.ceil(deadlineMs)}m` },
      ...metadata,
    };
    return new Call(this.#connection, headers, limits, deadlineMs);
  }
}

/** A call of messages as objects. */
export class CallStream<Request extends object, Response extends object> {
  readonly #method: Method<Request, Response>;
  readonly #call: Call;

  constructor(method: Method<Request, Response>, call: Call) {
    this.#method = method;
    this.#call = call;
  }

  /** Resolves when the call has ended, well or badly. */
  get ended(): Promise<void> {
    return this.#call.ended;
  }

  write(request: Request): void {
    this.#call.send(this.#method.request.encode(request), false);
  }

  cancel(): void {
    this.#call.cancel();
  }

  /** The messages that come. @throws {CallError} If the call ends badly. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Response, void, void> {
    for (;;) {
      const message = await this.#call.next();
      if (message === undefined) return;
      yield decode(this.#method, message);
    }
  }
}

function decode<Response extends object>(
  method: Pick<Method<object, Response>, "response">,
  message: Buffer,
): Response {
  try {
    return method.response.decode(message);
  } catch (cause) {
    throw new CallError(INTERNAL, `the answer can't be read: ${messageOf(cause)}`);
  }
}

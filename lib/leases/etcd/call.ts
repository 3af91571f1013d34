/**
 * One gRPC call over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md), from waiting for the connection to its status.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { messageOf } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import { CallError } from "./faults.ts";
import { frameOf, FrameReader } from "./frames.ts";
import type { CallLimits } from "./limits.ts";

/** gRPC's status codes that are given here. */
const CANCELLED = 1, UNKNOWN = 2, DEADLINE_EXCEEDED = 4, INTERNAL = 13, UNAVAILABLE = 14;

/** HTTP/2's REFUSED_STREAM and CANCEL (RFC 9113, section 7). */
const RST_REFUSED = 7, RST_CANCEL = 8;

/** gRPC's code for HTTP/2's error codes that have one of their own; others are INTERNAL. */
const OF_RST: Readonly<Record<number, number>> = { 8: CANCELLED, 11: 8, 12: 7 };

/** gRPC's code for HTTP's status where the answer has none (grpc/grpc, doc/http-grpc-status-mapping.md). */
const OF_HTTP: Readonly<Record<number, number>> = {
  ...{ 400: INTERNAL, 401: 16, 403: 7, 404: 12 },
  ...{ 429: UNAVAILABLE, 502: UNAVAILABLE, 503: UNAVAILABLE, 504: UNAVAILABLE },
};

/** For an HTTP error to end by itself, whose status may come after its bytes, in milliseconds. */
const ENDING_MS = 100;

const CANCELLED_HERE = new CallError(CANCELLED, "Cancelled on client");

/** The call wasn't begun: it may be made again, on another connection. */
export const REFUSED = new CallError(UNAVAILABLE, "the server refuses the call: it ends the connection");

/** A call. */
export class Call {
  /** Resolves when the call has begun. @throws {CallError} */
  readonly opened: Promise<ClientHttp2Stream>;
  readonly #connection: Connection;
  readonly #frames = new FrameReader();
  readonly #messages: Buffer[] = [];
  readonly #end = Promise.withResolvers<void>();
  readonly #cleanUp: (() => void)[] = [];
  #stream: ClientHttp2Stream | undefined;
  /** Resolves with the next message, or the end. */
  #news = Promise.withResolvers<void>();
  /** What the server says that the call ended with, or what ended it; code 0: well. */
  #status: CallError | undefined;
  /** What is wrong with what came. */
  #problem: CallError | undefined;
  #isOver = false;

  constructor(
    connection: Connection,
    headers: Record<string, string>,
    { connectMs, signal }: CallLimits,
    deadlineMs: number | undefined,
  ) {
    this.#connection = connection;
    connection.hold(this);
    this.#cleanUp.push(() => connection.release(this));
    if (!connection.isConfirmed) {
      this.#after(connectMs, () => {
        if (!connection.isConfirmed) {
          this.cancel(new CallError(UNAVAILABLE, `no connection within ${Math.round(connectMs)} ms`));
        }
      });
    }
    if (deadlineMs !== undefined) {
      this.#after(deadlineMs, () => this.cancel(new CallError(DEADLINE_EXCEEDED, "Deadline exceeded")));
    }
    const onAbort = () => this.cancel();
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#cleanUp.push(() => signal?.removeEventListener("abort", onAbort));
    this.opened = this.#open(headers);
    // Who waits sees the error; the call's status is the same.
    this.opened.catch((error) => this.cancel(error));
  }

  get ended(): Promise<void> {
    return this.#end.promise;
  }

  /** Sends a message when the call has begun; the last one if `isLast`. */
  send(message: Buffer, isLast: boolean): void {
    const framed = frameOf(message);
    this.opened.then((stream) => {
      if (this.#isOver || stream.destroyed) return;
      if (isLast) stream.end(framed);
      else stream.write(framed);
    }, () => {});
  }

  /** The next message; undefined when the call has ended well. @throws {CallError} */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#isOver) break;
      this.#stream?.resume();
      await this.#news.promise;
      this.#news = Promise.withResolvers();
    }
    const end = this.#status!.code === 0 ? this.#problem : this.#status;
    if (end) throw end;
    return undefined;
  }

  /** The message of an answer that has one. @throws {CallError} */
  async only(): Promise<Buffer> {
    const message = await this.next();
    // The status comes after it.
    await this.next();
    if (message === undefined) throw new CallError(INTERNAL, "the answer has no message");
    return message;
  }

  /** Ends the call, unless it has ended. */
  cancel(why: CallError = CANCELLED_HERE): void {
    if (this.#isOver) return;
    this.#settle(why);
    this.#stream?.close(RST_CANCEL);
  }

  async #open(headers: Record<string, string>): Promise<ClientHttp2Stream> {
    const session = await Promise.race([this.#connection.opened, this.ended]);
    if (!session) throw this.#status!;
    return this.#begin(session, headers);
  }

  #begin(session: ClientHttp2Session, headers: Record<string, string>): ClientHttp2Stream {
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(headers);
    } catch (error) {
      throw this.#connection.failure ?? new CallError(UNAVAILABLE, messageOf(error));
    }
    this.#stream = stream;
    const note = (headers: IncomingHttpHeaders) => this.#status ??= statusOf(headers);
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    stream.on("error", (error: Error) => this.#problem ??= new CallError(UNKNOWN, error.message));
    stream.on("end", () => {
      // Our side may be open still, as it is of a watch.
      stream.end();
      if (this.#status) this.#settle(this.#status);
    });
    stream.on("close", () => this.#settle(this.#lost(session, stream.rstCode)));
    return stream;
  }

  #take(chunk: Buffer): void {
    // What an HTTP error brings isn't in frames, and may come before its headers.
    if (this.#problem) return;
    try {
      this.#messages.push(...this.#frames.take(chunk));
    } catch (error) {
      const problem = this.#problem = error as CallError;
      this.#after(ENDING_MS, () => this.cancel(problem));
    }
    // One that nobody has read yet is enough: the sender waits.
    if (this.#messages.length > 0) this.#stream?.pause();
    this.#news.resolve();
  }

  /** Why the call has no status. */
  #lost(session: ClientHttp2Session, rstCode: number | undefined): CallError {
    const { failure } = this.#connection;
    if (failure) return failure;
    if (rstCode === RST_REFUSED) return REFUSED;
    if (session.destroyed || session.closed) return new CallError(UNAVAILABLE, "Connection dropped");
    if (rstCode) {
      return new CallError(OF_RST[rstCode] ?? INTERNAL, `the call was reset with HTTP/2 code ${rstCode}`);
    }
    return this.#problem ?? new CallError(UNKNOWN, "the call ended without a status");
  }

  #after(ms: number, then: () => void): void {
    const timer = setTimeout(then, ms);
    this.#cleanUp.push(() => clearTimeout(timer));
  }

  /** @param otherwise What the call ended with, if the server hasn't said it. */
  #settle(otherwise: CallError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#status ??= otherwise;
    for (const step of this.#cleanUp) step();
    this.#end.resolve();
    this.#news.resolve();
  }
}

/** What a response's headers or its trailers say of the call's end; undefined: nothing yet. */
function statusOf(headers: IncomingHttpHeaders): CallError | undefined {
  const status = headers["grpc-status"];
  if (status !== undefined) {
    return new CallError(Number(status), unescape(String(headers["grpc-message"] ?? "")));
  }
  const http = Number(headers[":status"] ?? 200);
  return http === 200
    ? undefined
    : new CallError(OF_HTTP[http] ?? UNKNOWN, `Received HTTP status code ${http}`);
}

/** gRPC's messages are percent-encoded. One that isn't is given as it is. */
function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

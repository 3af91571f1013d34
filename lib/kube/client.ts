/**
 * The API server as flanneld uses it: requests with an answer, and streams that last.
 *
 * @module
 */
import { createGunzip } from "node:zlib";
import type { Readable } from "node:stream";
import { deadline } from "../time/deadline.ts";
import { VERSION_TEXT } from "../version.ts";
import type { ApiAccess } from "./access.ts";
import { connect, type Connection, type HttpRequest, type HttpResponse } from "./connection.ts";
import { Lifeline } from "./lifeline.ts";

/** How long answers may take. */
export interface ApiLimits {
  /** A unary request, in milliseconds. */
  readonly requestMs: number;
  /**
   * The head of any answer, in milliseconds. A busy API server keeps a request waiting for 15 s at most (a quarter of its
   * request timeout). A proxy on the way answers pings by itself, whatever the server behind it does.
   */
  readonly headMs: number;
}

const LIMITS: ApiLimits = { requestMs: 15_000, headMs: 30_000 };

/** A server's Retry-After counts up to this, in milliseconds. */
const LONGEST_RETRY_AFTER_MS = 60_000;

/** Largest error body that is read, in bytes: Status objects are short. */
const MAX_STATUS_BYTES = 64 * 1024;

/** An answer of the API server that isn't a success (a metav1.Status). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /**
   * @param status HTTP's status, or the code of a Status in a watch.
   * @param reason The Status' reason, like `Expired`; empty where there is none.
   * @param retryAfterMs How long the server asks to be left alone, in milliseconds.
   */
  constructor(
    message: string,
    readonly status: number,
    readonly reason: string,
    readonly retryAfterMs = 0,
  ) {
    super(message);
  }
}

/** How long a server that refused asks to be left alone, in milliseconds: 0 where it doesn't (429, 503 and their kind). */
export function retryAfterOf(error: unknown): number {
  return error instanceof ApiError ? error.retryAfterMs : 0;
}

/** Whether the version that was asked for is no longer kept: list again. */
export function isGone(error: unknown): boolean {
  return error instanceof ApiError &&
    (error.status === 410 || error.reason === "Expired" || error.reason === "Gone");
}

/** A request, without what the client adds by itself. */
export interface ApiCall {
  readonly method: HttpRequest["method"];
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly accept?: string;
  /** How long the head of the answer may take, in milliseconds; default: {@link ApiLimits.headMs}. */
  readonly headMs?: number;
}

/** A connection, and what sees to it that it lives, where it has pings. */
interface Opened {
  readonly connection: Connection;
  readonly lifeline: Lifeline | undefined;
}

/** One client of one API server. Connects when it is first used, and again after a connection is lost. */
export class ApiClient {
  readonly #access: ApiAccess;
  readonly #limits: ApiLimits;
  #connection: Promise<Opened> | undefined;
  readonly #end = new AbortController();

  constructor(access: ApiAccess, limits = LIMITS) {
    this.#access = access;
    this.#limits = limits;
  }

  /** For logs: `https://192.0.2.10:6443`. */
  get description(): string {
    return this.#access.server.origin;
  }

  /**
   * A request whose answer is JSON.
   *
   * @throws {ApiError} For an answer that isn't a success. @throws {Error} If the server can't be reached.
   */
  async json(call: ApiCall, signal: AbortSignal): Promise<unknown> {
    const { requestMs } = this.#limits;
    using limit = deadline(signal, requestMs, this.#noAnswer(call, requestMs));
    return await this.stream(call, limit.signal, async (body) => JSON.parse(await readText(body)));
  }

  /**
   * A request whose answer is read by `read` as it comes.
   *
   * @param signal Ends it, also while the answer is read.
   * @throws {ApiError} For an answer that isn't a success. @throws {Error} If the server can't be reached, or stops
   * answering.
   */
  async stream<T>(call: ApiCall, signal: AbortSignal, read: (body: Readable) => Promise<T>): Promise<T> {
    let body: Readable | undefined;
    try {
      using answer = await this.#send(call, signal);
      const { status, headers } = answer;
      body = answer.body;
      const plain = headers["content-encoding"] === "gzip" ? body.pipe(gunzip(body)) : body;
      if (status < 200 || status > 299) throw await apiError(answer, plain, describe(call));
      return await read(plain);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      // What isn't read to its end would go on taking the connection's window.
      if (body && !body.readableEnded) body.destroy();
    }
  }

  /** Whether a connection that dies while nothing comes on it is noticed. @throws {Error} If the server can't be reached. */
  async hasPings(signal: AbortSignal): Promise<boolean> {
    return (await this.#open(signal)).connection.ping !== undefined;
  }

  /** Ends the connection: what is under way fails, and what comes connects anew. */
  dropConnection(reason: Error): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.then((opened) => opened.connection.close(reason), () => {});
  }

  [Symbol.dispose](): void {
    const reason = new Error("flanneld ends");
    this.#end.abort(reason);
    this.dropConnection(reason);
  }

  async #send(call: ApiCall, signal: AbortSignal): Promise<HttpResponse & Disposable> {
    const answer = await this.#sendOnce(call, signal, false);
    // A token that has expired, or was replaced, is read anew and tried once more.
    if (answer.status !== 401) return answer;
    using _refused = answer;
    answer.body.resume();
    return await this.#sendOnce(call, signal, true);
  }

  /** The connection is asked for signs of life until the answer is disposed of. */
  async #sendOnce(call: ApiCall, signal: AbortSignal, refused: boolean): Promise<HttpResponse & Disposable> {
    const { method, path, contentType, body, accept } = call;
    const authorization = await this.#access.authorization(refused);
    const { connection, lifeline } = await this.#open(signal);
    const headMs = Math.min(this.#limits.headMs, call.headMs ?? Infinity);
    using limit = deadline(signal, headMs, this.#noAnswer(call, headMs));
    const use = lifeline?.use();
    try {
      const answer = await connection.request({
        method,
        path: this.#access.server.pathname.replace(/\/+$/, "") + path,
        signal: limit.signal,
        headers: {
          "accept": accept ?? "application/json",
          "accept-encoding": "gzip",
          "user-agent": `flanneld/${VERSION_TEXT}`,
          ...(authorization === undefined ? {} : { authorization }),
          ...(contentType === undefined ? {} : { "content-type": contentType }),
        },
        ...(body === undefined ? {} : { body }),
      });
      return { ...answer, [Symbol.dispose]: () => use?.[Symbol.dispose]() };
    } catch (error) {
      use?.[Symbol.dispose]();
      // One that answers pings and no requests is of no use to the next request either.
      if (limit.signal.aborted && !signal.aborted) connection.close(limit.signal.reason as Error);
      throw error;
    }
  }

  /** The connection. Requests that come while it is made wait for the same one. */
  async #open(signal: AbortSignal): Promise<Opened> {
    for (;;) {
      const opening = this.#connection ??= this.#connect();
      const opened = await orAborted(opening, signal);
      if (!opened.connection.isClosed) return opened;
      if (this.#connection === opening) this.#connection = undefined;
    }
  }

  #connect(): Promise<Opened> {
    const opening = connect(this.#access, this.#end.signal).then(
      (connection) => {
        const { ping } = connection;
        return { connection, lifeline: ping && new Lifeline({ connection, ping, server: this.description }) };
      },
      (error) => {
        if (this.#connection === opening) this.#connection = undefined;
        throw new Error(`cannot connect to ${this.description}: ${(error as Error).message}`, {
          cause: error,
        });
      },
    );
    return opening;
  }

  #noAnswer(call: ApiCall, ms: number): string {
    return `${describe(call)}: no answer from ${this.description} in ${ms / 1000} s`;
  }
}

function describe({ method, path }: ApiCall): string {
  return `${method} ${path.split("?")[0]}`;
}

/** What a promise gives, unless the signal fires before. @throws The signal's reason. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  return await Promise.race([promise, aborted.promise]).finally(() =>
    signal.removeEventListener("abort", onAbort)
  );
}

/** A failure of the connection is one of what reads the plain bytes, too. */
function gunzip(source: Readable) {
  const plain = createGunzip();
  source.once("error", (error) => plain.destroy(error));
  return plain;
}

/** A whole body as text. */
async function readText(body: Readable, limit = Infinity): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.length > limit) break;
  }
  return text + decoder.decode();
}

async function apiError(
  { status, headers }: HttpResponse,
  body: Readable,
  call: string,
): Promise<ApiError> {
  const text = await readText(body, MAX_STATUS_BYTES);
  let message = text.trim().slice(0, 200), reason = "";
  try {
    const answer = JSON.parse(text) as { message?: string; reason?: string };
    message = answer.message ?? message;
    reason = answer.reason ?? "";
  } catch {
    // A proxy's answer isn't a Status: its text is all there is.
  }
  return new ApiError(
    `${call}: ${status} ${message}`.trim(),
    status,
    reason,
    retryAfterMs(headers["retry-after"]),
  );
}

/** The header Retry-After in seconds, the API server's form, as milliseconds. */
function retryAfterMs(header: string | undefined): number {
  return /^\d{1,6}$/.test(header ?? "") ? Math.min(Number(header) * 1000, LONGEST_RETRY_AFTER_MS) : 0;
}

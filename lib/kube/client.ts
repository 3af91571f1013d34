/**
 * The API server as flanneld uses it: requests with an answer, and streams that last.
 *
 * @module
 */
import { createGunzip } from "node:zlib";
import type { Readable } from "node:stream";
import { VERSION_TEXT } from "../version.ts";
import type { ApiAccess } from "./access.ts";
import { connect, type Connection, type HttpRequest, type HttpResponse } from "./connection.ts";

/** How often a connection with something under way is asked whether it lives, and how long it may take to answer. */
const PING_MS = 3_000;
const PONG_MS = 4_000;

/** How long a unary request may take, in milliseconds. */
const REQUEST_MS = 15_000;

/** Largest error body that is read, in bytes: Status objects are short. */
const MAX_STATUS_BYTES = 64 * 1024;

/** An answer of the API server that isn't a success (a metav1.Status). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /**
   * @param status HTTP's status, or the code of a Status in a watch.
   * @param reason The Status' reason, like `Expired`; empty where there is none.
   */
  constructor(message: string, readonly status: number, readonly reason: string) {
    super(message);
  }
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
}

/** One client of one API server. Connects when it is first used, and again after a connection is lost. */
export class ApiClient {
  readonly #access: ApiAccess;
  #connection: Promise<Connection> | undefined;
  #underWay = 0;
  #pinging = false;
  readonly #end = new AbortController();

  constructor(access: ApiAccess) {
    this.#access = access;
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
    const limit = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]);
    return await this.stream(call, limit, async (body) => JSON.parse(await readText(body)));
  }

  /**
   * A request whose answer is read by `read` as it comes.
   *
   * @param signal Ends it, also while the answer is read.
   * @throws {ApiError} For an answer that isn't a success. @throws {Error} If the server can't be reached, or stops
   * answering.
   */
  async stream<T>(call: ApiCall, signal: AbortSignal, read: (body: Readable) => Promise<T>): Promise<T> {
    this.#underWay++;
    let body: Readable | undefined;
    try {
      this.#keepPinging();
      const answer = await this.#send(call, signal);
      const { status, headers } = answer;
      body = answer.body;
      const plain = headers["content-encoding"] === "gzip" ? body.pipe(gunzip(body)) : body;
      if (status < 200 || status > 299) throw await apiError(status, plain, this.#describe(call));
      return await read(plain);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.#underWay--;
      // What isn't read to its end would go on taking the connection's window.
      if (body && !body.readableEnded) body.destroy();
    }
  }

  /** Ends the connection: what is under way fails, and what comes connects anew. */
  dropConnection(reason: Error): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.then((open) => open.close(reason), () => {});
  }

  [Symbol.dispose](): void {
    const reason = new Error("flanneld ends");
    this.#end.abort(reason);
    this.dropConnection(reason);
  }

  async #send(call: ApiCall, signal: AbortSignal): Promise<HttpResponse> {
    const answer = await this.#sendOnce(call, signal, false);
    // A token that has expired, or was replaced, is read anew and tried once more.
    if (answer.status !== 401) return answer;
    answer.body.resume();
    return await this.#sendOnce(call, signal, true);
  }

  async #sendOnce(call: ApiCall, signal: AbortSignal, refused: boolean): Promise<HttpResponse> {
    const { method, path, contentType, body, accept } = call;
    const authorization = await this.#access.authorization(refused);
    const connection = await this.#open(signal);
    return await connection.request({
      method,
      path: this.#access.server.pathname.replace(/\/+$/, "") + path,
      signal,
      headers: {
        "accept": accept ?? "application/json",
        "accept-encoding": "gzip",
        "user-agent": `flanneld/${VERSION_TEXT}`,
        ...(authorization === undefined ? {} : { authorization }),
        ...(contentType === undefined ? {} : { "content-type": contentType }),
      },
      ...(body === undefined ? {} : { body }),
    });
  }

  /** The connection. Requests that come while it is made wait for the same one: one that isn't kept gets no pings. */
  async #open(signal: AbortSignal): Promise<Connection> {
    for (;;) {
      const opening = this.#connection ??= this.#connect();
      const open = await orAborted(opening, signal);
      if (!open.isClosed) return open;
      if (this.#connection === opening) this.#connection = undefined;
    }
  }

  #connect(): Promise<Connection> {
    const opening = connect(this.#access, this.#end.signal).catch((error) => {
      if (this.#connection === opening) this.#connection = undefined;
      throw new Error(`cannot connect to ${this.description}: ${(error as Error).message}`, { cause: error });
    });
    return opening;
  }

  /** Asks the connection for a sign of life while something is under way; one that gives none is closed. */
  #keepPinging(): void {
    if (this.#pinging) return;
    this.#pinging = true;
    void this.#pingUntilIdle().finally(() => this.#pinging = false);
  }

  async #pingUntilIdle(): Promise<void> {
    while (this.#underWay > 0 && !this.#end.signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, PING_MS));
      const connection = await this.#connection?.catch(() => undefined);
      if (!connection || connection.isClosed || this.#underWay === 0) continue;
      if (await answers(connection)) continue;
      connection.close(new Error(`${this.description} gave no answer for ${PONG_MS / 1000} s`));
      this.#connection = undefined;
    }
  }

  #describe({ method, path }: ApiCall): string {
    return `${method} ${path.split("?")[0]}`;
  }
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

async function answers(connection: Connection): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), PONG_MS);
  connection.ping().then(() => resolve(true), () => resolve(false));
  return await promise.finally(() => clearTimeout(timer));
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

async function apiError(status: number, body: Readable, call: string): Promise<ApiError> {
  const text = await readText(body, MAX_STATUS_BYTES);
  let message = text.trim().slice(0, 200), reason = "";
  try {
    const answer = JSON.parse(text) as { message?: string; reason?: string };
    message = answer.message ?? message;
    reason = answer.reason ?? "";
  } catch {
    // A proxy's answer isn't a Status: its text is all there is.
  }
  return new ApiError(`${call}: ${status} ${message}`.trim(), status, reason);
}

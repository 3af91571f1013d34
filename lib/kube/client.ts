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
  #closed = false;

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
   * @throws {ApiError} For an answer that is no success. @throws {Error} If the server can't be reached.
   */
  async json(call: ApiCall, signal: AbortSignal): Promise<unknown> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]);
    return await this.stream(call, limit, async (body) => JSON.parse(await readText(body)));
  }

  /**
   * A request whose answer is read by `read` as it comes.
   *
   * @param signal Ends it, also while the answer is read.
   * @throws {ApiError} For an answer that is no success. @throws {Error} If the server can't be reached, or stops
   * answering.
   */
  async stream<T>(call: ApiCall, signal: AbortSignal, read: (body: Readable) => Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      this.#keepPinging();
      const { status, headers, body } = await this.#send(call, signal);
      const plain = headers["content-encoding"] === "gzip" ? body.pipe(gunzip(body)) : body;
      if (status < 200 || status > 299) throw await apiError(status, plain, this.#describe(call));
      return await read(plain);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      this.#underWay--;
    }
  }

  /** Ends the connection: what is under way fails, and what comes connects anew. */
  dropConnection(reason: Error): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.then((open) => open.close(reason), () => {});
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.dropConnection(new Error("flanneld ends"));
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
      path,
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

  async #open(signal: AbortSignal): Promise<Connection> {
    const known = await this.#connection?.catch(() => undefined);
    if (known && !known.isClosed) return known;
    const opening = this.#connection = connect(this.#access, signal);
    try {
      return await opening;
    } catch (error) {
      if (this.#connection === opening) this.#connection = undefined;
      throw new Error(`cannot connect to ${this.description}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Asks the connection for a sign of life while something is under way; one that gives none is closed. */
  #keepPinging(): void {
    if (this.#pinging) return;
    this.#pinging = true;
    void this.#pingUntilIdle().finally(() => this.#pinging = false);
  }

  async #pingUntilIdle(): Promise<void> {
    while (this.#underWay > 0 && !this.#closed) {
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
export async function readText(body: Readable, limit = Infinity): Promise<string> {
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
    // A proxy's answer is no Status: its text is all there is.
  }
  return new ApiError(`${call}: ${status} ${message}`.trim(), status, reason);
}

/**
 * A small HTTP/1 server for probes: it answers one GET or HEAD a connection, within limits that hold.
 *
 * Deno.serve waits without limit for a request that never comes, and ends when the process has no file descriptor left
 * (EMFILE); Deno's node:http never accepts again after that. Both cost more memory (docs/adr/0008).
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { pause } from "../time/pause.ts";
import { BadRequestError, headLength, type HttpRequest, parseRequest } from "./http_request.ts";

/** What one client, or many, may take. */
export interface HttpLimits {
  /** Connections at a time. When there are more, those that have waited longest for their request go. */
  readonly connections: number;
  /** A request's head, in bytes. */
  readonly headBytes: number;
  /** Time from the connection to the end of the request's head, in milliseconds. */
  readonly requestMs: number;
  /** Time for the answer to be made and taken, in milliseconds. */
  readonly answerMs: number;
}

/** Far above what probes and a scraper need, far below what a process may have (1024 file descriptors). */
const LIMITS: HttpLimits = { connections: 32, headBytes: 8 * 1024, requestMs: 5_000, answerMs: 10_000 };

/** How long and how much is read after the answer, so that closing doesn't reset what the client has yet to read. */
const LINGER_MS = 500, LINGER_BYTES = 64 * 1024;

/** Waits after an accept that failed: so that what is there is read, and where no accept worked since, in milliseconds. */
const READ_MS = 5, ACCEPT_RETRY_MS = 200;

/** Accepting that hasn't failed again for this long works, in milliseconds. */
const ACCEPT_WORKS_MS = 1_000;

/** How long answers under way may take when the server ends, and what replaces them after that, in milliseconds. */
const GRACE_MS = 200, LAST_WORDS_MS = 50;

/** What is sent back. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** @default text/plain */
  readonly contentType?: string;
  /** Value of the Allow field. */
  readonly allow?: string;
}

/** What the server does. */
export interface HttpServerOptions {
  /** Answers a request of any method. */
  answer(request: HttpRequest): HttpAnswer | Promise<HttpAnswer>;
  /** An answer failed: the client gets a 500. */
  onError(error: unknown): void;
  /** Accepting failed and is tried again, or (undefined) works again. */
  onAcceptError(message: string | undefined): void;
  /** @default {@link LIMITS} */
  readonly limits?: HttpLimits;
}

/** Anything that gives connections, like `Deno.listen`. */
export interface ConnectionSource {
  accept(): Promise<Deno.Conn>;
  close(): void;
}

/** Serves until it is disposed. */
export class HttpServer implements AsyncDisposable {
  readonly #source: ConnectionSource;
  readonly #options: HttpServerOptions;
  readonly #limits: HttpLimits;
  readonly #end = new AbortController();
  /** Oldest first. */
  readonly #connections = new Set<Connection>();
  readonly #accepting: Promise<void>;

  /** Takes the source over: it is closed in the end. */
  constructor(source: ConnectionSource, options: HttpServerOptions) {
    this.#source = source;
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#accepting = this.#accept();
  }

  /** Accepts nothing more; answers under way get {@link GRACE_MS}. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    this.#source.close();
    await this.#accepting;
    this.#closeWaiting();
    await this.#finished(GRACE_MS);
    for (const connection of this.#connections) connection.cut();
    await this.#finished(LAST_WORDS_MS);
    for (const connection of this.#connections) connection.close();
    await this.#finished(Infinity);
  }

  /** Waits for the connections to end, at most `ms`. */
  async #finished(ms: number): Promise<void> {
    const all = Promise.all([...this.#connections].map(({ done }) => done));
    if (ms === Infinity) return void await all;
    const enough = new AbortController();
    await Promise.race([all, pause(ms, enough.signal)]);
    enough.abort();
  }

  async #accept(): Promise<void> {
    const { signal } = this.#end;
    let works: ReturnType<typeof setTimeout> | undefined;
    /** Since the last failure. */
    let accepted = 0;
    while (!signal.aborted) {
      try {
        this.#serve(await this.#source.accept());
        accepted++;
      } catch (error) {
        if (signal.aborted) break;
        this.#options.onAcceptError(messageOf(error));
        clearTimeout(works);
        works = setTimeout(() => this.#options.onAcceptError(undefined), ACCEPT_WORKS_MS);
        // What clients hold without using it may be just what is missing (EMFILE). Requests that are there already are
        // read first.
        await pause(READ_MS, signal);
        this.#closeWaiting();
        // They are free a moment later.
        await pause(accepted > 0 ? READ_MS : ACCEPT_RETRY_MS, signal);
        accepted = 0;
      }
    }
    clearTimeout(works);
  }

  #closeWaiting(): void {
    for (const connection of this.#connections) if (connection.isWaiting) connection.close();
  }

  #serve(socket: Deno.Conn): void {
    const connection = new Connection(socket, this.#options, this.#limits);
    this.#connections.add(connection);
    void connection.done.then(() => this.#connections.delete(connection));
    if (this.#connections.size <= this.#limits.connections) return;
    for (const oldest of this.#connections) {
      if (!oldest.isWaiting) continue;
      this.#connections.delete(oldest);
      oldest.close();
      return;
    }
    this.#connections.delete(connection);
    connection.close();
  }
}

/** One connection: reads a request, answers it, closes. Nothing of it rejects. */
class Connection {
  /** Whether the request is not complete yet. */
  isWaiting = true;
  /** Resolves when it is closed. */
  readonly done: Promise<void>;
  readonly #socket: Deno.Conn;
  readonly #options: HttpServerOptions;
  readonly #limits: HttpLimits;
  readonly #cut = Promise.withResolvers<HttpAnswer>();
  #isOpen = true;

  constructor(socket: Deno.Conn, options: HttpServerOptions, limits: HttpLimits) {
    this.#socket = socket;
    this.#options = options;
    this.#limits = limits;
    this.done = this.#run();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      this.#socket.close();
    } catch {
      // The system closed it already.
    }
  }

  /** The server ends: what can't be answered by now gets a 503. */
  cut(): void {
    this.#cut.resolve({ status: 503, body: "flanneld ends\n" });
  }

  async #run(): Promise<void> {
    try {
      const request = await this.#within(this.#limits.requestMs, () => this.#read());
      this.isWaiting = false;
      if (!request) return;
      await this.#within(
        this.#limits.answerMs,
        async () => this.#write(await this.#answer(request), request),
      );
      await this.#within(LINGER_MS, () => this.#linger());
    } catch {
      // The client went away, or its time was up.
    } finally {
      this.close();
    }
  }

  /** Does a step; when its time is up the connection is closed, which ends every step. */
  async #within<T>(ms: number, step: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.close(), ms);
    try {
      return await step();
    } finally {
      clearTimeout(timer);
    }
  }

  /** The request, what is wrong with it, or undefined for a client that leaves without one. */
  async #read(): Promise<HttpRequest | HttpAnswer | undefined> {
    const buffer = new Uint8Array(this.#limits.headBytes);
    for (let length = 0; length < buffer.length;) {
      const count = await this.#socket.read(buffer.subarray(length));
      if (count === null) return undefined;
      length += count;
      const end = headLength(buffer.subarray(0, length));
      if (end >= 0) return parse(buffer.subarray(0, end));
    }
    return { status: 431, body: `the request's head is longer than ${buffer.length} bytes\n` };
  }

  async #answer(request: HttpRequest | HttpAnswer): Promise<HttpAnswer> {
    if ("status" in request) return request;
    try {
      return await Promise.race([this.#options.answer(request), this.#cut.promise]);
    } catch (error) {
      this.#options.onError(error);
      return { status: 500, body: "internal error\n" };
    }
  }

  async #write(answer: HttpAnswer, request: HttpRequest | HttpAnswer): Promise<void> {
    const isHead = "method" in request && request.method === "HEAD";
    const bytes = encodeAnswer(answer, isHead);
    for (let sent = 0; sent < bytes.length;) sent += await this.#socket.write(bytes.subarray(sent));
    await this.#socket.closeWrite();
  }

  /** Closing with unread bytes would reset the connection and take the answer from the client. */
  async #linger(): Promise<void> {
    const buffer = new Uint8Array(4096);
    for (let length = 0; length < LINGER_BYTES;) {
      const count = await this.#socket.read(buffer);
      if (count === null) return;
      length += count;
    }
  }
}

function parse(head: Uint8Array): HttpRequest | HttpAnswer {
  try {
    return parseRequest(head);
  } catch (error) {
    if (!(error instanceof BadRequestError)) throw error;
    return { status: error.status, body: `${error.message}\n` };
  }
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

function encodeAnswer({ status, body, contentType, allow }: HttpAnswer, isHead: boolean): Uint8Array {
  const encoder = new TextEncoder();
  const content = encoder.encode(body);
  const head = encoder.encode([
    `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
    `content-type: ${contentType ?? "text/plain; charset=utf-8"}`,
    `content-length: ${content.length}`,
    "cache-control: no-store",
    ...allow === undefined ? [] : [`allow: ${allow}`],
    "connection: close",
    "\r\n",
  ].join("\r\n"));
  if (isHead) return head;
  const bytes = new Uint8Array(head.length + content.length);
  bytes.set(head);
  bytes.set(content, head.length);
  return bytes;
}

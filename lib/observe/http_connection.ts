/**
 * One connection of the HTTP server: a request, its answer, the end.
 *
 * @module
 */
import { BadRequestError, headLength, type HttpRequest, parseRequest } from "./http_request.ts";

/** What one client, or many, may take. */
export interface HttpLimits {
  /** Connections at a time. When there are more, the oldest go that have their answer, then those without a request. */
  readonly connections: number;
  /** Streams among them: one more gets a 503. */
  readonly streams: number;
  /** A request's head, in bytes. */
  readonly headBytes: number;
  /** Time from the connection to the end of the request's head, in milliseconds. */
  readonly requestMs: number;
  /** Time for the answer to be made and taken, in milliseconds; of a stream, for each piece to be taken. */
  readonly answerMs: number;
}

/** How long and how much is read after the answer, so that closing doesn't reset what the client has yet to read. */
const LINGER_MS = 500, LINGER_BYTES = 64 * 1024;

/** What is sent back. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string | Uint8Array | HttpStream;
  /** @default text/plain */
  readonly contentType?: string;
  /** Other header fields, like `allow`; names in small letters. */
  readonly fields?: Readonly<Record<string, string>>;
}

/**
 * A body that has no end of its own.
 *
 * @param send Passes a piece on; resolves when the client's connection has taken it, rejects when it has not within
 * {@link HttpLimits.answerMs}. Who waits for it before making the next piece needs no memory for slow readers.
 * @param signal Fires when the client has gone away, was too slow, or the server ends.
 */
export type HttpStream = (send: (text: string) => Promise<void>, signal: AbortSignal) => Promise<void>;

/** Who asks. */
export interface HttpClient {
  /** Its address, and the one of this host that it asks; undefined on a Unix socket. */
  readonly remote: string | undefined;
  readonly local: string | undefined;
}

/** What the server does. */
export interface HttpServerOptions {
  /** Answers a request of any method. */
  answer(request: HttpRequest, client: HttpClient): HttpAnswer | Promise<HttpAnswer>;
  /** An answer failed: the client gets a 500. */
  onError(error: unknown): void;
  /** Accepting failed and is tried again, or (undefined) works again. */
  onAcceptError(message: string | undefined): void;
  /** @default those of http_server.ts */
  readonly limits?: HttpLimits;
}

/** One connection: reads a request, answers it, closes. Nothing of it rejects. */
export class Connection {
  /** Whether the request is not complete yet. */
  isWaiting = true;
  /** Whether the answer is sent: only the client's end of the connection is missing. */
  isAnswered = false;
  /** Resolves when it is closed. */
  readonly done: Promise<void>;
  readonly #socket: Deno.Conn;
  readonly #options: HttpServerOptions;
  readonly #limits: HttpLimits;
  readonly #cut = Promise.withResolvers<HttpAnswer>();
  readonly #streams: Set<Connection>;
  readonly #closed = new AbortController();

  /** @param streams All connections of the server that carry a stream. */
  constructor(
    socket: Deno.Conn,
    options: HttpServerOptions,
    limits: HttpLimits,
    streams: Set<Connection>,
  ) {
    this.#streams = streams;
    this.#socket = socket;
    this.#options = options;
    this.#limits = limits;
    this.done = this.#run();
  }

  close(): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
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
      const { answerMs } = this.#limits;
      const answer = await this.#within(answerMs, () => this.#answer(request));
      await this.#within(answerMs, () => this.#write(encodeAnswer(answer, isHead(request))));
      if (typeof answer.body === "function" && !isHead(request)) await this.#stream(answer.body);
      else {
        await this.#socket.closeWrite();
        this.isAnswered = true;
        await this.#within(LINGER_MS, () => this.#linger());
      }
    } catch {
      // The client went away, or its time was up.
    } finally {
      this.#streams.delete(this);
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
      const answer = await Promise.race([this.#options.answer(request, this.#client()), this.#cut.promise]);
      if (typeof answer.body !== "function") return answer;
      if (this.#streams.size >= this.#limits.streams) {
        return { status: 503, body: `there are ${this.#streams.size} streams already\n` };
      }
      this.#streams.add(this);
      return answer;
    } catch (error) {
      this.#options.onError(error);
      return { status: 500, body: "internal error\n" };
    }
  }

  #client(): HttpClient {
    return { remote: hostnameOf(this.#socket.remoteAddr), local: hostnameOf(this.#socket.localAddr) };
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await this.#socket.write(bytes.subarray(sent));
  }

  /** Until the stream ends by itself, the client goes away or takes too long, or the server ends. */
  async #stream(stream: HttpStream): Promise<void> {
    try {
      void this.#awaitLeaving();
      const encoder = new TextEncoder();
      const send = async (text: string) => {
        this.#closed.signal.throwIfAborted();
        await this.#within(this.#limits.answerMs, () => this.#write(encoder.encode(text)));
      };
      await stream(send, this.#closed.signal);
    } catch (error) {
      // What ends because the connection did is no failure.
      if (!this.#closed.signal.aborted) this.#options.onError(error);
    }
  }

  /** A client that goes away, or that sends more than it has to say, has no use for the stream. */
  async #awaitLeaving(): Promise<void> {
    try {
      await this.#linger();
    } catch {
      // The connection is closed: just that was waited for.
    }
    this.close();
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

function isHead(request: HttpRequest | HttpAnswer): boolean {
  return "method" in request && request.method === "HEAD";
}

function hostnameOf(address: Deno.Addr): string | undefined {
  return "hostname" in address ? address.hostname : undefined;
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

/** Head and body; of a stream only the head, and then the body ends with the connection. */
function encodeAnswer({ status, body, contentType, fields = {} }: HttpAnswer, headOnly: boolean): Uint8Array {
  const encoder = new TextEncoder();
  const content = typeof body === "string"
    ? encoder.encode(body)
    : typeof body === "function"
    ? undefined
    : body;
  const head = encoder.encode([
    `HTTP/1.1 ${status} ${REASONS[status] ?? ""}`,
    `content-type: ${contentType ?? "text/plain; charset=utf-8"}`,
    ...content === undefined ? [] : [`content-length: ${content.length}`],
    "cache-control: no-store",
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    "connection: close",
    "\r\n",
  ].join("\r\n"));
  if (headOnly || content === undefined) return head;
  const bytes = new Uint8Array(head.length + content.length);
  bytes.set(head);
  bytes.set(content, head.length);
  return bytes;
}

/**
 * A small HTTP/1 server for probes and the page: it answers one GET or HEAD a connection, within limits that hold.
 *
 * Deno.serve waits without limit for a request that never comes, and ends when the process has no file descriptor left
 * (EMFILE); Deno's node:http never accepts again after that. Both cost more memory (docs/adr/0008).
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { pause } from "../time/pause.ts";
import { Connection, type HttpLimits, type HttpServerOptions } from "./http_connection.ts";

/** Far above what probes and a scraper need, far below what a process may have (1024 file descriptors). */
const LIMITS: HttpLimits = {
  connections: 32,
  streams: 8,
  headBytes: 8 * 1024,
  requestMs: 5_000,
  answerMs: 10_000,
};

/** Waits after an accept that failed: so that what is there is read, and where no accept worked since, in milliseconds. */
const READ_MS = 5, ACCEPT_RETRY_MS = 200;

/** Accepting that hasn't failed again for this long works, in milliseconds. */
const ACCEPT_WORKS_MS = 1_000;

/** How long answers under way may take when the server ends, and what replaces them after that, in milliseconds. */
const GRACE_MS = 200, LAST_WORDS_MS = 50;

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
  readonly #streams = new Set<Connection>();
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
    for (const stream of this.#streams) stream.close();
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
        for (const connection of this.#connections) if (connection.isAnswered) connection.close();
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
    const connection = new Connection(socket, this.#options, this.#limits, this.#streams);
    this.#connections.add(connection);
    void connection.done.then(() => this.#connections.delete(connection));
    if (this.#connections.size <= this.#limits.connections) return;
    const all = [...this.#connections];
    const spare = all.find(({ isAnswered }) => isAnswered) ?? all.find(({ isWaiting }) => isWaiting) ??
      connection;
    this.#connections.delete(spare);
    spare.close();
  }
}

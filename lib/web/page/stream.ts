/**
 * The connection to the daemon: server-sent events, and a new connection when they stop.
 *
 * @module
 */
/// <reference lib="dom" />
import type { PageEvents } from "../events.ts";

/** The daemon sends a sample every 5 s: silence of this length is a connection that is dead, in milliseconds. */
const SILENCE_MS = 16_000;

/** Waits before a new connection, in milliseconds: doubled each time. */
const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 5_000;

/** Who gets what comes. */
export interface StreamSink {
  /** A connection stands: everything comes again. */
  opened(): void;
  take<Name extends keyof PageEvents>(name: Name, data: PageEvents[Name]): void;
  /** The connection is lost; another one follows. */
  lost(): void;
}

const EVENTS = [
  "state",
  "peers",
  "complete",
  "log",
  "samples",
] as const satisfies readonly (keyof PageEvents)[];

/** Follows the daemon for as long as the page is open. */
export class Stream {
  readonly #sink: StreamSink;
  #source: EventSource | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #wait = FIRST_WAIT_MS;

  constructor(sink: StreamSink) {
    this.#sink = sink;
    this.#open();
  }

  #open(): void {
    const source = this.#source = new EventSource("events");
    this.#listen();
    source.addEventListener("open", () => {
      this.#wait = FIRST_WAIT_MS;
      this.#sink.opened();
      this.#listen();
    });
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        this.#listen();
        this.#sink.take(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => this.#again());
  }

  /** Something came: the connection is alive. */
  #listen(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#again(), SILENCE_MS);
  }

  /** Its own reconnects end for good with an answer that isn't 200, as a daemon that starts gives: made here instead. */
  #again(): void {
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#sink.lost();
    setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
  }
}

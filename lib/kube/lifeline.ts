/**
 * Whether connections live: a watch is silent for minutes where nothing changes.
 *
 * @module
 */
import { pause } from "../time/pause.ts";
import type { Connection } from "./connection.ts";

/** How often a connection with something under way is asked for a sign of life, and how long it may take to answer. */
const PING_MS = 3_000;
const PONG_MS = 4_000;

/**
 * How long what is under way may go on after the server's goodbye (GOAWAY), in milliseconds. A watch would stay for
 * minutes, and node:http2 sends no pings any more by which its end could be noticed.
 */
const FAREWELL_MS = 5_000;

/**
 * Asks one connection for signs of life for as long as something is under way on it, and closes one that gives none.
 */
export class Lifeline {
  readonly #connection: Connection;
  readonly #ping: () => Promise<void>;
  readonly #server: string;
  #users = 0;
  #isAsking = false;

  /** @param server For messages: `https://192.0.2.10:6443`. */
  constructor({ connection, ping, server }: {
    readonly connection: Connection;
    readonly ping: () => Promise<void>;
    readonly server: string;
  }) {
    this.#connection = connection;
    this.#ping = ping;
    this.#server = server;
  }

  /** Something is under way until what this gives is disposed of. */
  use(): Disposable {
    this.#users++;
    if (!this.#isAsking) void this.#askUntilIdle();
    return { [Symbol.dispose]: () => void this.#users-- };
  }

  async #askUntilIdle(): Promise<void> {
    this.#isAsking = true;
    do {
      await pause(PING_MS);
      if (this.#users === 0) break;
    } while (this.#connection.isClosed ? await this.#sayFarewell() : await this.#answers());
    this.#isAsking = false;
  }

  async #sayFarewell(): Promise<false> {
    await pause(FAREWELL_MS);
    this.#connection.close(new Error(`${this.#server} takes no more requests on this connection`));
    return false;
  }

  async #answers(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), PONG_MS);
    this.#ping().then(() => resolve(true), () => resolve(false));
    const isAlive = await promise.finally(() => clearTimeout(timer));
    if (!isAlive && !this.#connection.isClosed) {
      this.#connection.close(new Error(`${this.#server} gave no answer for ${PONG_MS / 1000} s`));
    }
    return isAlive || this.#connection.isClosed;
  }
}

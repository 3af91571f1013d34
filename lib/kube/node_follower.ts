/**
 * All Nodes and every change of them, for as long as the daemon runs.
 *
 * One list, then watches that go on from where the last one ended. It lists again only where the server no longer
 * knows what happened meanwhile, or where that is in doubt.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Log } from "../observe/types.ts";
import { backoffMs, STORE_BACKOFF } from "../time/backoff.ts";
import { pause } from "../time/pause.ts";
import { ApiError, isGone, retryAfterOf } from "./client.ts";
import {
  currentVersion,
  listNodes,
  type NodeEvent,
  type NodeRecord,
  type NodeSource,
  watchNodes,
} from "./nodes.ts";
import { WatchPace } from "./watch_pace.ts";

/** A watch that the server ended sooner than this is a failure: asking again at once would never stop. */
const SHORTEST_WATCH_MS = 1_000;

/** After an outage of this length it is asked whether the server still is one of the same cluster. */
const DOUBT_MS = 10_000;

/** Who gets the Nodes. */
export interface NodeSink {
  /** All Nodes: what isn't among them is gone. */
  list(nodes: readonly NodeRecord[]): void;
  /** Changes, in their order. */
  events(events: readonly NodeEvent[]): void;
}

/** How following goes. */
export interface FollowerHealth {
  /** Whether a watch is established. */
  readonly connected: boolean;
  /** How long it has been so, in milliseconds. */
  readonly sinceMs: number;
  /** The version up to which all is known; empty before the first list. */
  readonly version: string;
  /** How often everything was listed. */
  readonly lists: number;
  readonly lastError?: string;
}

/** Where a follower begins. */
export interface FollowerStart {
  /** Of a list that was read before; absent: it begins with a list. */
  readonly version?: string;
  /** Whether the server holds the cluster that was listed, and not another one in its place. */
  readonly isSameCluster?: (signal: AbortSignal) => Promise<boolean>;
  /** Called with each error that ends a list or a watch. */
  readonly onError?: (error: unknown) => void;
}

/** See the module's text. */
export class NodeFollower {
  readonly #source: NodeSource;
  readonly #sink: NodeSink;
  readonly #log: Log;
  readonly #pace = new WatchPace();
  #version: string | undefined;
  #connected = false;
  #since = performance.now();
  #lists = 0;
  #lastError: string | undefined;
  #tries = 0;
  readonly #isSameCluster: FollowerStart["isSameCluster"];
  readonly #onError: FollowerStart["onError"];

  constructor(source: NodeSource, sink: NodeSink, log: Log, start: FollowerStart = {}) {
    this.#version = start.version;
    this.#isSameCluster = start.isSameCluster;
    this.#onError = start.onError;
    this.#source = source;
    this.#sink = sink;
    this.#log = log;
  }

  health(): FollowerHealth {
    return {
      connected: this.#connected,
      sinceMs: performance.now() - this.#since,
      version: this.#version ?? "",
      lists: this.#lists,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  /** Lists, then follows, until the signal fires. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version !== undefined && this.#tries > 0) await this.#checkVersion(this.#version, signal);
        this.#version ??= await this.#list(signal);
        await this.#watch(this.#version, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        this.#onError?.(error);
        const wait = backoffMs(++this.#tries, STORE_BACKOFF, Math.random);
        await pause(Math.max(wait, retryAfterOf(error)), signal);
      }
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const nodes: NodeRecord[] = [];
    const version = await listNodes(this.#source, (node) => nodes.push(node), signal);
    this.#lists++;
    this.#sink.list(nodes);
    return version;
  }

  /**
   * Whether a watch may go on from where the last one ended. A server whose version lies before ours was restored from
   * a backup: it would stay silent until it is past ours. One of another cluster in the place of ours knows our version
   * with another meaning. To list in any case would be no way out: after an outage all hosts would do it at once.
   */
  async #checkVersion(known: string, signal: AbortSignal): Promise<void> {
    if (isBefore(await currentVersion(this.#source, signal), known)) {
      this.#log.warn("The API server has gone back in time, as after a restore: listing all Nodes again");
      this.#version = undefined;
    } else if (!this.#connected && performance.now() - this.#since > DOUBT_MS) {
      if (await this.#isSameCluster?.(signal) ?? true) return;
      this.#log.warn("The own Node was replaced during the outage: listing all Nodes again");
      this.#version = undefined;
    }
  }

  async #watch(from: string, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    const lasted = () => performance.now() - began >= SHORTEST_WATCH_MS;
    try {
      await watchNodes(
        this.#source,
        from,
        (events, version) => {
          this.#answered();
          // A server that takes watches and ends them at once is as good as none: waits grow all the same.
          if (events.length > 0 || lasted()) this.#tries = 0;
          this.#version = version;
          if (events.length > 0) this.#sink.events(events);
        },
        signal,
        this.#pace,
      );
    } finally {
      if (lasted()) this.#tries = 0;
    }
    if (!lasted()) throw new Error("the server ended the watch at once");
  }

  #answered(): void {
    if (this.#connected) return;
    if (this.#lastError !== undefined) this.#log.info("The API server answers again");
    this.#connected = true;
    this.#since = performance.now();
    this.#lastError = undefined;
  }

  #failed(error: unknown): void {
    const now = performance.now();
    if (this.#connected) {
      this.#connected = false;
      this.#since = now;
    }
    // What is gone, or lies in the server's future, can't be watched from; the list says what is now.
    if (isGone(error) || isInTheFuture(error)) this.#version = undefined;
    const message = messageOf(error);
    if (message !== this.#lastError) this.#log.warn(`Cannot follow the Nodes, retrying: ${message}`);
    this.#lastError = message;
  }
}

/** Whether one version comes before another; they are numbers, whatever the API calls them (KEP-5504). */
function isBefore(version: string, other: string): boolean {
  const isNumber = (text: string) => /^\d{1,20}$/.test(text);
  return isNumber(version) && isNumber(other) && BigInt(version) < BigInt(other);
}

/** The server is older than what we know: it was restored from a backup, or is one of several that lags behind. */
function isInTheFuture(error: unknown): boolean {
  return error instanceof ApiError && /too large resource version/i.test(error.message);
}

/**
 * A watch with no gap: which revision everything is known up to, by what etcd's responses really promise.
 *
 * - A response with events: up to the last event's revision. Its header may be ahead: while a watcher catches
 *   up, etcd sends batches of 1,000 revisions under the header of the newest (mvcc/watchable_store.go).
 * - A response without events for this watch (progress): up to the header's revision. Progress that is asked
 *   for by the client overtakes events in etcd before 3.4.25 and 3.5.8 (etcd-io/etcd #15220), so it is never
 *   asked for; what etcd sends by itself every 10 minutes is in order.
 * - A fragment: nothing yet; its revision may go on in the next response.
 *
 * Several ranges are watched over one stream, each with a cursor of its own: etcd keeps the order within a
 * watch, not between two.
 *
 * @module
 */
import { CompactedError, ReplacedError } from "../types.ts";
import type { WatchStream } from "./client.ts";
import { CallError } from "./faults.ts";
import { extend, type History } from "./history.ts";
import type { KeyRange } from "./keys.ts";
import type { CallLimits } from "./limits.ts";
import type { Header, WatchEvent, WatchResponse } from "./messages.ts";

/** Events that became visible together. */
export interface RawBatch {
  readonly revision: bigint;
  readonly events: readonly WatchEvent[];
}

/** Turns the responses of one watch into batches. Pure but for what it remembers. */
export class WatchCursor {
  #pending: WatchEvent[] = [];

  /**
   * @param revision Everything up to here is known.
   * @param history What the range held then, if that is to be known of each later revision too.
   */
  constructor(public revision: bigint, public history?: History) {}

  /**
   * Takes a response; returns what became known, or undefined.
   *
   * @throws {CompactedError} If the watch can't start at the revision, or another cluster answers.
   * @throws {CallError} If etcd ended it.
   */
  take(response: WatchResponse): RawBatch | undefined {
    if (BigInt(response.compact_revision) > 0n) {
      throw new CompactedError(
        `Changes after revision ${this.revision} are compacted: etcd keeps those from ${response.compact_revision}`,
      );
    }
    if (response.canceled) throw cancelError(response.cancel_reason);
    // Of a member that is behind, the header says an older revision: it will catch up.
    if (response.created) return undefined;
    const { cluster_id, revision: at } = headerOf(response);
    if (!response.events.every(({ kv }) => kv)) throw new CallError(14, "etcd sent an event without its key");
    if (this.history && cluster_id !== this.history.clusterId) {
      throw new ReplacedError(
        `etcd was replaced: its cluster id was ${this.history.clusterId} and is ${cluster_id}`,
      );
    }
    this.#pending.push(...response.events);
    if (response.fragment) return undefined;
    const events = this.#pending;
    this.#pending = [];
    const revision = BigInt(events.at(-1)?.kv.mod_revision ?? at);
    if (revision > this.revision) this.revision = revision;
    if (this.history && events.length > 0) this.history = extend(this.history, events);
    return { revision: this.revision, events };
  }
}

/** @throws {CallError} If it isn't there: whatever sent this is no etcd. */
function headerOf({ header }: { readonly header: Header | null }): Header {
  if (header) return header;
  throw new CallError(14, "etcd sent an answer without a header");
}

/** etcd gives gRPC errors as text when it cancels a watch. */
function cancelError(reason: string): CallError {
  // UNAVAILABLE: what kind of fault it is, its sentence says.
  return new CallError(14, reason ? `watch refused: ${reason}` : "etcd cancelled the watch");
}

/** A batch and the cursor of the watch that it is of. */
export interface CursorBatch {
  readonly cursor: WatchCursor;
  readonly batch: RawBatch;
}

/** What to watch: after the cursor's revision. */
export interface WatchSpec {
  readonly range: KeyRange;
  readonly cursor: WatchCursor;
}

/** Watches over one stream. */
export class WatchGroup {
  readonly #responses: AsyncIterator<WatchResponse>;
  readonly #waiting: WatchCursor[];
  readonly #byId = new Map<string, WatchCursor>();
  /** Came while the watches were still being made. */
  readonly #early: CursorBatch[] = [];

  private constructor(readonly stream: WatchStream, specs: readonly WatchSpec[]) {
    this.#waiting = specs.map(({ cursor }) => cursor);
    for (const { range, cursor } of specs) {
      stream.write({
        create_request: {
          ...range,
          start_revision: String(cursor.revision + 1n),
          progress_notify: true,
          fragment: true,
        },
      });
    }
    this.#responses = stream[Symbol.asyncIterator]();
  }

  /**
   * Makes the watches and waits until etcd has confirmed them all.
   *
   * @throws {CallError} @throws {CompactedError} @throws The signal's reason.
   */
  static async start(
    stream: WatchStream,
    specs: readonly WatchSpec[],
    { deadlineMs, signal }: CallLimits,
  ): Promise<WatchGroup> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      stream.cancel();
    }, deadlineMs);
    const onAbort = () => stream.cancel();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      const group = new WatchGroup(stream, specs);
      while (group.#waiting.length > 0) {
        const taken = group.#take(await nextResponse(group.#responses));
        if (taken) group.#early.push(taken);
      }
      return group;
    } catch (error) {
      signal?.throwIfAborted();
      throw late ? new CallError(4, "Deadline exceeded: the watch wasn't confirmed") : error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** The next batch of any of the watches. @throws {CallError} If the stream has ended. @throws {CompactedError} */
  async next(): Promise<CursorBatch> {
    for (;;) {
      const taken = this.#early.shift() ?? this.#take(await nextResponse(this.#responses));
      if (taken) return taken;
    }
  }

  /** etcd confirms watches in the order in which they were asked for; what it refuses it gives no id of their own. */
  #take(response: WatchResponse): CursorBatch | undefined {
    if (response.created && !response.canceled) this.#byId.set(response.watch_id, this.#waiting.shift()!);
    const cursor = response.canceled && response.created
      ? this.#waiting[0]
      : this.#byId.get(response.watch_id);
    const batch = cursor?.take(response);
    return cursor && batch && { cursor, batch };
  }
}

/** The next response. @throws {CallError} If the stream has ended, well or badly. */
async function nextResponse(responses: AsyncIterator<WatchResponse>): Promise<WatchResponse> {
  const next = await responses.next();
  if (!next.done) return next.value;
  throw new CallError(14, "etcd ended the watch stream");
}

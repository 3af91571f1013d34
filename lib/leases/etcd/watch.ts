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
 * @module
 */
import { CompactedError } from "../types.ts";
import { CallError, type WatchStream } from "./client.ts";
import type { WatchResponse } from "./messages.ts";

/** Events that became visible together. */
export interface RawBatch {
  readonly revision: bigint;
  readonly events: WatchResponse["events"];
}

/** Turns responses into batches. Pure but for the revision that it remembers. */
export class WatchCursor {
  #pending: WatchResponse["events"][number][] = [];

  /** @param revision Everything up to here is known. */
  constructor(public revision: bigint) {}

  /**
   * Takes a response; returns what became known, or undefined.
   *
   * @throws {CompactedError} If the watch can't start at the revision. @throws {CallError} If etcd ended it.
   */
  take(response: WatchResponse): RawBatch | undefined {
    const at = BigInt(response.header.revision);
    if (BigInt(response.compact_revision) > 0n) {
      throw new CompactedError(
        `Changes after revision ${this.revision} are compacted: etcd keeps those from ${response.compact_revision}`,
      );
    }
    if (response.canceled) throw cancelError(response.cancel_reason);
    if (response.created) {
      // An etcd whose data was lost counts from 1 again; the watch would wait for a revision of the old count.
      if (at >= this.revision) return undefined;
      throw new CompactedError(
        `This etcd is at revision ${at}, before ${this.revision}: its data was replaced`,
      );
    }
    this.#pending.push(...response.events);
    if (response.fragment) return undefined;
    const events = this.#pending;
    this.#pending = [];
    const last = events.at(-1);
    const revision = last ? BigInt(last.kv.mod_revision) : at;
    if (revision > this.revision) this.revision = revision;
    return { revision: this.revision, events };
  }
}

/** etcd gives gRPC errors as text when it cancels a watch. */
function cancelError(reason: string): CallError {
  // UNAVAILABLE: what kind of fault it is, its sentence says.
  return new CallError(14, reason || "etcd cancelled the watch");
}

/** What to watch, from where. */
export interface WatchRange {
  readonly key: Uint8Array;
  readonly range_end?: Uint8Array;
}

/** Begins a watch after the cursor's revision and waits until etcd confirms it. */
export async function startWatch(
  stream: WatchStream,
  range: WatchRange,
  cursor: WatchCursor,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<AsyncIterator<WatchResponse>> {
  stream.write({
    create_request: {
      ...range,
      start_revision: String(cursor.revision + 1n),
      progress_notify: true,
      fragment: true,
    },
  });
  const responses = stream[Symbol.asyncIterator]();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stream.cancel();
  }, deadlineMs);
  const onAbort = () => stream.cancel();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const first = await nextResponse(responses);
    cursor.take(first);
    return responses;
  } catch (error) {
    signal?.throwIfAborted();
    throw late ? new CallError(4, "Deadline exceeded: the watch wasn't confirmed") : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The next response. @throws {CallError} If the stream has ended, well or badly. */
export async function nextResponse(responses: AsyncIterator<WatchResponse>): Promise<WatchResponse> {
  try {
    const next = await responses.next();
    if (!next.done) return next.value;
  } catch (error) {
    const { code, details } = error as { code?: unknown; details?: unknown };
    throw new CallError(
      typeof code === "number" ? code : 14,
      typeof details === "string" ? details : String(error),
    );
  }
  throw new CallError(14, "etcd ended the watch stream");
}

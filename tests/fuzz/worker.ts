/**
 * The worker of {@link fuzzWatched}: runs jobs and shows the input at hand.
 *
 * @module
 */
import { fuzz } from "./run.ts";
import { targetNamed } from "./targets.ts";
import type { FuzzJob, SharedInput } from "./watched.ts";

/** The worker's side of the messages. */
interface Scope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = async ({ data }) => {
  const { job, shared } = data as { job: FuzzJob; shared: SharedInput };
  const words = new Int32Array(shared.state), room = new Uint8Array(shared.bytes);
  const result = await fuzz(targetNamed(job.target)!, job.limits, (input) => {
    const shown = input.subarray(0, room.length);
    room.set(shown);
    Atomics.store(words, 1, shown.length);
    Atomics.add(words, 0, 1);
  });
  scope.postMessage(result);
};

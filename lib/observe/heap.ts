/**
 * Giving memory back.
 *
 * @module
 */
import { releaseUnusedMemory } from "../ffi/unused_memory.ts";

/** How V8's `gc` collects: `last-resort` twice, and so that free pages go back to the kernel. */
interface CollectOptions {
  readonly type: "major";
  readonly flavor?: "last-resort";
}

/** V8's, where `--expose-gc` gives it to the program, as the built one has it; else V8 collects when it wants to. */
const { gc: collect = () => {} } = globalThis as { gc?: (options: CollectOptions) => void };

/**
 * Collects garbage now, wholly. V8 lets the heap grow to some multiple of what lives and collects when it is
 * reached; a daemon that has just joined a large network comes to rest before that, with all that joining left.
 * Then gives back what else only joining needed. Takes some 40 ms per 50 MB that live.
 */
export function releaseHeap(): void {
  collect({ type: "major", flavor: "last-resort" });
  releaseUnusedMemory();
}

/** Twice the heap of a daemon that has started and knows a few leases; with 20,000 it is 24 MB. In bytes. */
const LARGE_HEAP = 20_000_000;

/**
 * Collects garbage where that is worth its time, in the midst of work: what reading a long list leaves is several times
 * the list. Pages that are free stay the heap's, which goes on to need them. Takes 20 ms per 50 MB that live.
 */
export function collectLargeHeap(): void {
  if (Deno.memoryUsage().heapUsed <= LARGE_HEAP) return;
  collect({ type: "major" });
  releaseUnusedMemory();
}

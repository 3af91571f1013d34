/**
 * Giving memory back.
 *
 * @module
 */
import { releaseUnusedMemory } from "../ffi/unused_memory.ts";

/**
 * Collects garbage now, wholly. V8 lets the heap grow to some multiple of what lives and collects when it is
 * reached; a daemon that has just joined a large network comes to rest before that, with all that joining left.
 * Then gives back what else only joining needed. Takes some 20 ms per 50 MB that live.
 */
export async function releaseHeap(): Promise<void> {
  const [{ setFlagsFromString }, { runInNewContext }] = await Promise.all([
    import("node:v8"),
    import("node:vm"),
  ]);
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  collect();
  releaseUnusedMemory();
}

/** More than twice the heap of a daemon that has started and knows a few leases, in bytes. */
const LARGE_HEAP = 32_000_000;

/** {@link releaseHeap} where it is worth its time: what reading a long list leaves is several times the list. */
export async function releaseLargeHeap(): Promise<void> {
  if (Deno.memoryUsage().heapUsed > LARGE_HEAP) await releaseHeap();
}

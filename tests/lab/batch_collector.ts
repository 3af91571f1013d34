/**
 * Collects what a watch of leases yields.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { LeaseEvent, LeaseEventBatch } from "../../lib/leases/types.ts";

const PATIENCE_MS = 10_000;

/** Collects a watch's events and waits for the one that matters. */
export function collect(batches: AsyncIterable<LeaseEventBatch>) {
  const all: LeaseEvent[] = [];
  let news = Promise.withResolvers<void>();
  let revision = 0n;
  const done = (async () => {
    for await (const batch of batches) {
      assert.ok(batch.revision >= revision, "a revision went back");
      revision = batch.revision;
      all.push(...batch.events);
      news.resolve();
      news = Promise.withResolvers();
    }
  })();
  done.catch((error) => news.reject(error));
  return {
    all,
    /** Resolves once an event that matches has come. */
    async until(matches: (event: LeaseEvent) => boolean): Promise<void> {
      const late = AbortSignal.timeout(PATIENCE_MS);
      while (!all.some(matches)) {
        const timeout = Promise.withResolvers<never>();
        const onLate = () =>
          timeout.reject(new Error(`After ${PATIENCE_MS} ms only ${all.length} events came`));
        late.addEventListener("abort", onLate, { once: true });
        await Promise.race([news.promise, timeout.promise]);
        late.removeEventListener("abort", onLate);
      }
    },
  };
}

/**
 * Waiting for another process's lock without stopping this one: the event loop carries traffic and answers probes.
 *
 * @module
 */
import { systemClock } from "../../time/clock.ts";
import type { CallOptions } from "../types.ts";
import { LockedError } from "./database.ts";

/** How long a call waits unless its caller says otherwise, in milliseconds. */
export const PATIENCE_MS = 5000;
/** First and longest wait between two tries, in milliseconds: a transaction takes less than one. */
const RETRY_MIN_MS = 1;
const RETRY_MAX_MS = 20;

/**
 * Does `work` as soon as nobody holds the lock.
 *
 * @throws {LockedError} If it is held for longer than the call may take. @throws What `work` throws.
 * @throws The signal's reason.
 */
export async function whenUnlocked<T>(
  work: () => T,
  { signal, timeoutMs = PATIENCE_MS }: CallOptions = {},
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (let wait = RETRY_MIN_MS;; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    signal?.throwIfAborted();
    try {
      return work();
    } catch (error) {
      if (!(error instanceof LockedError) || performance.now() >= end) throw error;
    }
    await systemClock.sleep(wait * (0.5 + Math.random()), signal);
  }
}

/**
 * How long things may take: one call at one endpoint, and all that a caller of the store waits for.
 *
 * @module
 */
import type { CallOptions } from "../types.ts";

/** For one call at one endpoint. */
export interface CallLimits {
  /** Milliseconds for the answer, the connection included. */
  readonly deadlineMs: number;
  /** Milliseconds for the connection alone, where there is none yet. */
  readonly connectMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** For all calls at all endpoints that one call of the store makes. */
export interface Patience {
  readonly signal?: AbortSignal | undefined;
  /** When it ends, by performance.now(); absent: never. */
  readonly until?: number;
}

/** Begins to count. */
export function patienceOf({ signal, timeoutMs }: CallOptions): Patience {
  return { signal, ...timeoutMs === undefined ? {} : { until: performance.now() + timeoutMs } };
}

/** Milliseconds that are left, 0 at least; Infinity where it never ends. */
export function left({ until }: Patience): number {
  return until === undefined ? Infinity : Math.max(0, until - performance.now());
}

/** The promise's outcome, or the signal's reason as soon as it fires. */
export function untilAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * How long the clouds' loops wait.
 *
 * @module
 */
import { backoffMs, type BackoffRange } from "../../lib/time/backoff.ts";
import type { CloudErrorKind } from "./errors.ts";

/** What passes by itself is retried soon, what somebody must change (a full table, a permission) slowly. */
function rangeFor(kind: CloudErrorKind, resyncMs: number): BackoffRange {
  switch (kind) {
    case "conflict":
      return { first: 500, longest: 15_000 };
    case "throttled":
      return { first: 1_000, longest: 60_000 };
    case "unavailable":
      return { first: 500, longest: 30_000 };
    case "credentials":
      return { first: 1_000, longest: 60_000 };
    case "denied":
    case "quota":
    case "config":
      return { first: Math.min(5_000, resyncMs), longest: Math.max(resyncMs, 1_000) };
  }
}

/**
 * How long to wait after the `failures`-th failure in a row, by the kind of the last one.
 *
 * @param failures 1 for the first.
 * @param resyncMs Time between two passes when all is well, in milliseconds.
 * @returns Milliseconds.
 */
export function backoffDelay(
  kind: CloudErrorKind,
  failures: number,
  resyncMs: number,
  random: () => number,
): number {
  // Expired credentials are fetched anew at once; only if that didn't help is there a reason to wait.
  if (kind === "credentials" && failures === 1) return 0;
  return backoffMs(failures, rangeFor(kind, resyncMs), random);
}

/** The time to the next pass when all is well: the interval give or take a tenth, in milliseconds. */
export function resyncDelay(resyncMs: number, random: () => number): number {
  return resyncMs * (0.9 + random() * 0.2);
}

/**
 * Time and chance for what waits and retries, so that tests can turn the hands.
 *
 * @module
 */
import { pause } from "../../lib/pause.ts";
import type { CloudErrorKind } from "./errors.ts";

/** A clock with chance and sleep. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** A number from 0 up to but not including 1. */
  random(): number;
  /** Waits for `ms` milliseconds. Resolves early, without error, when the signal fires. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The real one. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: pause,
};

/** First and longest wait of a back-off, in milliseconds. */
interface Ladder {
  readonly first: number;
  readonly longest: number;
}

/** What passes by itself is retried soon, what somebody must change (a full table, a permission) slowly. */
function ladderFor(kind: CloudErrorKind, resyncMs: number): Ladder {
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
 * How long to wait after the `failures`-th failure in a row: doubling, and half of it left to chance so that
 * hosts that failed together don't come back together.
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
  const { first, longest } = ladderFor(kind, resyncMs);
  const full = Math.min(longest, first * 2 ** Math.min(failures - 1, 20));
  return full / 2 + random() * full / 2;
}

/** The time to the next pass when all is well: the interval give or take a tenth, in milliseconds. */
export function resyncDelay(resyncMs: number, random: () => number): number {
  return resyncMs * (0.9 + random() * 0.2);
}

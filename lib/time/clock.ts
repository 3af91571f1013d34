/**
 * Time and chance for the parts that wait: injected, so that tests need no waiting.
 *
 * @module
 */
import { pause } from "./pause.ts";

/** What waiting needs. */
export interface Clock {
  /** Milliseconds of a clock that never jumps back, and that counts the time in which the machine is suspended. */
  now(): number;
  /** Milliseconds since 1970, as `Date.now()`: to compare with what others wrote, never to measure. */
  date(): number;
  /** From 0 up to, but not including, 1. */
  random(): number;
  /** Waits `ms` milliseconds, or until the signal fires, whichever comes first. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longer of what two clocks say has passed: the monotonic one stands still while the machine sleeps. */
let elapsed = 0;
let wall = Date.now();
let monotonic = performance.now();

function now(): number {
  const [newWall, newMonotonic] = [Date.now(), performance.now()];
  elapsed += Math.max(newMonotonic - monotonic, newWall - wall);
  [wall, monotonic] = [newWall, newMonotonic];
  return elapsed;
}

/** The system's. A pending sleep keeps the process alive. */
export const systemClock: Clock = {
  now,
  date: () => Date.now(),
  random: () => Math.random(),
  sleep: pause,
};

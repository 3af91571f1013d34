/**
 * Keeping repeated lines to a few a minute. Pure: the clock comes in.
 *
 * @module
 */
import type { Log, LogFields } from "./types.ts";

/** How much may pass. */
export interface LimitOptions {
  /** Lines of one kind in each interval. */
  readonly lines?: number;
  /** Length of an interval in milliseconds. */
  readonly interval?: number;
  /** How many kinds are remembered; the oldest is forgotten first. */
  readonly kinds?: number;
}

/** Counts lines of one kind. */
interface Window {
  begin: number;
  passed: number;
  suppressed: number;
}

/** Decides which of many repeated lines are written. */
export class LogLimiter {
  readonly #windows = new Map<string, Window>();
  readonly #clock: () => number;
  readonly #lines: number;
  readonly #interval: number;
  readonly #kinds: number;

  /** @param clock Milliseconds that never run backwards. */
  constructor(clock: () => number, { lines = 5, interval = 60_000, kinds = 1000 }: LimitOptions = {}) {
    this.#clock = clock;
    this.#lines = lines;
    this.#interval = interval;
    this.#kinds = kinds;
  }

  /**
   * Asks whether a line of this kind may be written now.
   *
   * @returns Undefined if not; else how many lines of the kind were held back since the last one passed.
   */
  pass(kind: string): number | undefined {
    const now = this.#clock();
    let window = this.#windows.get(kind);
    if (!window) {
      window = { begin: now, passed: 0, suppressed: 0 };
      this.#forgetOldest();
    } else if (now - window.begin >= this.#interval) {
      window.begin = now;
      window.passed = 0;
    }
    // Moves it to the end: the first of the map is the one that was used longest ago.
    this.#windows.delete(kind);
    this.#windows.set(kind, window);
    if (window.passed >= this.#lines) {
      window.suppressed++;
      return undefined;
    }
    const held = window.suppressed;
    window.passed++;
    window.suppressed = 0;
    return held;
  }

  #forgetOldest(): void {
    if (this.#windows.size < this.#kinds) return;
    for (const oldest of this.#windows.keys()) {
      this.#windows.delete(oldest);
      return;
    }
  }
}

/** A log that lets each message pass only as often as `limiter` allows; the message's text is its kind. */
export function limitLog(log: Log, limiter: LogLimiter): Log {
  const limited = (level: keyof Log) => (message: string, fields: LogFields = {}) => {
    const held = limiter.pass(`${level} ${message}`);
    if (held === undefined) return;
    log[level](message, held === 0 ? fields : { ...fields, suppressed: held });
  };
  return {
    debug: limited("debug"),
    info: limited("info"),
    warn: limited("warn"),
    error: limited("error"),
  };
}

/**
 * How long watches last, and when one on which nothing comes is given up.
 *
 * A quiet watch looks like a dead one. HTTP/2 has pings, which cost the server nothing. HTTP/1.1 has none, and what
 * another connection answers says nothing of the watch's; so that there a quiet watch is asked for a few seconds only:
 * its end is the sign of life, and the next one goes over the same connection. Where many Nodes change, their events
 * are the sign, and watches last as long as over HTTP/2.
 *
 * @module
 */

/** The bounds of one watch. */
export interface WatchBounds {
  /** After how long the server is to end it, in seconds. */
  readonly seconds: number;
  /** How long its beginning may take, in milliseconds; absent: as long as that of any answer. */
  readonly headMs?: number;
  /** How long it may last from there on, and how long nothing may come, in milliseconds. */
  readonly longestMs: number;
  readonly silenceMs: number;
  /** Whether one that exceeds a bound shows that the connection is dead; else the next watch shows it. */
  readonly isProof: boolean;
}

/** The server ends a watch after a time within these bounds, in seconds, as client-go asks for. */
const WATCH_SECONDS = { min: 300, max: 600 } as const;

/** How much later than that the end of a long watch may come, in milliseconds. */
const LONG_GRACE_MS = 30_000;

/**
 * A watch over HTTP/2 that says nothing for this long is replaced, in milliseconds: the API server sends a bookmark
 * every minute. Pings don't show a watch that a proxy keeps open after its server is gone.
 */
const SILENCE_MS = 150_000;

/**
 * A short watch: how long the server is to let it last, in seconds; how much later its end may come, and how long its
 * beginning may take, in milliseconds. That is doubled each time, so that a server that is only slow gets an answer out.
 */
const SHORT = { seconds: 4, graceMs: 3_000, firstHeadMs: 6_000, longestHeadMs: 30_000 } as const;

/**
 * Over HTTP/1.1 a watch with so many events a second is a long one, until nothing comes for so many milliseconds: by
 * chance that happens once in several hundred times, and costs one watch.
 */
const BUSY = { eventsPerSecond: 3, silenceMs: 2_000 } as const;

/** Chooses the bounds of each watch by how the last one went. */
export class WatchPace {
  readonly #random: () => number;
  #isBusy = false;
  #misses = 0;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The bounds of the next watch. @param hasPings Whether its connection shows by itself that it lives. */
  next(hasPings: boolean): WatchBounds {
    const { min, max } = WATCH_SECONDS;
    const seconds = min + Math.floor(this.#random() * (max - min));
    const long = { seconds, longestMs: seconds * 1000 + LONG_GRACE_MS, isProof: false };
    if (hasPings) return { ...long, silenceMs: SILENCE_MS };
    if (this.#isBusy) return { ...long, silenceMs: BUSY.silenceMs };
    const longestMs = SHORT.seconds * 1000 + SHORT.graceMs;
    const headMs = Math.min(SHORT.longestHeadMs, SHORT.firstHeadMs * 2 ** this.#misses);
    return { seconds: SHORT.seconds, headMs, longestMs, silenceMs: longestMs, isProof: true };
  }

  /** How the last watch went. */
  ended({ events, beganAt, isLate }: WatchRecord): void {
    this.#misses = beganAt === undefined ? this.#misses + 1 : 0;
    const seconds = (performance.now() - (beganAt ?? 0)) / 1000;
    this.#isBusy = !isLate && beganAt !== undefined && events >= BUSY.eventsPerSecond * seconds;
  }
}

/** How a watch went. */
export interface WatchRecord {
  readonly events: number;
  /** When it began, in performance.now()'s milliseconds; undefined if it never did. */
  readonly beganAt: number | undefined;
  /** It exceeded its bounds. */
  readonly isLate: boolean;
}

/** Fires when something has lasted too long, or nothing came for a while; both from the first sign of it on. */
export class Silence implements Disposable {
  readonly #end = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #beganAt: number | undefined;
  #heardAt = 0;

  /**
   * @param longestMs How long all may last.
   * @param silenceMs How long nothing may come.
   * @param late The message of the error that the signal fires with.
   */
  constructor(longestMs: number, silenceMs: number, late: string) {
    this.#timer = setInterval(() => {
      if (this.#beganAt === undefined) return;
      const now = performance.now();
      if (now - this.#beganAt > longestMs || now - this.#heardAt > silenceMs) {
        this.#end.abort(new Error(late));
      }
    }, Math.min(longestMs, silenceMs) / 20);
  }

  /** When the first sign came; undefined before. */
  get beganAt(): number | undefined {
    return this.#beganAt;
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Something came. */
  broken(): void {
    this.#heardAt = performance.now();
    this.#beganAt ??= this.#heardAt;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

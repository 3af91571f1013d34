/**
 * The end of a watch on which nothing comes.
 *
 * @module
 */

/**
 * A watch that says nothing for this long is replaced by one that goes on from there, in milliseconds: the API server
 * sends a bookmark every minute. Pings don't show a watch that a proxy keeps open after its server is gone.
 */
const SILENCE_MS = 150_000;

/** Fires when a watch has lasted too long, or nothing came for a while. */
export class Silence implements Disposable {
  readonly #end = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #heardAt = performance.now();

  /**
   * @param longestMs How long the watch may last.
   * @param silenceMs How long nothing may come.
   */
  constructor(longestMs: number, silenceMs = SILENCE_MS) {
    const began = this.#heardAt;
    this.#timer = setInterval(() => {
      const now = performance.now();
      if (now - began > longestMs || now - this.#heardAt > silenceMs) this.#end.abort();
    }, silenceMs / 10);
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /** Something came. */
  broken(): void {
    this.#heardAt = performance.now();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

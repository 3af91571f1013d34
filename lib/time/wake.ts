/**
 * Waiting that an event ends.
 *
 * @module
 */
import { pause } from "./pause.ts";

/** Remembers what happened, for one waiter. */
export class Wake<Reason = "event"> {
  readonly #pending = new Set<Reason>();
  readonly #signal: AbortSignal;
  #waiting = new AbortController();

  /** @param signal Ends every wait. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#waiting.abort(), { once: true });
  }

  /** Something happened: the waiter goes on. */
  up(...reasons: readonly Reason[]): void {
    if (reasons.length === 0) return;
    for (const reason of reasons) this.#pending.add(reason);
    this.#waiting.abort();
  }

  /** Waits for {@link up}, the end, or `ms` milliseconds. @returns Whether something happened. */
  async within(ms: number): Promise<boolean> {
    if (this.#pending.size === 0 && !this.#signal.aborted) {
      this.#waiting = new AbortController();
      await pause(ms, this.#waiting.signal);
    }
    return this.#pending.size > 0;
  }

  /** What happened since the last call. */
  take(): Set<Reason> {
    const pending = new Set(this.#pending);
    this.#pending.clear();
    return pending;
  }
}

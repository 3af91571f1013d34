/**
 * The last echo requests to one peer.
 *
 * @module
 */

/** How many are kept. */
const KEPT = 20;
/** So many without an answer, the last ones, and the way counts as interrupted. */
const INTERRUPTED = 3;

/** Requests of one kind, like small ones through the overlay. */
export class EchoHistory {
  /** Round trips in milliseconds, NaN for what was lost; a ring. */
  readonly #trips = new Float32Array(KEPT);
  #count = 0;

  /** @param rttMs Undefined: no answer. */
  add(rttMs: number | undefined): void {
    this.#trips[this.#count++ % KEPT] = rttMs ?? NaN;
  }

  get sent(): number {
    return Math.min(this.#count, KEPT);
  }

  get received(): number {
    return this.#answered().length;
  }

  /** The median round trip; undefined where nothing came back. */
  get p50(): number | undefined {
    const sorted = this.#answered().sort((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(sorted.length / 2) - 1)];
  }

  /** Whether the last requests were lost one after the other. */
  get isInterrupted(): boolean {
    if (this.#count < INTERRUPTED) return this.#count > 0 && this.received === 0;
    return Array.from({ length: INTERRUPTED }, (_, i) => this.#trips[(this.#count - 1 - i) % KEPT]!)
      .every(Number.isNaN);
  }

  /** Whether the last one was answered. */
  get isAnswered(): boolean {
    return this.#count > 0 && !Number.isNaN(this.#trips[(this.#count - 1) % KEPT]!);
  }

  #answered(): number[] {
    return [...this.#trips.subarray(0, this.sent)].filter((trip) => !Number.isNaN(trip));
  }
}

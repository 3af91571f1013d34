/**
 * Counters of the last 15 minutes, for the page's plots: one sample every 5 s in 13 kB, from the daemon's start on, so
 * that who opens the page after something happened sees it.
 *
 * @module
 */
import { pause } from "../time/pause.ts";
import type { PageSample } from "./events.ts";

const PERIOD_MS = 5_000;
const SAMPLES = 15 * 60_000 / PERIOD_MS;

const FIELDS = [
  "at",
  "receivedBytes",
  "sentBytes",
  "operations",
  "leaseEvents",
  "peers",
  "problems",
  "cpuSeconds",
  "residentBytes",
] as const satisfies readonly (keyof PageSample)[];

/** A ring of samples. */
export class History {
  readonly #values = new Float64Array(SAMPLES * FIELDS.length);
  #next = 0;

  add(sample: PageSample): void {
    this.#values.set(FIELDS.map((name) => sample[name]), (this.#next++ % SAMPLES) * FIELDS.length);
  }

  /** The number of the sample that comes next. */
  get next(): number {
    return this.#next;
  }

  /** The samples from this number on, as far as they are still there. */
  since(number: number): PageSample[] {
    const found: PageSample[] = [];
    for (let at = Math.max(number, this.#next - SAMPLES, 0); at < this.#next; at++) {
      const from = (at % SAMPLES) * FIELDS.length;
      const entries = FIELDS.map((name, index) => [name, this.#values[from + index]!] as const);
      found.push(Object.fromEntries(entries) as unknown as PageSample);
    }
    return found;
  }

  /** Takes a sample now and then, until the signal fires. */
  async record(take: () => PageSample, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.add(take());
      await pause(PERIOD_MS, signal);
    }
  }
}

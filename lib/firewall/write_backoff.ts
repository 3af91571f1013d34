/**
 * Writes that report success and have no effect are repeated less and less often.
 *
 * @module
 */
import type { Metrics } from "../observe/types.ts";
import { type FirewallChange, IneffectiveWriteError } from "./change.ts";

/** Milliseconds until the next write after a first one without effect; doubled each time. */
const FIRST_DELAY = 10_000;
const LONGEST_DELAY = 600_000;

/** Guards one place that is written to. */
export class WriteBackoff {
  readonly #metrics: Metrics;
  readonly #now: () => number;
  #delay = 0;
  #notBefore = 0;

  /** @param now Milliseconds of a monotonic clock. */
  constructor(metrics: Metrics, now: () => number = () => performance.now()) {
    this.#metrics = metrics;
    this.#now = now;
  }

  /** Call before a write. @throws {IneffectiveWriteError} If it is too early for another try. */
  check(program: string, changes: readonly FirewallChange[]): void {
    if (this.#now() < this.#notBefore) throw new IneffectiveWriteError(program, changes);
  }

  /** A write had no effect. @returns The error to throw. */
  fail(program: string, changes: readonly FirewallChange[]): IneffectiveWriteError {
    this.#delay = Math.min(this.#delay * 2 || FIRST_DELAY, LONGEST_DELAY);
    this.#notBefore = this.#now() + this.#delay;
    this.#metrics.count("firewall_ineffective_writes_total", "Writes of firewall rules that had no effect");
    return new IneffectiveWriteError(program, changes);
  }

  /** Everything is as wanted. */
  reset(): void {
    this.#delay = this.#notBefore = 0;
  }
}

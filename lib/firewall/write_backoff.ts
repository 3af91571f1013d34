/**
 * Writes that report success and have no effect are repeated less and less often.
 *
 * @module
 */
import { type Metrics, noMetrics } from "../observe/types.ts";
import { type FirewallChange, IneffectiveWriteError } from "./change.ts";
import { INEFFECTIVE_WRITES } from "./metrics.ts";

/** Milliseconds until the next write after a first one without effect; doubled each time. */
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 600_000;

/** What a back-off works with. */
export interface WriteBackoffOptions {
  /** @default noMetrics */
  readonly metrics?: Metrics;
  /** A number that grows with each change of the firewall by any program; undefined where there is none. */
  readonly stamp?: () => number | undefined;
  /** Milliseconds of a monotonic clock. @default performance.now */
  readonly now?: () => number;
}

/** Guards one place that is written to. */
export class WriteBackoff {
  readonly #metrics: Metrics;
  readonly #stamp: () => number | undefined;
  readonly #now: () => number;
  #delay = 0;
  #notBefore = 0;
  #stampBefore: number | undefined;

  constructor({ metrics, stamp, now }: WriteBackoffOptions = {}) {
    this.#metrics = metrics ?? noMetrics;
    this.#stamp = stamp ?? (() => undefined);
    this.#now = now ?? (() => performance.now());
  }

  /** Call before a write. @throws {IneffectiveWriteError} If it is too early for another try. */
  check(program: string, changes: readonly FirewallChange[]): void {
    if (this.#now() < this.#notBefore) throw new IneffectiveWriteError(program, changes);
    this.#stampBefore = this.#stamp();
  }

  /**
   * A look after the write finds what was found before it. Does nothing if another program has written since: then
   * the next pass repairs what that one did.
   *
   * @param commits Transactions of the write: by how much it may have made the stamp grow.
   * @throws {IneffectiveWriteError}
   */
  fail(program: string, changes: readonly FirewallChange[], commits: number): void {
    if ((this.#stamp() ?? 0) - (this.#stampBefore ?? 0) > commits) return;
    this.#delay = Math.min(this.#delay * 2 || FIRST_DELAY, LONGEST_DELAY);
    this.#notBefore = this.#now() + this.#delay;
    this.#metrics.count(INEFFECTIVE_WRITES);
    throw new IneffectiveWriteError(program, changes);
  }

  /** Everything is as wanted. */
  reset(): void {
    this.#delay = this.#notBefore = 0;
  }
}

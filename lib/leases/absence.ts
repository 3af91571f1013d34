/**
 * What it means that the own lease is missing in the store.
 *
 * An own look doesn't say: a store that has just lost its data is noticed by whoever follows it.
 *
 * @module
 */

/** It is created again, it is lost, or nobody knows yet. */
export type AbsenceVerdict = "create" | "lost" | "unknown";

/** What those who follow the store say of a missing lease. */
export class Absence {
  #isReplaced = false;
  #isGone = false;

  /** Whether the store has another history since the last time that the lease was written. */
  get isReplaced(): boolean {
    return this.#isReplaced;
  }

  /** A list was read. @param isMissing In it. @param replaced Whether it is of another history than the one before. */
  listed(isMissing: boolean, replaced: boolean): void {
    this.#isReplaced ||= replaced;
    this.#isGone = isMissing && !this.#isReplaced;
  }

  /** The lease is there. */
  over(): void {
    this.#isReplaced = this.#isGone = false;
  }

  /** @param isDeleted An event says so. @param isExpired Its time is up. */
  judge(isDeleted: boolean, isExpired: boolean): AbsenceVerdict {
    if (this.#isReplaced || isExpired) return "create";
    return isDeleted || this.#isGone ? "lost" : "unknown";
  }
}

/**
 * One thing at a time.
 *
 * @module
 */

/** Carries work out in the order in which it was asked for, each after the one before has ended. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` after everything that was asked before, failed or not. */
  take<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  /** Resolves when everything that was asked so far has ended, failed or not. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

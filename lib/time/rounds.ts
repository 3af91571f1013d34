/**
 * Work that is asked for more often than it is done.
 *
 * @module
 */

/** Carries out rounds of work, one at a time. What is asked for during a round is done by the next one: nothing is lost. */
export class Rounds {
  readonly #round: () => Promise<void>;
  #isAsked = false;
  #running: Promise<void> | undefined;

  /** @param round Must not throw. */
  constructor(round: () => Promise<void>) {
    this.#round = round;
  }

  /** A round begins at once, or after the one that is under way. */
  ask(): void {
    this.#isAsked = true;
    this.#running ??= this.#run();
  }

  /** Resolves when no round is under way and none is asked for. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /**
   * Says that nothing runs in the same moment in which it sees that nothing is asked for. By way of the promise's
   * `finally` it would be some microtasks later, and what is asked for in between would wait for the next request.
   */
  async #run(): Promise<void> {
    try {
      while (this.#isAsked) {
        this.#isAsked = false;
        await this.#round();
      }
    } finally {
      this.#running = undefined;
    }
  }
}

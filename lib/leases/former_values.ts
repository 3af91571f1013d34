/**
 * Earlier values of the own lease: a store that was restored from a backup has one of them again.
 *
 * @module
 */

/** So many are remembered. */
const MOST = 32;

/** The last values that were published, the oldest first. */
export class FormerValues {
  readonly #values = new Set<string>();

  /** @param values What earlier runs published. */
  constructor(values: readonly string[] = []) {
    for (const value of values) this.add(value);
  }

  get all(): readonly string[] {
    return [...this.#values];
  }

  has(value: string): boolean {
    return this.#values.has(value);
  }

  /** Adds one at the end; the oldest goes where there are too many. */
  add(value: string): void {
    this.#values.delete(value);
    this.#values.add(value);
    for (const oldest of this.#values) {
      if (this.#values.size <= MOST) break;
      this.#values.delete(oldest);
    }
  }
}

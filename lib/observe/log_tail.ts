/**
 * The log's last lines, for the page and for reports.
 *
 * @module
 */

/** So many lines are kept, each cut to so many characters: at most some 200 kB, as a rule 30. */
const LINES = 200, LINE_LENGTH = 1000;

/** A ring of lines, each with a number that grows by one. */
export class LogTail {
  readonly #lines: string[] = [];
  readonly #listeners = new Set<() => void>();
  #next = 0;

  add(line: string): void {
    const text = line.trimEnd();
    this.#lines[this.#next++ % LINES] = text.length > LINE_LENGTH ? `${text.slice(0, LINE_LENGTH)} …` : text;
    for (const listener of this.#listeners) listener();
  }

  /** The number of the line that comes next. */
  get next(): number {
    return this.#next;
  }

  /** The lines from this number on, as far as they are still there. */
  since(number: number): string[] {
    const found: string[] = [];
    for (let at = Math.max(number, this.#next - LINES, 0); at < this.#next; at++) {
      found.push(this.#lines[at % LINES]!);
    }
    return found;
  }

  /** Calls back after each line. What it does must not log. */
  subscribe(onLine: () => void): Disposable {
    this.#listeners.add(onLine);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onLine) };
  }
}

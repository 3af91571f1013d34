/**
 * Progress for people: one line a step, rewritten in place on a terminal.
 *
 * @module
 */

/** Where progress goes. */
export interface ProgressSink {
  readonly isTerminal: boolean;
  write(text: string): void;
}

/** Standard output. */
export const standardOutput: ProgressSink = {
  isTerminal: Deno.stdout.isTerminal(),
  write(text) {
    // A write may take only a part of the bytes.
    let bytes = new TextEncoder().encode(text);
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
  },
};

/** Width of the column before the time. */
const LABEL_WIDTH = 52;
/** Back to the line's start, and clear it (ECMA-48 EL). */
const REWRITE = "\r\x1b[K";

/** Prints steps as they begin and end. */
export class Progress {
  constructor(readonly sink: ProgressSink, readonly now: () => number) {}

  /**
   * Runs one step and says how long it took.
   *
   * @param label What is done; on success replaced by what `body` returns, if it returns a text.
   */
  async step<T>(label: string, body: () => Promise<T>, done: (value: T) => string = () => label): Promise<T> {
    const began = this.now();
    if (this.sink.isTerminal) this.sink.write(`  … ${label}`);
    try {
      const value = await body();
      this.#end("✓", done(value), began);
      return value;
    } catch (error) {
      this.#end("✗", label, began);
      throw error;
    }
  }

  #end(sign: string, label: string, began: number): void {
    const seconds = ((this.now() - began) / 1000).toFixed(1);
    const start = this.sink.isTerminal ? REWRITE : "";
    this.sink.write(`${start}  ${sign} ${label.padEnd(LABEL_WIDTH)} ${seconds.padStart(5)} s\n`);
  }
}

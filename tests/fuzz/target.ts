/**
 * What a decoder is to the fuzzer: how one input is given to it, which errors it may answer with, and the words that
 * its inputs are made of.
 *
 * @module
 */

/** A class of errors that a decoder declares with `@throws`. */
// deno-lint-ignore no-explicit-any -- constructors of errors take what they like
export type ErrorClass = abstract new (...args: any[]) => Error;

/** One decoder, or several that read the same bytes. */
export interface FuzzTarget {
  /** Folder of its corpus, and its name on the command line. */
  readonly name: string;
  /** What is decoded, for people. */
  readonly what: string;
  /** What a bad input may end in; anything else is a finding. */
  readonly errors: readonly ErrorClass[];
  /** Words that are put into inputs: keys, magic numbers, separators. */
  readonly dictionary: readonly string[];
  /** Longest input in bytes. @default 4096 */
  readonly maxLength?: number;
  /** How much dearer an input is than others: the short run of the unit tests makes so many fewer. @default 1 */
  readonly cost?: number;
  /** Makes what is ready to take inputs; called once. */
  open(): FuzzOne | Promise<FuzzOne>;
}

/**
 * Gives one input to the decoder and checks what comes out.
 *
 * @throws {PropertyError} If a property doesn't hold. @throws What the decoder throws.
 */
export type FuzzOne = (input: Uint8Array<ArrayBuffer>) => void | Promise<void>;

/** A property that doesn't hold: what went in doesn't come out, or something changed that mustn't. */
export class PropertyError extends Error {
  override readonly name = "PropertyError";
}

/** Throws a {@link PropertyError} unless `holds`. */
export function property(holds: boolean, what: string): void {
  if (!holds) throw new PropertyError(what);
}

const decoder = new TextDecoder();

/** The input as text. Bytes that aren't UTF-8 become U+FFFD, as in every file that is read. */
export function textOf(input: Uint8Array): string {
  return decoder.decode(input);
}

/** Values as text, to compare them: bigints, maps and sets included. */
export function show(value: unknown): string {
  return JSON.stringify(value, (_, one) => {
    if (typeof one === "bigint") return `${one}n`;
    if (one instanceof Map || one instanceof Set) return [...one];
    return one;
  }) ?? "undefined";
}

/**
 * Text from outside, so that a terminal shows it and obeys nothing in it: leases, answers and files may hold anything.
 *
 * @module
 */

/** C0 and C1 controls, line and paragraph separators, and what turns the direction of writing around (Unicode TR9). */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** The text in one line: what isn't shown but obeyed stands there as in JSON, like `\u001b`. */
export function printable(text: string): string {
  return text.replace(CONTROLS, escape);
}

/** As {@link printable}; line feeds and tabs stay. */
export function printableLines(text: string): string {
  return text.replace(CONTROLS, (char) => char === "\n" || char === "\t" ? char : escape(char));
}

/** The same value with every text in it printable, those of nested objects and arrays too; keys stay. */
export function printableValue<T>(value: T): T {
  return visit(value) as T;
}

function visit(value: unknown): unknown {
  if (typeof value === "string") return printable(value);
  if (Array.isArray(value)) return value.map(visit);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, visit(item)]));
}

/**
 * The value as JSON: `JSON.stringify` escapes C0 alone, and some terminals obey C1 as well.
 *
 * @param space Of each level; 0: all in one line.
 */
export function printableJson(value: unknown, space = 0): string {
  // Outside of texts there are only the line feeds that `space` makes.
  return printableLines(JSON.stringify(value, null, space));
}

function escape(char: string): string {
  const short = JSON.stringify(char).slice(1, -1);
  return short === char ? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}` : short;
}

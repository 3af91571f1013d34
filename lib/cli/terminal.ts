/**
 * Where a command writes to: how wide it is, whether colours make sense, and questions to a person.
 *
 * @module
 */

/** What can be done with text on a terminal; nothing happens to it elsewhere. */
export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
}

/** An output and its properties. */
export interface Terminal {
  readonly isTerminal: boolean;
  /** Columns; Infinity where the output isn't a terminal and COLUMNS isn't set: files and pipes get whole lines. */
  readonly width: number;
  /** Lines; Infinity where there is no screen. */
  readonly height: number;
  readonly style: Style;
  readonly hasColours: boolean;
}

/** A style without any colours. */
export const PLAIN: Style = styleOf(() => (text) => text);

/** Colours by SGR codes (ECMA-48). */
const COLOURED: Style = styleOf((code) => (text) => text === "" ? "" : `\x1b[${code}m${text}\x1b[0m`);

function styleOf(paint: (code: number) => (text: string) => string): Style {
  return { bold: paint(1), dim: paint(2), good: paint(32), warning: paint(33), bad: paint(31) };
}

/** Stdout. COLUMNS counts before the terminal's own width; NO_COLOR and TERM=dumb switch colours off. */
export function standardOutput(env: (name: string) => string | undefined): Terminal {
  const isTerminal = Deno.stdout.isTerminal();
  const size = isTerminal ? sizeOf() : undefined;
  const asked = Number(env("COLUMNS"));
  const hasColours = isTerminal && !env("NO_COLOR") && env("TERM") !== "dumb";
  return {
    isTerminal,
    width: Number.isInteger(asked) && asked > 0 ? asked : size?.columns ?? Infinity,
    height: size?.rows ?? Infinity,
    style: hasColours ? COLOURED : PLAIN,
    hasColours,
  };
}

/** Undefined for a terminal that doesn't know its size, as a serial one. */
function sizeOf(): { columns: number; rows: number } | undefined {
  try {
    const { columns, rows } = Deno.consoleSize();
    return columns > 0 && rows > 0 ? { columns, rows } : undefined;
  } catch {
    return undefined;
  }
}

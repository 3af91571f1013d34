/**
 * Tables of text in columns, as narrow as they can be and no wider than the terminal.
 *
 * @module
 */
import type { Style } from "./terminal.ts";

/** A column. */
export interface Column {
  readonly title: string;
  /** Numbers end at the right. */
  readonly right?: boolean;
  /** Left out where there is no room, the highest number first; absent: never. */
  readonly drop?: number;
}

/** A cell: its text, and how it looks. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string };

/** Between two columns. */
const GAP = 2;

/** No cell but the last is wider, on no terminal: the longest host name. A longer one would widen every row. */
const MOST = 253;

/** The last column is cut to this at the least. */
const LEAST = 12;

/**
 * The table's lines, the heading first. Columns in which no row has anything are left out. Where the rest is too wide,
 * columns go that may, and the last one is cut.
 *
 * @param width Columns of the terminal; Infinity: nothing is cut.
 */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  { width, style }: { readonly width: number; readonly style: Style },
): string[] {
  const whole = wholeWidths(columns, rows);
  const end = whole.findLastIndex((size) => size > 0);
  const natural = whole.map((size, i) => i === end ? size : Math.min(MOST, size));
  const shown = shownColumns(columns, natural, width);
  const last = shown.at(-1);
  if (last === undefined) return [];
  const widths = [...natural];
  const before = shown.slice(0, -1).reduce((sum, i) => sum + widths[i]! + GAP, 0);
  widths[last] = Math.min(widths[last]!, Math.max(LEAST, width - before));
  const line = (cells: readonly Cell[]) =>
    shown.map((i) => place(cells[i]!, widths[i]!, { right: columns[i]!.right ?? false, isLast: i === last }))
      .join(" ".repeat(GAP)).trimEnd();
  const titles = columns.map(({ title }): Cell => ({ text: title, paint: style.dim }));
  return [titles, ...rows].map(line);
}

/** How wide the table is where nothing is left out or cut. */
export function tableWidth(columns: readonly Column[], rows: readonly (readonly Cell[])[]): number {
  const shown = wholeWidths(columns, rows).filter((size) => size > 0);
  return shown.reduce((sum, size) => sum + size + GAP, -GAP);
}

/** Each column's width; 0 where no row has anything in it. */
function wholeWidths(columns: readonly Column[], rows: readonly (readonly Cell[])[]): number[] {
  return columns.map(({ title }, i) => {
    const longest = rows.reduce((most, row) => Math.max(most, textOf(row[i]!).length), 0);
    return longest === 0 ? 0 : Math.max(longest, title.length);
  });
}

/** The columns that are shown, by index. */
function shownColumns(columns: readonly Column[], natural: readonly number[], width: number): number[] {
  const shown = columns.map((_, i) => i).filter((i) => natural[i]! > 0);
  const need = () =>
    shown.reduce(
      (sum, i, at) => sum + (at === shown.length - 1 ? Math.min(natural[i]!, LEAST) : natural[i]! + GAP),
      0,
    );
  while (need() > width) {
    const [next] = shown.filter((i) => columns[i]!.drop !== undefined)
      .sort((a, b) => columns[b]!.drop! - columns[a]!.drop!);
    if (next === undefined) break;
    shown.splice(shown.indexOf(next), 1);
  }
  return shown;
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}

/** A cell in its width; the last one of a line has no spaces behind it. */
function place(cell: Cell, width: number, { right, isLast }: { right: boolean; isLast: boolean }): string {
  const text = cut(textOf(cell), width);
  const painted = typeof cell === "string" ? text : cell.paint(text);
  const space = " ".repeat(Math.max(0, width - text.length));
  if (right) return space + painted;
  return isLast ? painted : painted + space;
}

/** The text, or its beginning and an ellipsis. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/**
 * Tables for people: plain text with aligned columns, or Markdown.
 *
 * @module
 */

/** A column: its title, and on which side its values stand. */
export interface Column {
  readonly title: string;
  readonly align: "left" | "right";
}

function widths(columns: readonly Column[], rows: readonly (readonly string[])[]): number[] {
  return columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => (row[index] ?? "").length))
  );
}

function pad(text: string, width: number, align: Column["align"]): string {
  return align === "left" ? text.padEnd(width) : text.padStart(width);
}

/** A table with a line under its titles. */
export function plainTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const width = widths(columns, rows);
  const line = (cells: readonly string[]) =>
    columns.map(({ align }, index) => pad(cells[index] ?? "", width[index]!, align)).join("   ").trimEnd();
  const rule = width.map((count) => "─".repeat(count)).join("───");
  return [line(columns.map(({ title }) => title)), rule, ...rows.map(line)].join("\n");
}

/** A table in Markdown, aligned for reading as text too. */
export function markdownTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const width = widths(columns, rows).map((count) => Math.max(count, 3));
  const line = (cells: readonly string[]) =>
    `| ${columns.map(({ align }, index) => pad(cells[index] ?? "", width[index]!, align)).join(" | ")} |`;
  const rule = columns.map(({ align }, index) =>
    align === "left" ? "-".repeat(width[index]!) : `${"-".repeat(width[index]! - 1)}:`
  );
  return [line(columns.map(({ title }) => title)), line(rule), ...rows.map(line)].join("\n");
}

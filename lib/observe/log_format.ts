/**
 * Log lines: one event, one line, as text or as JSON. Pure.
 *
 * @module
 */
import { printable, printableJson } from "./printable.ts";
import { redact, redactText } from "./redact.ts";
import type { LogFields } from "./types.ts";

/** Levels as they stand in a line. */
export type LogLevel = "debug" | "info" | "warning" | "error";

/** One event. */
export interface LogRecord {
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly level: LogLevel;
  /** The part of the program, like `vxlan`; empty for the program itself. */
  readonly part: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** `2026-11-21T07:00:00.000Z info vxlan: message key=value` and a line feed. */
export function formatText(record: LogRecord): string {
  const part = record.part === "" ? "" : `${record.part}: `;
  const time = new Date(record.timestamp).toISOString();
  let line = `${time} ${record.level} ${part}${printable(redactText(record.message))}`;
  for (const [key, raw] of Object.entries(record.fields)) {
    if (raw !== undefined) line += ` ${printable(key)}=${formatValue(redact(key, raw))}`;
  }
  return line + "\n";
}

/** One JSON object and a line feed. The fields stand beside time, level, part and message, which win. */
export function formatJson(record: LogRecord): string {
  const shown = Object.entries(record.fields).map(([key, value]) => [key, redact(key, value)]);
  return printableJson({
    time: new Date(record.timestamp).toISOString(),
    level: record.level,
    ...(record.part === "" ? {} : { part: record.part }),
    message: redactText(record.message),
    ...Object.fromEntries(shown.filter(([key]) => !/^(time|level|part|message)$/.test(String(key)))),
  }) + "\n";
}

function formatValue(value: unknown): string {
  if (typeof value === "string") {
    return printable(value) === value && /^[^\s"=\\]+$/.test(value) ? value : printableJson(value);
  }
  if (typeof value === "object" && value !== null) return printableJson(value);
  return String(value);
}

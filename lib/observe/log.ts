/**
 * The log: LogTape behind the {@link Log} interface, written to stderr.
 *
 * @module
 */
import { configureSync, getLogger, type Logger, type LogRecord as TapeRecord } from "@logtape/logtape";
import { formatJson, formatText, type LogLevel } from "./log_format.ts";
import type { Log, LogFields } from "./types.ts";

/** The first category of everything that this program logs. */
const ROOT = "flanneld";

/** How the log is to be. */
export interface LogOptions {
  readonly format: "text" | "json";
  /** -v: 1 and above log details. */
  readonly verbosity: number;
  /** Takes finished lines; stderr by default. */
  readonly write?: (line: string) => void;
}

/** A log that has parts. */
export interface PartLog extends Log {
  /** The log of a part of the program: its lines carry the name. */
  child(part: string): PartLog;
}

/**
 * Sets up the log for the whole process; the last call counts.
 *
 * Writing is synchronous, so that the last words of a process that ends are not lost.
 */
export function openLog(options: LogOptions): PartLog {
  const write = options.write ?? writeToStderr;
  const format = options.format === "json" ? formatJson : formatText;
  configureSync({
    reset: true,
    sinks: { lines: (record) => write(format(recordOf(record))) },
    loggers: [
      { category: ROOT, sinks: ["lines"], lowestLevel: options.verbosity >= 1 ? "debug" : "info" },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "warning" },
    ],
  });
  return new TapeLog(getLogger(ROOT));
}

class TapeLog implements PartLog {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(message: string, fields?: LogFields): void {
    this.#logger.debug(message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#logger.info(message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#logger.warn(message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#logger.error(message, fields);
  }

  child(part: string): PartLog {
    return new TapeLog(this.#logger.getChild(part));
  }
}

function recordOf(record: TapeRecord) {
  const message = typeof record.rawMessage === "string" ? record.rawMessage : record.message.join("");
  return {
    timestamp: record.timestamp,
    level: record.level as LogLevel,
    part: record.category.slice(1).join("."),
    // As written: LogTape would take braces in it for placeholders.
    message,
    fields: record.properties,
  };
}

const encoder = new TextEncoder();

function writeToStderr(line: string): void {
  let rest = encoder.encode(line);
  try {
    while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
  } catch {
    // Nobody reads any more (a closed pipe): that is no reason to end.
  }
}

/**
 * The log: one line an event, written to stderr.
 *
 * @module
 */
import { formatJson, formatText, type LogLevel, type LogRecord } from "./log_format.ts";
import type { LogTail } from "./log_tail.ts";
import type { Log, LogFields } from "./types.ts";

/** How the log is written. */
export interface LogOptions {
  readonly format: "text" | "json";
  /** -v: 1 and above log details. */
  readonly verbosity: number;
  /** Keeps the last lines, as text whatever the format. */
  readonly tail?: LogTail;
  /** Takes finished lines; stderr by default. */
  readonly write?: (line: string) => void;
}

/** A log that has parts. */
export interface PartLog extends Log {
  /** The log of a part of the program: its lines carry the name. */
  child(part: string): PartLog;
}

/**
 * The log of the program itself; its parts are its children.
 *
 * Writing is synchronous, so that the last words of a process that ends are not lost.
 */
export function openLog({ format, verbosity, tail, write = writeToStderr }: LogOptions): PartLog {
  return new LineLog("", {
    isVerbose: verbosity >= 1,
    write: (record) => {
      const text = tail || format === "text" ? formatText(record) : "";
      write(format === "json" ? formatJson(record) : text);
      tail?.add(text);
    },
  });
}

/** What all parts of a log share. */
interface Sink {
  readonly isVerbose: boolean;
  write(record: LogRecord): void;
}

class LineLog implements PartLog {
  readonly #part: string;
  readonly #sink: Sink;

  constructor(part: string, sink: Sink) {
    this.#part = part;
    this.#sink = sink;
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#sink.isVerbose) this.#write("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write("warning", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write("error", message, fields);
  }

  child(part: string): PartLog {
    return new LineLog(this.#part === "" ? part : `${this.#part}.${part}`, this.#sink);
  }

  #write(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.#sink.write({ timestamp: Date.now(), level, part: this.#part, message, fields });
  }
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

/**
 * What the rest of the program needs of logging and counting, without saying who does it.
 *
 * @module
 */
import type { MetricSpec } from "./metric_spec.ts";

/** Facts that go with a log line: short values, never secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a part of the program writes what people should know. One event, one line. */
export interface Log {
  /** Details for -v 1 and above. */
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  /** Something is wrong and the daemon copes. */
  warn(message: string, fields?: LogFields): void;
  /** Something is wrong and people must act: says how to fix it. */
  error(message: string, fields?: LogFields): void;
}

/** A log that drops everything: for tests and for callers that don't care. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Labels of a metric's series, like `{ reason: "no_peer" }`. */
export type Labels<Name extends string = string> = Readonly<Record<Name, string>>;

/**
 * Where counters, gauges and histograms go. Each is declared once, in its area's metrics.ts (see metric_spec.ts).
 * Cheap enough to call per batch, not per packet.
 */
export interface Metrics {
  /** Adds to a counter. @param by @default 1 */
  count<Name extends string>(spec: MetricSpec<"counter", Name>, labels?: Labels<Name>, by?: number): void;
  /** Sets a counter that somebody else counts, like the kernel. */
  total<Name extends string>(spec: MetricSpec<"counter", Name>, value: number, labels?: Labels<Name>): void;
  /** Sets a gauge. */
  gauge<Name extends string>(spec: MetricSpec<"gauge", Name>, value: number, labels?: Labels<Name>): void;
  /** Adds a value to a histogram. */
  observe<Name extends string>(
    spec: MetricSpec<"histogram", Name>,
    value: number,
    labels?: Labels<Name>,
  ): void;
  /** Has `collect` called before each read-out, for values that are read on demand. */
  onCollect(collect: () => void): Disposable;
}

/** Metrics that nobody reads. */
export const noMetrics: Metrics = {
  count() {},
  total() {},
  gauge() {},
  observe() {},
  onCollect: () => ({ [Symbol.dispose]() {} }),
};

/** How a problem counts. */
export interface ProblemOptions {
  /** The host isn't ready while it lasts. @default false */
  readonly notReady?: boolean;
}

/**
 * Where a part reports what is wrong with it, and that it is over. Readiness, `status`, metrics and the log read it:
 * who reports here writes no log line of its own for the same thing.
 *
 * A key names the part as the log does (`kernel`, `peer filter`). A text says what is wrong and what the daemon does
 * now; it holds no numbers that grow, since how long it lasts is kept here.
 */
export interface ProblemReporter {
  /** Something is wrong from now on. The same key replaces an earlier text; a new text is a warning in the log. */
  set(key: string, text: string, options?: ProblemOptions): void;
  /** Nothing is wrong, but the host isn't ready before this is over. Not logged. */
  wait(key: string, text: string): void;
  /** It is over. @param text What the log says of it, like `reconciled`. */
  clear(key: string, text?: string): void;
}

/** Problems that nobody reads: for tests, and for commands that report by themselves. */
export const noProblems: ProblemReporter = { set() {}, wait() {}, clear() {} };

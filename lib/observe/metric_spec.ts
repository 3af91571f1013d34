/**
 * Declarations of metrics. Each area of the program has its own in a file metrics.ts; docs/metrics.md is made of them
 * (scripts/metrics_table.ts).
 *
 * Names are Prometheus' (https://prometheus.io/docs/practices/naming/): base units, the unit at the end, `_total` for
 * counters.
 *
 * @module
 */

/** What a metric can be. */
export type MetricKind = "counter" | "gauge" | "histogram";

/** One metric. */
export interface MetricSpec<Kind extends MetricKind = MetricKind, Label extends string = string> {
  readonly kind: Kind;
  /** The whole name, as it is read out. */
  readonly name: string;
  readonly help: string;
  /** Names of the labels that each of its series has. */
  readonly labels: readonly Label[];
  /** Upper bounds of a histogram's buckets, in order, without +Inf. */
  readonly buckets?: readonly number[];
}

/** A counter: its name ends in `_total`. */
export function counter<const Label extends string = never>(
  name: `${string}_total`,
  help: string,
  labels: readonly Label[] = [],
): MetricSpec<"counter", Label> {
  return { kind: "counter", name, help, labels };
}

/** A gauge. */
export function gauge<const Label extends string = never>(
  name: string,
  help: string,
  labels: readonly Label[] = [],
): MetricSpec<"gauge", Label> {
  return { kind: "gauge", name, help, labels };
}

/** Seconds: from a netlink round trip to a store that barely answers. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** A histogram of durations. */
export function histogram<const Label extends string = never>(
  name: `${string}_seconds`,
  help: string,
  labels: readonly Label[] = [],
): MetricSpec<"histogram", Label> {
  return { kind: "histogram", name, help, labels, buckets: SECONDS };
}

/** The unit that a name ends in, if it has one. */
export function unitOf(name: string): string | undefined {
  return /_(seconds|bytes|ratio|packets)(_total)?$/.exec(name)?.[1];
}

/**
 * The values of metrics, and their text for Prometheus: text format 0.0.4, or OpenMetrics 1.0 for who asks for it.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * https://prometheus.io/docs/specs/om/open_metrics_spec/
 *
 * @module
 */
import { type MetricSpec, unitOf } from "./metric_spec.ts";
import type { Labels, Metrics } from "./types.ts";

const TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** How metrics are written. */
export type MetricsFormat = "text" | "openmetrics";

/** One series of a metric. */
interface Series {
  readonly labels: Labels;
  /** Of a histogram: the sum of all values. */
  value: number;
  /** Of a histogram: how many values each bucket has got for itself, with the last for those beyond all bounds. */
  readonly counts: number[] | undefined;
}

/** A metric with all its series. */
interface Metric {
  readonly spec: MetricSpec;
  /** By the labels' text. */
  readonly series: Map<string, Series>;
}

/** A read-out. */
export interface MetricsText {
  readonly text: string;
  readonly contentType: string;
}

/** Metrics that can be read out. */
export class MetricsRegistry implements Metrics {
  readonly #metrics = new Map<string, Metric>();
  readonly #collectors = new Set<() => void>();

  count<Name extends string>(spec: MetricSpec<"counter", Name>, labels?: Labels<Name>, by = 1): void {
    this.#series(spec, labels).value += by;
  }

  total<Name extends string>(spec: MetricSpec<"counter", Name>, value: number, labels?: Labels<Name>): void {
    this.#series(spec, labels).value = value;
  }

  gauge<Name extends string>(spec: MetricSpec<"gauge", Name>, value: number, labels?: Labels<Name>): void {
    this.#series(spec, labels).value = value;
  }

  observe<Name extends string>(
    spec: MetricSpec<"histogram", Name>,
    value: number,
    labels?: Labels<Name>,
  ): void {
    const series = this.#series(spec, labels);
    series.value += value;
    const bucket = spec.buckets!.findIndex((bound) => value <= bound);
    series.counts![bucket < 0 ? spec.buckets!.length : bucket]!++;
  }

  onCollect(collect: () => void): Disposable {
    // An object of its own: the same function may be registered twice.
    const entry = () => collect();
    this.#collectors.add(entry);
    return { [Symbol.dispose]: () => void this.#collectors.delete(entry) };
  }

  /** The present value of a series (of a histogram: the sum), or undefined if there is none. */
  value(name: string, labels: Labels = {}): number | undefined {
    return this.#metrics.get(name)?.series.get(seriesKey(labels))?.value;
  }

  /** The sum over all series of a metric; 0 if there is none. */
  sum(name: string): number {
    let sum = 0;
    for (const { value } of this.#metrics.get(name)?.series.values() ?? []) sum += value;
    return sum;
  }

  /** All metrics as text. */
  render(format: MetricsFormat = "text"): MetricsText {
    for (const collect of this.#collectors) collect();
    const lines: string[] = [];
    for (const metric of this.#metrics.values()) renderMetric(metric, format, lines);
    if (format === "openmetrics") lines.push("# EOF");
    const contentType = format === "openmetrics" ? OPEN_METRICS_TYPE : TEXT_TYPE;
    return { text: lines.map((line) => `${line}\n`).join(""), contentType };
  }

  #series(spec: MetricSpec, labels: Labels = {}): Series {
    let metric = this.#metrics.get(spec.name);
    if (!metric) this.#metrics.set(spec.name, metric = { spec, series: new Map() });
    if (metric.spec !== spec) throw new TypeError(`Metric ${spec.name} is declared twice`);
    const key = seriesKey(labels);
    let series = metric.series.get(key);
    if (!series) {
      checkLabels(spec, labels);
      const counts = spec.buckets && new Array<number>(spec.buckets.length + 1).fill(0);
      metric.series.set(key, series = { labels, value: 0, counts });
    }
    return series;
  }
}

/**
 * The format that an Accept field asks for: OpenMetrics where it is named and not refused (`q=0`), which Prometheus
 * prefers, else the text format.
 */
export function formatFor(accept: string | undefined): MetricsFormat {
  for (const part of accept?.split(",") ?? []) {
    const [type = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    if (type !== "application/openmetrics-text") continue;
    if (!parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))) return "openmetrics";
  }
  return "text";
}

function checkLabels(spec: MetricSpec, labels: Labels): void {
  const names = Object.keys(labels).sort().join();
  const wanted = [...spec.labels].sort().join();
  if (names !== wanted) throw new TypeError(`Metric ${spec.name} has the labels "${wanted}", not "${names}"`);
}

function renderMetric({ spec, series }: Metric, format: MetricsFormat, lines: string[]): void {
  const { name, kind, help } = spec;
  const isOpen = format === "openmetrics";
  // OpenMetrics names the family, whose samples have the suffix.
  const family = isOpen && kind === "counter" ? name.replace(/_total$/, "") : name;
  lines.push(`# HELP ${family} ${escape(help, isOpen)}`, `# TYPE ${family} ${kind}`);
  const unit = unitOf(family);
  if (isOpen && unit !== undefined && family.endsWith(`_${unit}`)) lines.push(`# UNIT ${family} ${unit}`);
  for (const one of series.values()) {
    if (one.counts) renderHistogram(spec, one, lines);
    else lines.push(`${name}${formatLabels(one.labels)} ${formatValue(one.value)}`);
  }
}

function renderHistogram(spec: MetricSpec, { labels, value, counts }: Series, lines: string[]): void {
  let count = 0;
  for (const [index, bound] of [...spec.buckets!, Infinity].entries()) {
    count += counts![index]!;
    lines.push(`${spec.name}_bucket${formatLabels({ ...labels, le: formatBound(bound) })} ${count}`);
  }
  lines.push(`${spec.name}_sum${formatLabels(labels)} ${formatValue(value)}`);
  lines.push(`${spec.name}_count${formatLabels(labels)} ${count}`);
}

/** OpenMetrics wants floats in canonical form: `1.0`, not `1`; both formats read it. */
function formatBound(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : formatValue(bound);
}

function seriesKey(labels: Labels): string {
  const names = Object.keys(labels);
  if (names.length === 0) return "";
  return JSON.stringify(names.sort().map((name) => [name, labels[name]]));
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value, true)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** @param quotes Whether quotes are escaped too: in labels, and in OpenMetrics everywhere. */
function escape(text: string, quotes: boolean): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return quotes ? escaped.replaceAll('"', '\\"') : escaped;
}

function formatValue(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}

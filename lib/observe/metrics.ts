/**
 * Counters and gauges, and their text in Prometheus' exposition format 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 *
 * @module
 */
import type { Labels, Metrics } from "./types.ts";

const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Before every name. */
const PREFIX = "flannel_";

/** A metric with all its series. */
interface Metric {
  readonly kind: "counter" | "gauge";
  readonly help: string;
  /** By the labels' text. */
  readonly series: Map<string, { readonly labels: Labels; value: number }>;
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

  count(name: string, help: string, labels: Labels = {}, by = 1): void {
    const series = this.#series("counter", name, help, labels);
    series.value += by;
  }

  gauge(name: string, help: string, value: number, labels: Labels = {}): void {
    this.#series("gauge", name, help, labels).value = value;
  }

  onCollect(collect: () => void): Disposable {
    // An object of its own: the same function may be registered twice.
    const entry = () => collect();
    this.#collectors.add(entry);
    return { [Symbol.dispose]: () => void this.#collectors.delete(entry) };
  }

  /** The present value of a series, or undefined if there is none: for `status` and tests. */
  value(name: string, labels: Labels = {}): number | undefined {
    return this.#metrics.get(name)?.series.get(seriesKey(labels))?.value;
  }

  /** All metrics in Prometheus' text format. */
  render(): MetricsText {
    for (const collect of this.#collectors) collect();
    const lines: string[] = [];
    for (const [name, { kind, help, series }] of this.#metrics) {
      lines.push(`# HELP ${PREFIX}${name} ${escape(help)}`, `# TYPE ${PREFIX}${name} ${kind}`);
      for (const { labels, value } of series.values()) {
        lines.push(`${PREFIX}${name}${formatLabels(labels)} ${formatValue(value)}`);
      }
    }
    return { text: lines.map((line) => `${line}\n`).join(""), contentType: CONTENT_TYPE };
  }

  #series(kind: Metric["kind"], name: string, help: string, labels: Labels) {
    let metric = this.#metrics.get(name);
    if (!metric) this.#metrics.set(name, metric = { kind, help, series: new Map() });
    if (metric.kind !== kind) throw new TypeError(`Metric ${name} is a ${metric.kind}, not a ${kind}`);
    const key = seriesKey(labels);
    let series = metric.series.get(key);
    if (!series) metric.series.set(key, series = { labels, value: 0 });
    return series;
  }
}

function seriesKey(labels: Labels): string {
  const names = Object.keys(labels);
  if (names.length === 0) return "";
  return JSON.stringify(names.sort().map((name) => [name, labels[name]]));
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${escape(value).replaceAll('"', '\\"')}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function formatValue(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}

/**
 * Counters and gauges: kept in plain maps, turned into Prometheus' text by prom-client when somebody asks.
 *
 * @module
 */
import type { Labels, Metrics } from "./types.ts";

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
  async render(): Promise<MetricsText> {
    // 40 ms to load: only where somebody reads metrics.
    const { Counter, Gauge, Registry } = await import("prom-client");
    for (const collect of this.#collectors) collect();
    const registry = new Registry();
    for (const [name, { kind, help, series }] of this.#metrics) {
      const labelNames = [...new Set([...series.values()].flatMap(({ labels }) => Object.keys(labels)))];
      const options = { name: PREFIX + name, help, labelNames, registers: [registry] };
      const metric = kind === "counter" ? new Counter(options) : new Gauge(options);
      for (const { labels, value } of series.values()) metric.inc(labels, value);
    }
    return { text: await registry.metrics(), contentType: registry.contentType };
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

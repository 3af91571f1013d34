/**
 * Counters of the last 15 minutes, drawn by uPlot.
 *
 * @module
 */
/// <reference lib="dom" />
import uPlot from "uplot";
import type { PageSample } from "../events.ts";
import { byId, colour, element, setText } from "./dom.ts";
import { bytes, short } from "./format.ts";
import type { Model } from "./model.ts";

/** One line of a plot. */
interface Line {
  readonly name: string;
  /** Of a counter: what it grew by in a second. Of a gauge: the value. */
  readonly value: (sample: PageSample, before: PageSample, seconds: number) => number;
}

/** One plot. */
interface Plot {
  readonly title: string;
  readonly lines: readonly [Line] | readonly [Line, Line];
  readonly show: (value: number) => string;
  /** The axis reaches at least this far: noise around zero is no mountain. */
  readonly least: number;
}

const rate =
  (name: "receivedBytes" | "sentBytes" | "operations" | "leaseEvents" | "cpuSeconds", scale = 1) =>
  (sample: PageSample, before: PageSample, seconds: number) =>
    // A counter that fell began again.
    Math.max(0, sample[name] - before[name]) / seconds * scale;

const PLOTS: readonly Plot[] = [
  {
    title: "Traffic",
    lines: [{ name: "received", value: rate("receivedBytes") }, { name: "sent", value: rate("sentBytes") }],
    show: (value) => bytes(value, "/s"),
    least: 1000,
  },
  {
    title: "Peers",
    lines: [{ name: "peers", value: ({ peers }) => peers }, {
      name: "problems of this host",
      value: ({ problems }) => problems,
    }],
    show: short,
    least: 4,
  },
  {
    title: "Work per second",
    lines: [{ name: "lease changes", value: rate("leaseEvents") }, {
      name: "kernel entries",
      value: rate("operations"),
    }],
    show: short,
    least: 1,
  },
  {
    title: "flanneld itself",
    lines: [{ name: "memory", value: ({ residentBytes }) => residentBytes / 1e6 }, {
      name: "CPU",
      value: rate("cpuSeconds", 100),
    }],
    show: short,
    least: 10,
  },
];

/** Units of the last plot differ by line. */
const UNITS: Readonly<Record<string, string>> = { memory: " MB", CPU: " %" };

/** All plots. */
export class Plots {
  readonly #model: Model;
  readonly #drawn: { readonly plot: Plot; readonly chart: uPlot; readonly now: HTMLElement[] }[] = [];
  #last = 0;

  constructor(model: Model) {
    this.#model = model;
    this.#make();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#make());
    new ResizeObserver(() => {
      for (const { chart } of this.#drawn) {
        const box = chart.root.parentElement!;
        chart.setSize({ width: box.clientWidth, height: box.clientHeight });
      }
    }).observe(byId("plots", HTMLElement));
  }

  /** Colours are uPlot's options: another scheme makes them anew. */
  #make(): void {
    for (const { chart } of this.#drawn.splice(0)) chart.destroy();
    const boxes = PLOTS.map((plot) => {
      const draw = element("div", "draw");
      const now = plot.lines.map(() => element("b"));
      const keys = plot.lines.map(({ name }, index) =>
        element("span", "", element("i", `key ${index === 0 ? "one" : "two"}`), `${name} `, now[index]!)
      );
      return {
        plot,
        draw,
        now,
        box: element("div", "plot", element("h3", "", plot.title), element("p", "", ...keys), draw),
      };
    });
    byId("plots", HTMLElement).replaceChildren(...boxes.map(({ box }) => box));
    for (const { plot, draw, now } of boxes) {
      this.#drawn.push({
        plot,
        now,
        chart: new uPlot(optionsOf(plot, draw), [[], ...plot.lines.map(() => [])], draw),
      });
    }
    this.#last = 0;
    this.draw();
  }

  draw(): void {
    const { samples } = this.#model;
    const last = samples.at(-1)?.at ?? 0;
    if (last === this.#last) return;
    this.#last = last;
    const times = samples.slice(1).map(({ at }) => at / 1000);
    for (const { plot, chart, now } of this.#drawn) {
      const series = plot.lines.map(({ value }) =>
        samples.slice(1).map((sample, index) => {
          const before = samples[index]!;
          return value(sample, before, Math.max(0.001, (sample.at - before.at) / 1000));
        })
      );
      chart.setData([times, ...series]);
      chart.setScale("x", { min: last / 1000 - 900, max: last / 1000 });
      plot.lines.forEach(({ name }, index) => {
        const value = series[index]?.at(-1);
        setText(now[index]!, value === undefined ? "" : `${plot.show(value)}${UNITS[name] ?? ""}`);
      });
    }
  }
}

function optionsOf(plot: Plot, box: HTMLElement): uPlot.Options {
  const axis = {
    stroke: colour("soft"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
  const strokes = [colour("fast"), colour("reserved")];
  return {
    width: Math.max(100, box.clientWidth),
    height: Math.max(80, box.clientHeight),
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 16, 0, 0],
    scales: { y: { range: (_, __, max) => [0, Math.max(plot.least, (max ?? 0) * 1.15)] } },
    axes: [
      { ...axis, grid: { show: false }, size: 24, values: (_, times) => times.map(clock), space: 70 },
      { ...axis, size: 64, space: 34, values: (_, values) => values.map(plot.show) },
    ],
    series: [
      {},
      ...plot.lines.map((_, index) => ({ stroke: strokes[index]!, width: 1.75, points: { show: false } })),
    ],
  };
}

/** `16:05`. */
function clock(seconds: number): string {
  return new Date(seconds * 1000).toTimeString().slice(0, 5);
}

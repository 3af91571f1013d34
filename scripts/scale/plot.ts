/**
 * A plot of lines as SVG, readable on light and dark pages.
 *
 * @module
 */
import type { Line, Plot } from "./types.ts";

const WIDTH = 640, HEIGHT = 300;
const LEFT = 60, RIGHT = 150, TOP = 20, BOTTOM = 45;
const COLOURS = ["#3b82f6", "#f97316", "#10b981", "#a855f7"];
/** Marks on each axis. */
const TICKS = 4;

/** The next higher of 1, 2, 2.5 and 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value)!;
}

/** The plot's text. */
export function renderPlot(plot: Plot): string {
  const points = plot.lines.flatMap((line) => line.points);
  const xMax = roundUp(Math.max(1e-9, ...points.map(([x]) => x)));
  const yMax = roundUp(Math.max(1e-9, ...points.map(([, y]) => y)));
  const x = (value: number) => LEFT + (value / xMax) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / yMax) * (HEIGHT - TOP - BOTTOM);
  const text = (at: string, anchor: string, words: string) =>
    `<text ${at} text-anchor="${anchor}">${words}</text>`;
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => i / TICKS).flatMap((share) => [
    `<path d="M${LEFT} ${y(share * yMax)}H${WIDTH - RIGHT}" stroke="#8884"/>`,
    text(`x="${LEFT - 8}" y="${y(share * yMax) + 4}"`, "end", (share * yMax).toLocaleString("en")),
    text(`x="${x(share * xMax)}" y="${HEIGHT - BOTTOM + 18}"`, "middle", (share * xMax).toLocaleString("en")),
  ]);
  const line = ({ label, points }: Line, index: number) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ");
    const [endX, endY] = points.at(-1) ?? [0, 0];
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<text x="${x(endX) + 8}" y="${y(endY) + 4}" style="fill:${colour}">${label}</text>`,
    ];
  };
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<style>text{fill:#777}</style>`,
    ...ticks,
    text(`x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}"`, "middle", plot.xLabel),
    text(`x="14" y="${TOP}"`, "start", plot.yLabel),
    ...plot.lines.flatMap(line),
    "</svg>\n",
  ].join("\n");
}

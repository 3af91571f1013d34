/**
 * A pool map as an SVG picture: its geometry and words, which the page shares, and a file of its own. Pure.
 *
 * @module
 */
import { countOf, type MapCell, type PoolGrid, type SubnetState } from "./pool_grid.ts";

/** Of a cell with the gap after it, and of the gap, in user units. */
export const CELL = 16, GAP = 3;

/** What each state is called. */
export const STATE_NAMES: Readonly<Record<SubnetState, string>> = {
  own: "this host",
  used: "used",
  reserved: "reserved: never expires",
  expiring: "expiring: not renewed when it was due",
  free: "free",
};

/** The colours of a file of its own, on white. */
const COLOURS: Readonly<Record<SubnetState, string>> = {
  own: "#134e4a",
  used: "#4aa39a",
  reserved: "#5b6fb5",
  expiring: "#d08a16",
  free: "#e6ebea",
};

/** Width and height of a map. */
export function sizeOf({ columns, cells }: PoolGrid): readonly [number, number] {
  return [columns * CELL - GAP, Math.ceil(cells.length / columns) * CELL - GAP];
}

/** Where a cell stands. */
export function placeOf(index: number, columns: number): { readonly x: number; readonly y: number } {
  return { x: (index % columns) * CELL, y: Math.floor(index / columns) * CELL };
}

/** What a cell says: subnet, state, whose. */
export function cellTitle({ label, state, holders, leases, count }: MapCell): string {
  const more = leases > holders.length ? ` and ${leases - holders.length} more` : "";
  const what = count > 1 ? `${count} taken` : STATE_NAMES[state].replace(/:.*/, "");
  const whose = holders.length > 0 && !(state === "own" && count === 1)
    ? `, ${holders.join(", ")}${more}`
    : "";
  return `${label}: ${what}${whose}`;
}

/** The map in words. */
export function describePool({ counts, total, perCell, subnetLength }: PoolGrid): string {
  const taken = total - counts.free;
  const parts = [
    `${countOf(total, "subnet")} of /${subnetLength}`,
    `${taken.toLocaleString("en-US")} taken`,
    ...counts.reserved > 0n ? [`${counts.reserved.toLocaleString("en-US")} of them reserved`] : [],
    ...counts.expiring > 0n ? [`${counts.expiring.toLocaleString("en-US")} expiring`] : [],
    `${counts.free.toLocaleString("en-US")} free`,
    ...perCell > 1n ? [`a square is ${countOf(perCell, "subnet")}`] : [],
  ];
  return parts.join(", ");
}

/** Text size and room around everything, in user units. */
const TEXT = 14, PAD = 20;

/** The maps of all families, one below the other, as a file. */
export function poolSvg(maps: readonly PoolGrid[], title: string): string {
  const width = Math.max(640, ...maps.map((map) => sizeOf(map)[0] + 2 * PAD));
  let y = PAD + TEXT;
  const body: string[] = [`<text class="title" x="${PAD}" y="${y}">${escape(title)}</text>`];
  y += TEXT;
  for (const map of maps) {
    y += TEXT;
    body.push(`<text x="${PAD}" y="${y}">${escape(`${map.network}: ${describePool(map)}`)}</text>`);
    y += TEXT;
    body.push(
      `<g transform="translate(${PAD} ${y})">`,
      ...map.cells.map((cell, index) => cellOf(cell, index, map)),
      "</g>",
    );
    y += sizeOf(map)[1] + TEXT;
  }
  y += TEXT;
  body.push(legend(y));
  const height = y + PAD;
  const description = maps.map((map) => `${map.network}: ${describePool(map)}.`).join(" ");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title description">
<title id="title">${escape(title)}</title>
<desc id="description">${escape(description)}</desc>
<style>text{font:${TEXT}px system-ui,sans-serif;fill:#17211f}.title{font-weight:600;font-size:${
    TEXT + 3
  }px}.free{stroke:#d3dad8}${
    Object.entries(COLOURS).map(([state, value]) => `.${state}{fill:${value}}`).join("")
  }</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${body.join("\n")}
</svg>
`;
}

function cellOf(cell: MapCell, index: number, { columns }: PoolGrid): string {
  const { x, y } = placeOf(index, columns);
  const size = CELL - GAP;
  return `<rect class="${cell.state}" x="${x}" y="${y}" width="${size}" height="${size}" rx="2"><title>${
    escape(cellTitle(cell))
  }</title></rect>`;
}

function legend(y: number): string {
  let x = PAD;
  return (Object.keys(STATE_NAMES) as SubnetState[]).map((state) => {
    const name = STATE_NAMES[state].replace(/:.*/, "");
    const at = x;
    x += 36 + name.length * 8;
    return `<rect class="${state}" x="${at}" y="${y - 11}" width="12" height="12" rx="2"/><text x="${
      at + 18
    }" y="${y}">${name}</text>`;
  }).join("\n");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}

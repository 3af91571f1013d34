/**
 * What probes found, as a table and sentences.
 *
 * @module
 */
import { FAMILIES } from "../net/family.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import type { ProbeTarget } from "../probe/target.ts";
import type { FamilyView, PathView, ProbeView, Severity } from "../probe/types.ts";
import { printable, printableLines } from "../observe/printable.ts";
import type { Terminal } from "./terminal.ts";
import { type Cell, type Column, tableLines, tableWidth } from "./text_table.ts";

type View = Pick<Terminal, "width" | "style">;

/** A peer and what was found. */
export interface Probed {
  readonly target: ProbeTarget;
  readonly view: ProbeView;
}

/** Where there is little room, the peer's subnet goes first: the sentences below name it too. */
const COLUMNS: readonly Column[] = [
  { title: "PEER" },
  { title: "SUBNET", drop: 3 },
  { title: "PATH", drop: 1 },
  { title: "OVERLAY ms", right: true },
  { title: "LOSS", right: true },
  { title: "MTU", right: true },
  { title: "UNDERLAY ms", right: true },
  { title: "LOSS", right: true },
  { title: "MTU", right: true, drop: 2 },
  { title: "VERDICT" },
];
const WORDS: Readonly<Record<Severity, string>> = {
  ok: "ok",
  warning: "warning",
  fault: "FAULT",
  unknown: "?",
};

/** A peer in one family. */
interface Row {
  readonly host: string;
  readonly subnet: Prefix;
  readonly family: FamilyView;
}

/** A row for each peer and family, sorted by subnet; then what isn't well, in sentences. */
export function probeTable(probed: readonly Probed[], view: View): string {
  const rows = probed.flatMap(({ target, view }) =>
    view.families.map((family): Row => ({
      family,
      subnet: target.lease.subnets[family.family]!,
      host: target.name ?? family.underlay.target ?? target.key,
    }))
  ).sort(bySubnet);
  const whole = rows.map((row) => cellsOf(row, tripsOf, view));
  const isWide = tableWidth(COLUMNS, whole) <= view.width;
  const lines = tableLines(COLUMNS, isWide ? whole : rows.map((row) => cellsOf(row, medianOf, view)), view);
  const notes = rows.flatMap(explain).map(printableLines);
  const trips = isWide
    ? "Round trips are min/p50/p99 in milliseconds."
    : "Round trips are medians in milliseconds; a wider terminal shows more.";
  return [...lines, "", ...notes, trips].join("\n");
}

function bySubnet({ subnet: a }: Row, { subnet: b }: Row): number {
  if (a.family !== b.family) return FAMILIES.indexOf(a.family) - FAMILIES.indexOf(b.family);
  return a.base < b.base ? -1 : a.base > b.base ? 1 : 0;
}

type Trips = NonNullable<PathView["rttMs"]>;

function tripsOf({ min, p50, p99 }: Trips): string {
  return [min, p50, p99].map(milliseconds).join("/");
}

function medianOf({ p50 }: Trips): string {
  return milliseconds(p50);
}

function cellsOf({ host, subnet, family }: Row, shown: (trips: Trips) => string, { style }: View): Cell[] {
  const { path, overlay, underlay, verdict } = family;
  const { severity, code } = verdict;
  const text = code.startsWith(WORDS[severity]) ? code : `${WORDS[severity]}: ${code}`;
  const paint = { ok: style.good, warning: style.warning, fault: style.bad, unknown: style.dim }[severity];
  const sides = [overlay, underlay].flatMap((side) => pathCells(side, shown));
  return [printable(host), formatPrefix(subnet), path, ...sides, { text, paint }];
}

function pathCells({ rttMs, sent, received, mtu }: PathView, shown: (trips: Trips) => string): string[] {
  const loss = sent === 0 ? "-" : `${Math.round((1 - received / sent) * 100)}%`;
  return [rttMs ? shown(rttMs) : "-", loss, mtu === undefined ? "-" : String(mtu)];
}

/** Three digits that count: 0.07, 1.23, 45.6, 1203. */
function milliseconds(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function explain({ host, subnet, family }: Row): string[] {
  const { severity, text, evidence, remedy } = family.verdict;
  const note = family.overlay.note;
  if (severity === "ok" && note === undefined) return [];
  return [
    `${host} ${formatPrefix(subnet)}: ${text}.`,
    ...severity === "ok" ? [] : evidence.map((fact) => `  seen: ${fact}`),
    ...note === undefined ? [] : [`  note: ${note}`],
    ...remedy === undefined || severity === "ok" ? [] : [`  try:  ${remedy}`],
    "",
  ];
}

/**
 * What probes found, as a table and sentences.
 *
 * @module
 */
import { FAMILIES } from "../net/family.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import type { ProbeTarget } from "../probe/target.ts";
import type { FamilyView, PathView, ProbeView, Severity } from "../probe/types.ts";

/** A peer and what was found. */
export interface Probed {
  readonly target: ProbeTarget;
  readonly view: ProbeView;
}

const HEAD = ["PEER", "SUBNET", "PATH", "OVERLAY ms", "LOSS", "MTU", "UNDERLAY ms", "LOSS", "MTU", "VERDICT"];
/** Columns of numbers, which end at the right. */
const RIGHT: ReadonlySet<number> = new Set([3, 4, 5, 6, 7, 8]);
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
export function probeTable(probed: readonly Probed[]): string {
  const rows = probed.flatMap(({ target, view }) =>
    view.families.map((family): Row => ({
      family,
      subnet: target.lease.subnets[family.family]!,
      host: target.name ?? family.underlay.target ?? target.key,
    }))
  ).sort(bySubnet);
  const lines = align([HEAD, ...rows.map(cellsOf)]);
  const notes = rows.flatMap(explain);
  const trips = "Round trips are min/p50/p99 in milliseconds.";
  return [...lines, "", ...notes, trips].join("\n");
}

function bySubnet({ subnet: a }: Row, { subnet: b }: Row): number {
  if (a.family !== b.family) return FAMILIES.indexOf(a.family) - FAMILIES.indexOf(b.family);
  return a.base < b.base ? -1 : a.base > b.base ? 1 : 0;
}

function cellsOf({ host, subnet, family }: Row): string[] {
  const { path, overlay, underlay, verdict } = family;
  const { severity, code } = verdict;
  const word = code === WORDS[severity] ? code : `${WORDS[severity]}: ${code}`;
  return [host, formatPrefix(subnet), path, ...pathCells(overlay), ...pathCells(underlay), word];
}

function pathCells({ rttMs, sent, received, mtu }: PathView): string[] {
  const trips = rttMs ? [rttMs.min, rttMs.p50, rttMs.p99].map(milliseconds).join("/") : "-";
  const loss = sent === 0 ? "-" : `${Math.round((1 - received / sent) * 100)}%`;
  return [trips, loss, mtu === undefined ? "-" : String(mtu)];
}

/** Three digits that count: 0.07, 1.23, 45.6, 1203. */
function milliseconds(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) =>
      RIGHT.has(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    ).join("  ").trimEnd()
  );
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

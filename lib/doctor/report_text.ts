/**
 * Findings as text for people and as JSON for programs.
 *
 * @module
 */
import { wrap } from "../observe/wrap.ts";
import type { Json, JsonObject } from "../config/types.ts";
import { printableValue } from "../observe/printable.ts";
import { countBySeverity, worstOf } from "./examine.ts";
import { type Check, type CheckResult, count, type Finding, SEVERITIES, type Severity } from "./types.ts";

/** Version of the JSON's form: a higher one where a field changes or goes. Fields may be added at any time. */
const SCHEMA_VERSION = 1;

/** What stands at the front of a line. */
const LABELS: Readonly<Record<Severity, string>> = {
  ok: "ok",
  note: "note",
  warning: "warn",
  fault: "FAULT",
};

/** SGR parameters (ECMA-48): green, cyan, yellow, bold red. */
const COLOURS: Readonly<Record<Severity, string>> = { ok: "32", note: "36", warning: "33", fault: "1;31" };

/** How text is shown. */
interface TextStyle {
  /** Columns of the terminal; Infinity: lines aren't broken. */
  readonly width: number;
  readonly colour: boolean;
}

/** All findings, the worst last: that is what stands above the prompt. */
export function formatFindings(results: readonly CheckResult[], style: TextStyle): string {
  const all = results.flatMap(({ check, findings }) =>
    findings.map((finding) => ({ check, finding: printableValue(finding) }))
  );
  const nameWidth = Math.max(0, ...all.map(({ check }) => check.name.length));
  const lines: string[] = [];
  for (const severity of SEVERITIES) {
    for (const { check, finding } of all) {
      if (finding.severity === severity) lines.push(...findingLines(check, finding, nameWidth, style));
    }
  }
  lines.push(...leftOutLines(results), "", summary(results));
  return lines.join("\n");
}

function findingLines(
  { name, explains }: Check,
  finding: Finding,
  nameWidth: number,
  style: TextStyle,
): string[] {
  const { severity, text, remedy = [] } = finding;
  const evidence = severity === "ok" && !explains ? [] : finding.evidence ?? [];
  const label = LABELS[severity].padEnd(5);
  const shown = style.colour ? `\x1b[${COLOURS[severity]}m${label}\x1b[0m` : label;
  const indent = " ".repeat(label.length + nameWidth + 4);
  const room = Math.max(30, style.width - indent.length);
  const [first = "", ...rest] = wrap(text, room);
  return [
    `${shown}  ${name.padEnd(nameWidth)}  ${first}`,
    ...rest.map((line) => indent + line),
    ...evidence.flatMap((line) => wrap(line, room - 2).map((part) => `${indent}  ${part}`)),
    // Commands are pasted: they are never broken.
    ...remedy.map((command) => `${indent}  fix: ${command}`),
  ];
}

function leftOutLines(results: readonly CheckResult[]): string[] {
  const byReason = Map.groupBy(
    results.filter(({ leftOut }) => leftOut !== undefined),
    ({ leftOut }) => leftOut!,
  );
  return [...byReason].map(([reason, left]) =>
    `Left out (${reason}): ${left.map(({ check }) => check.name).join(", ")}`
  );
}

function summary(results: readonly CheckResult[]): string {
  const { fault, warning, note, ok } = countBySeverity(results);
  const counts = [count(fault, "fault"), count(warning, "warning"), count(note, "note"), `${ok} ok`];
  return counts.join(", ");
}

/** The same for programs; docs/observing.md documents it. */
export function findingsJson(results: readonly CheckResult[], version: string): JsonObject {
  return {
    schemaVersion: SCHEMA_VERSION,
    version,
    time: new Date().toISOString(),
    severity: worstOf(results),
    counts: countBySeverity(results),
    checks: results.map(({ check, findings, leftOut, elapsedMs }): Json => ({
      name: check.name,
      group: check.group,
      looksAt: check.looksAt,
      severity: worstOf([{ check, findings, elapsedMs }]),
      ...(leftOut === undefined ? {} : { leftOut }),
      elapsedMs,
      findings: findings.map(({ severity, text, evidence = [], remedy = [] }): Json => ({
        ...{ severity, text, evidence, remedy },
      })),
    })),
  };
}

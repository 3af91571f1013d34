/**
 * What a fault run prints.
 *
 * @module
 */
import { type Column, markdownTable } from "../demo/table.ts";
import type { PlannedFault } from "./fault.ts";
import { isHealed, isPassed, type RoundResult } from "./round.ts";

const COLUMNS: readonly Column[] = [
  { title: "fault", align: "left" },
  { title: "times", align: "right" },
  { title: "median s", align: "right" },
  { title: "worst s", align: "right" },
  { title: "outage alone s", align: "right" },
  { title: "lost", align: "left" },
];

function seconds(value: number | undefined): string {
  return value === undefined ? "never" : value.toFixed(1);
}

/** The middle value, the lower of two; undefined of none. */
export function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}

/** One fault of a round, as `h2 daemon SIGSTOP 4.2 s`. */
export function describeFault({ fault, host, lasts }: PlannedFault): string {
  const place = fault.claims === "store" || fault.claims === "every daemon" ? "" : `h${host + 1} `;
  return `${place}${fault.name}${lasts === 0 ? "" : ` ${(lasts / 1000).toFixed(1)} s`}`;
}

/** One line about a round. */
export function describeRound(number: number, result: RoundResult): string {
  const { planned, pingSeconds, stateSeconds, gapSeconds } = result;
  const times = `pings ${seconds(pingSeconds)} s, state ${seconds(stateSeconds)} s, outage ${
    seconds(gapSeconds)
  } s`;
  return `${isPassed(result) ? "ok  " : "FAIL"} ${number}: ${
    planned.map(describeFault).join(" + ")
  }: ${times}`;
}

/** What rounds lost, in a few words. */
function lost(results: readonly RoundResult[]): string {
  const parts = [
    [results.filter((result) => !isHealed(result)).length, "never healed"],
    [results.filter((result) => isHealed(result) && result.faults.length > 0).length, "late"],
    [results.flatMap(({ ends }) => ends).length, "daemons ended"],
  ] as const;
  return parts.filter(([count]) => count > 0).map(([count, what]) => `${what}: ${count}`).join(", ") ||
    "nothing";
}

function row(name: string, results: readonly RoundResult[]): string[] {
  const times = results.map(({ pingSeconds }) => pingSeconds ?? Infinity);
  const alone = results.filter(({ planned }) => planned.length === 1).map(({ gapSeconds }) => gapSeconds);
  const text = (value: number | undefined) => value === undefined ? "" : seconds(value);
  const pingText = (value: number | undefined) => value === Infinity ? "never" : text(value);
  return [
    name,
    `${results.length}`,
    pingText(median(times)),
    pingText(Math.max(...times)),
    text(median(alone)),
    lost(results),
  ];
}

/** The table at the end: a row for each fault that came, and one for all rounds. */
export function resultTable(names: readonly string[], results: readonly RoundResult[]): string {
  const rows = names.flatMap((name) => {
    const its = results.filter(({ planned }) => planned.some(({ fault }) => fault.name === name));
    return its.length === 0 ? [] : [row(name, its)];
  });
  return markdownTable(COLUMNS, results.length === 0 ? rows : [...rows, row("all rounds", results)]);
}

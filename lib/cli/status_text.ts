/**
 * The status document for people: is this host well, its lease, the store, the peers. Pure.
 *
 * @module
 */
import { wrap } from "../observe/wrap.ts";
import type { PeerStatus, PeerTable, ProblemStatus, StatusDocument } from "../status/document.ts";
import { duration, secondsSince } from "./durations.ts";
import type { Terminal } from "./terminal.ts";
import { type Cell, type Column, tableLines } from "./text_table.ts";

/** The whole page. */
export function statusText(status: StatusDocument, terminal: Pick<Terminal, "width" | "style">): string {
  const sections = [
    healthLines(status, terminal),
    factLines(status, terminal),
    peerLines(status, terminal),
  ];
  return sections.filter((lines) => lines.length > 0).map((lines) => lines.join("\n")).join("\n\n");
}

type View = Pick<Terminal, "width" | "style">;

/** Ready or not; what is wrong; what to do. */
function healthLines(status: StatusDocument, view: View): string[] {
  const { style } = view;
  const { ready, notReady, problems, host } = status;
  const now = Date.parse(status.time);
  const verdict = ready
    ? problems.length === 0
      ? style.good("ready")
      : style.warning(`ready, with ${count(problems.length, "problem")}`)
    : style.bad("not ready");
  const lines = [`${style.bold(host.name)} is ${verdict}`];
  const known = new Map(problems.map((problem) => [problem.problem, problem]));
  for (const reason of notReady) {
    const problem = known.get(reason);
    lines.push(...entry(style.bad("not ready"), "not ready", reason, { view, since: sinceOf(problem, now) }));
    known.delete(reason);
  }
  for (const problem of known.values()) {
    lines.push(
      ...entry(style.warning("problem"), "problem", problem.problem, { view, since: sinceOf(problem, now) }),
    );
  }
  if (!ready || problems.length > 0) {
    lines.push(...entry(style.dim("look"), "look", "flanneld doctor, journalctl -u flanneld", { view }));
  }
  return lines;
}

function sinceOf(problem: ProblemStatus | undefined, now: number): string {
  return problem ? `for ${duration(secondsSince(problem.since, now))}` : "";
}

/** Labels end here. */
const LABEL = 12;

/** A labelled text, wrapped. @param painted The label as it is shown; `label` is its text. */
function entry(
  painted: string,
  label: string,
  text: string,
  { view, since = "" }: { view: View; since?: string },
): string[] {
  const [first = "", ...rest] = wrap(since === "" ? text : `${text} (${since})`, view.width - LABEL);
  const indent = " ".repeat(LABEL);
  return [
    `  ${painted}${" ".repeat(LABEL - 2 - label.length)}${first}`,
    ...rest.map((line) => indent + line),
  ];
}

/** Lease, store, interface, daemon. */
function factLines(status: StatusDocument, view: View): string[] {
  const now = Date.parse(status.time);
  const { lease, store, mtu, interface: external, firewall } = status;
  const facts: [string, string][] = [];
  if (lease) {
    facts.push(["lease", `${lease.subnets.join(", ")}, ${typeOf(status)}, MTU ${mtu}`]);
    const renewed = lease.renewedAt === null
      ? ""
      : `, renewed ${duration(secondsSince(lease.renewedAt, now))} ago`;
    facts.push([
      "",
      lease.secondsLeft === null ? "doesn't expire" : `expires in ${duration(lease.secondsLeft)}${renewed}`,
    ]);
  }
  if (external) {
    const { name, addresses, publicIps } = external;
    const as = publicIps.join() === addresses.join() ? "" : `, published as ${publicIps.join(", ")}`;
    facts.push(["interface", `${name}, ${addresses.join(", ")}${as}`]);
  }
  if (store) {
    const { description, connected, forSeconds, revision } = store;
    const state = connected ? "connected" : "no answer";
    facts.push([
      "store",
      `${description}, ${state} for ${duration(forSeconds)}, revision ${revision || "-"}`,
    ]);
    if (!connected && store.lastError !== null) facts.push(["", store.lastError]);
  }
  if (firewall) facts.push(["firewall", firewall]);
  facts.push([
    "daemon",
    `flanneld ${status.version}, started ${duration(secondsSince(status.startedAt, now))} ago`,
  ]);
  return facts.flatMap(([label, text]) => entry(view.style.dim(label), label, text, { view }));
}

function typeOf({ config }: StatusDocument): string {
  const backend = config?.["Backend"] as { readonly Type?: string } | undefined;
  return backend?.Type ?? "unknown backend";
}

/** How many there are and how they are reached, and the table. */
function peerLines({ peers, time }: StatusDocument, view: View): string[] {
  if (!peers) return [];
  const { table, count: total, malformed, refused } = peers;
  const { style } = view;
  const reached = Object.entries(table?.paths ?? {}).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([path, number]) => `${number.toLocaleString("en-US")} ${path}`);
  const lines = [
    [
      style.bold(count(total, "peer")),
      ...reached.length > 0 ? [`: ${reached.join(", ")}`] : [],
      ...table && table.withProblem > 0
        ? [`; ${style.warning(`${table.withProblem.toLocaleString("en-US")} with a problem`)}`]
        : [],
    ].join(""),
  ];
  if (table) lines.push(...tableRows(table, Date.parse(time), view));
  for (const { key, reason } of refused) {
    lines.push(...entry(style.warning("refused"), "refused", `${key}: ${reason}`, { view }));
  }
  if (malformed > 0) {
    const text = `${count(malformed, "key")} of the store ${
      malformed === 1 ? "is no lease" : "are no leases"
    }: flanneld leases list`;
    lines.push(...entry(style.warning("malformed"), "malformed", text, { view }));
  }
  return lines;
}

const COLUMNS: readonly Column[] = [
  { title: "SUBNET" },
  { title: "HOST", drop: 2 },
  { title: "ADDRESS" },
  { title: "PATH" },
  { title: "HANDSHAKE", drop: 3 },
  { title: "RTT ms", right: true },
  { title: "LOSS", right: true },
  { title: "CHANGED", drop: 4 },
  { title: "PROBLEM" },
];

function tableRows(table: PeerTable, now: number, view: View): string[] {
  const { rows, omitted, withProblem } = table;
  const lines = tableLines(COLUMNS, rows.map((row) => cellsOf(row, now, view)), view);
  if (omitted === 0) return lines;
  const hidden = Math.max(0, withProblem - rows.length);
  const what = hidden === 0
    ? "without a problem"
    : `not shown, ${hidden.toLocaleString("en-US")} of them with a problem`;
  return [
    ...lines,
    view.style.dim(`${count(omitted, rows.length > 0 ? "other" : "peer")} ${what}; -peers lists all`),
  ];
}

function cellsOf(row: PeerStatus, now: number, { style }: View): Cell[] {
  const { probe, problem, lastHandshake, changedAt } = row;
  const ago = (time: string) => duration(secondsSince(time, now));
  const loss = probe ? `${Math.round(probe.loss * 100)}%` : "";
  return [
    row.subnets.join(","),
    row.host,
    row.publicIps.join(","),
    row.awaited ? "reserved" : row.paths.length > 0 ? row.paths.join("+") : { text: "-", paint: style.bad },
    lastHandshake === undefined ? "" : lastHandshake === null ? "never" : `${ago(lastHandshake)} ago`,
    probe ? probe.rttMs === null ? "-" : milliseconds(probe.rttMs) : "",
    probe && probe.loss > 0 ? { text: loss, paint: style.bad } : loss,
    changedAt === null ? "" : `${ago(changedAt)} ago`,
    { text: problem ?? "", paint: row.paths.length > 0 ? style.warning : style.bad },
  ];
}

/** Three digits that count. */
function milliseconds(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** `1 peer`, `20,000 peers`. */
function count(number: number, noun: string): string {
  const text = number.toLocaleString("en-US");
  return `${text} ${noun}${number === 1 ? "" : "s"}`;
}

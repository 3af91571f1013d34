/**
 * Leases and pools for people, and as CSV. Pure.
 *
 * @module
 */
import { duration, secondsSince } from "./durations.ts";
import type { LeaseDocument, LeasesDocument, PoolDocument } from "./leases_document.ts";
import { wrap } from "../observe/wrap.ts";
import type { Terminal } from "./terminal.ts";
import { type Cell, type Column, tableLines } from "./text_table.ts";

type View = Pick<Terminal, "width" | "style">;

const COLUMNS: readonly Column[] = [
  { title: "SUBNET" },
  { title: "HOST", drop: 2 },
  { title: "ADDRESS" },
  { title: "BACKEND", drop: 3 },
  { title: "EXPIRES" },
  { title: "RENEWED", drop: 4 },
  { title: "AGE", drop: 1 },
  { title: "FAULT" },
];

/** Less left than this is shown as a warning, in seconds. */
const SOON = 3600;

/** The table, and the pools below it. */
export function listText(document: LeasesDocument, view: View): string {
  const { leases, pools } = document;
  const now = Date.parse(document.time);
  const rows = leases.map((lease) => cellsOf(lease, now, view));
  const table = rows.length === 0 ? ["No leases."] : tableLines(COLUMNS, rows, view);
  return [...table, "", ...poolSection(pools, view)].join("\n");
}

function cellsOf(lease: LeaseDocument, now: number, { style }: View): Cell[] {
  const { subnets, key, renewedSecondsAgo, createdAt } = lease;
  return [
    subnets.length > 0 ? subnets.join(",") : JSON.stringify(key),
    lease.host,
    lease.publicIps.join(","),
    lease.backendType ?? "",
    expiry(lease, style),
    renewedSecondsAgo === null ? "" : `${duration(renewedSecondsAgo)} ago`,
    createdAt === null ? "" : duration(secondsSince(createdAt, now)),
    { text: lease.fault ?? "", paint: style.warning },
  ];
}

/** A word for what doesn't expire, else the time that is left. */
function expiry({ state, secondsLeft }: LeaseDocument, style: View["style"]): Cell {
  if (state === "reserved" || state === "assigned") return state;
  if (secondsLeft === null) return "not known";
  return { text: duration(secondsLeft), paint: secondsLeft < SOON ? style.warning : (text) => text };
}

/** A line for each family, and its largest free range. */
export function poolText({ pools }: LeasesDocument, view: Pick<View, "width">): string {
  return poolSection(pools, view).join("\n");
}

/** Broken at the width; what goes on in another line is indented. */
function poolSection(pools: readonly PoolDocument[], { width }: Pick<View, "width">): string[] {
  return [...poolLines(pools), ...notAsked(pools)].flatMap((line) => {
    const [, indent = "", text = ""] = /^( *)(.*)$/.exec(line)!;
    return wrap(text, width - indent.length - 4).map((part, at) => `${indent}${at > 0 ? "    " : ""}${part}`);
  });
}

/** Says how to get what is missing, where something is. */
function notAsked(pools: readonly PoolDocument[]): string[] {
  if (pools.every(({ expiring }) => expiring !== null)) return [];
  return ["When leases expire isn't known: asking costs etcd a request each (-expiry)."];
}

function poolLines(pools: readonly PoolDocument[]): string[] {
  return pools.flatMap((pool) => {
    const { network, subnetLength, total, used, reserved, expiring, free, largestFree, outside } = pool;
    const share = total > 0 ? ` (${percent(free / total)})` : "";
    const soon = expiring !== null && expiring > 0
      ? `, ${number(expiring)} of them within the hour unless renewed`
      : "";
    const parts = [
      `${number(used)} leased${soon}`,
      `${number(reserved)} reserved`,
      `${number(free)} free${share}`,
    ];
    const lines = [`${network}: ${number(total)} subnets of /${subnetLength}: ${parts.join(", ")}`];
    if (largestFree) {
      const { first, last, count } = largestFree;
      const range = count === 1 ? first : `${first} to ${last}, ${number(count)} subnets`;
      lines.push(`  largest free range: ${range}`);
    } else lines.push("  nothing is free: enlarge the network, or revoke leases of hosts that are gone");
    if (outside > 0) {
      lines.push(`  ${number(outside)} ${outside === 1 ? "lease is" : "leases are"} outside of the pool`);
    }
    return lines;
  });
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}

/** Whole percents, but 0% and 100% only where it is all or nothing. */
function percent(share: number): string {
  if (share > 0 && share < 0.01) return "<1%";
  if (share < 1 && share > 0.99) return ">99%";
  return `${Math.round(share * 100)}%`;
}

/** One lease, a fact a line. @param value What stands in the store; absent in a cluster. */
export function leaseText(lease: LeaseDocument, now: number, value?: string): string {
  const { secondsLeft, renewedSecondsAgo, createdAt, revision, createRevision } = lease;
  const renewed = renewedSecondsAgo === null ? "" : `, renewed ${duration(renewedSecondsAgo)} ago`;
  const expires = lease.state === "leased"
    ? `expires in ${secondsLeft === null ? "an unknown time" : duration(secondsLeft)}${renewed}`
    : {
      reserved: "reserved: never expires",
      assigned: "assigned by the cluster",
      malformed: "malformed",
    }[lease.state];
  const facts: [string, string][] = [
    ["host", lease.host],
    ["address", lease.publicIps.join(", ")],
    ["backend", lease.backendType ?? ""],
    ["state", expires],
    ["fault", lease.fault ?? ""],
    ["age", createdAt === null ? "" : duration(secondsSince(createdAt, now))],
    ["revision", revision === null ? "" : `${revision}, created at ${createRevision}`],
    ["value", value ?? ""],
  ];
  const shown = facts.filter(([, text]) => text !== "").map(([label, text]) =>
    `  ${label.padEnd(10)}${text}`
  );
  return [lease.subnets.join(", ") || JSON.stringify(lease.key), ...shown].join("\n");
}

const CSV_FIELDS = [
  "key",
  "subnets",
  "host",
  "publicIps",
  "backendType",
  "state",
  "secondsLeft",
  "renewedSecondsAgo",
  "createdAt",
  "createRevision",
  "revision",
  "fault",
] as const;

/** All leases as CSV (RFC 4180), a line of names first; several values of one field are separated by spaces. */
export function csvText({ leases }: LeasesDocument): string {
  const rows = leases.map((lease) =>
    CSV_FIELDS.map((field) => {
      const value = lease[field];
      return csvField(Array.isArray(value) ? value.join(" ") : value === null ? "" : String(value));
    })
  );
  return [CSV_FIELDS, ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

/** Quoted where it has to be; what a spreadsheet would take for a formula gets an apostrophe. */
function csvField(text: string): string {
  const safe = /^[=+@\t\r-]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

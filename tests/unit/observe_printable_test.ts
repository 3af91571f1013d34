import assert from "node:assert/strict";
import { statusText } from "../../lib/cli/status_text.ts";
import { PLAIN } from "../../lib/cli/terminal.ts";
import { tableLines } from "../../lib/cli/text_table.ts";
import { formatFindings } from "../../lib/doctor/report_text.ts";
import { formatJson, formatText } from "../../lib/observe/log_format.ts";
import { printable, printableJson, printableLines, printableValue } from "../../lib/observe/printable.ts";

/** ESC, BEL, C1's CSI, delete, a text direction, a line separator, a line feed. */
const HOSTILE = "\x1b[31m\x07\x9b2J\x7f\u202e\u2028\nabc";
const SHOWN = "\\u001b[31m\\u0007\\u009b2J\\u007f\\u202e\\u2028\\nabc";

// deno-lint-ignore no-control-regex -- it looks for them.
const OBEYED = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

Deno.test("printable: nothing that a terminal obeys is left, everything else stays", () => {
  assert.equal(printable(HOSTILE), SHOWN);
  assert.equal(printable("Müller 10.5.9.0/24 ✓ 日本"), "Müller 10.5.9.0/24 ✓ 日本");
  assert.equal(printableLines("a\tb\n\x1b[2Jc"), "a\tb\n\\u001b[2Jc");
  assert.deepEqual(printableValue({ a: [HOSTILE, 1, null], b: { c: HOSTILE, d: true } }), {
    a: [SHOWN, 1, null],
    b: { c: SHOWN, d: true },
  });
});

Deno.test("printable: JSON means the same and holds no C1 control, which JSON.stringify leaves as it is", () => {
  const value = { [HOSTILE]: [HOSTILE] };
  for (const space of [0, 2]) {
    const json = printableJson(value, space);
    assert.doesNotMatch(json, OBEYED);
    assert.deepEqual(JSON.parse(json), value);
  }
});

Deno.test("the log wrote C1 controls and text directions of leases as they were", () => {
  const record = {
    ...{ timestamp: 0, level: "warning", part: "peers", message: HOSTILE } as const,
    fields: { [HOSTILE]: HOSTILE, list: [HOSTILE], c1: "\x9b2J" },
  };
  for (const line of [formatText(record), formatJson(record)]) {
    assert.doesNotMatch(line, OBEYED);
    assert.equal(line.indexOf("\n"), line.length - 1);
  }
});

Deno.test("doctor: a lease's value can't steer the terminal or begin a line", () => {
  const check = { name: "daemon", group: "daemon", looksAt: "", run: () => [] } as never;
  const finding = { severity: "warning", text: HOSTILE, evidence: [HOSTILE], remedy: [HOSTILE] } as const;
  const text = formatFindings([{ check, findings: [finding], elapsedMs: 0 }], { width: 80, colour: false });
  assert.doesNotMatch(text, OBEYED);
  assert.doesNotMatch(text, /^abc/m);
});

Deno.test("status: a peer's problem can't steer the terminal", () => {
  const row = {
    ...{ key: "k", host: HOSTILE, subnets: ["10.5.9.0/24"], publicIps: [], backendType: HOSTILE },
    ...{ paths: [], changedAt: null, problem: HOSTILE },
  };
  const status = {
    ...{ time: "2026-11-21T12:00:00.000Z", startedAt: "2026-11-21T12:00:00.000Z", version: "1" },
    ...{ host: { name: HOSTILE }, ready: true, notReady: [], problems: [{ problem: HOSTILE, since: "" }] },
    peers: {
      ...{ count: 1, malformed: 0, refused: [{ key: HOSTILE, reason: HOSTILE }], problems: [] },
      table: { paths: {}, withProblem: 1, probed: 0, rows: [row], omitted: 0 },
    },
  };
  const text = statusText(printableValue(status) as never, { width: Infinity, style: PLAIN });
  assert.doesNotMatch(text, OBEYED);
  assert.equal(text.match(/u009b2J/g)?.length, 6);
});

Deno.test("a lease whose backend type is 300,000 characters long doesn't widen every row of the table", () => {
  const columns = [{ title: "SUBNET" }, { title: "BACKEND" }, { title: "FAULT" }];
  const rows = [["10.5.9.0/24", "x".repeat(300_000), "f"], ["10.5.10.0/24", "vxlan", "y".repeat(400)]];
  const lines = tableLines(columns, rows, { width: Infinity, style: PLAIN });
  assert.ok(lines.every((line) => line.length < 1000), String(lines.map(({ length }) => length)));
  // A file or pipe gets the last column whole.
  assert.match(lines[2]!, /y{400}$/);
});

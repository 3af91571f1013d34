import assert from "node:assert/strict";
import { openLog } from "../../lib/observe/log.ts";
import { formatJson, formatText, type LogRecord } from "../../lib/observe/log_format.ts";
import { redact, redactText } from "../../lib/observe/redact.ts";
import type { LogFields } from "../../lib/observe/types.ts";

function record(message: string, fields: LogFields = {}, part = "vxlan"): LogRecord {
  return { timestamp: Date.UTC(2026, 0, 2, 3, 4, 5, 6), level: "info", part, message, fields };
}

Deno.test("log lines: text", () => {
  const table: [LogRecord, string][] = [
    [record("up"), "vxlan: up"],
    [record("up", {}, ""), "up"],
    [record("x", { n: 1, b: true, s: "eth0", ip: "fd00::1" }), "vxlan: x n=1 b=true s=eth0 ip=fd00::1"],
    [
      record("x", { s: "two words", e: "", q: 'a"b', eq: "a=b" }),
      'vxlan: x s="two words" e="" q="a\\"b" eq="a=b"',
    ],
    [record("x", { u: undefined, z: null, big: 7n }), "vxlan: x z=null big=7"],
    [record("x", { error: new Error("no route") }), 'vxlan: x error="no route"'],
    [record("x", { o: { a: [1, 2n] }, m: new Map([["k", 1]]) }), 'vxlan: x o={"a":[1,"2"]} m={"k":1}'],
    [record("forged\n2026 line\u001b[31m", { v: "a\nb" }), 'vxlan: forged\\n2026 line\\u001b[31m v="a\\nb"'],
  ];
  for (const [line, expected] of table) {
    assert.equal(formatText(line), `2026-01-02T03:04:05.006Z info ${expected}\n`);
  }
});

Deno.test("log lines: JSON", () => {
  assert.deepEqual(JSON.parse(formatJson(record("x\ny", { n: 1n, time: "no", password: "p" }))), {
    time: "2026-01-02T03:04:05.006Z",
    level: "info",
    part: "vxlan",
    message: "x\ny",
    n: "1",
    password: "***",
  });
  assert(!formatJson(record("a\nb")).slice(0, -1).includes("\n"));
});

Deno.test("secrets are never shown", () => {
  const table: [string, unknown, unknown][] = [
    ["password", "x", "***"],
    ["etcdPassword", "x", "***"],
    ["AccessKeySecret", "x", "***"],
    ["sessionToken", 1, "***"],
    ["privateKey", "x", "***"],
    ["secret", { a: 1 }, "***"],
    ["password", "", ""],
    ["password", undefined, undefined],
    ["AccessKeyID", "id", "id"],
    ["key", "10.5.72.0-24", "10.5.72.0-24"],
    ["options", { user: "u", nested: [{ token: "t" }] }, { user: "u", nested: [{ token: "***" }] }],
    ["url", "http://u:p@host:1/x", "http://u:***@host:1/x"],
    ["error", new Error("dial https://u:p@h failed"), "dial https://u:***@h failed"],
  ];
  for (const [name, value, expected] of table) assert.deepEqual(redact(name, value), expected, name);
  assert.equal(
    redactText("a -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- b"),
    "a *** b",
  );
  assert.equal(redactText("-----BEGIN PRIVATE KEY-----\nabc"), "***");
  const loop: Record<string, unknown> = {};
  loop["again"] = loop;
  assert.equal(JSON.stringify(redact("x", loop)).includes("..."), true, "a value that holds itself is cut");
});

Deno.test("log: levels by -v, parts, braces as written", () => {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line.replace(/^\S+ /, "").trimEnd());
  const log = openLog({ format: "text", verbosity: 0, write });
  log.debug("hidden");
  log.info('config {"Network": {x}} {{y}}', { x: 1 });
  log.child("vxlan").warn("w");
  log.child("leases").child("etcd").error("e");
  openLog({ format: "text", verbosity: 1, write }).debug("shown");
  assert.deepEqual(lines, [
    'info config {"Network": {x}} {{y}} x=1',
    "warning vxlan: w",
    "error leases.etcd: e",
    "debug shown",
  ]);
});

/** `doctor`: checks are carried out side by side within their time, and shown the worst last. */
import assert from "node:assert/strict";
import { examine, worstOf } from "../../lib/doctor/examine.ts";
import { NotKnown } from "../../lib/doctor/not_known.ts";
import { findingsJson, formatFindings } from "../../lib/doctor/report_text.ts";
import type { Scene } from "../../lib/doctor/scene.ts";
import { type Check, type Finding, ok } from "../../lib/doctor/types.ts";

const NO_SCENE = {} as Scene;
const PLAIN = { width: Infinity, colour: false };

function check(name: string, read: () => Promise<readonly Finding[]> | readonly Finding[]): Check {
  return {
    ...{ name, group: "host", looksAt: `the ${name}`, read },
    judge: (facts) => facts as Finding[],
  };
}

const WELL = check("well", () => [ok("it is well", "value = 1")]);
const SICK = check("sick", () => [{ severity: "fault", text: "it is broken", remedy: ["repair it"] }]);
const FAIR = check("fair", () => [{ severity: "warning", text: "it may break" }]);

Deno.test("doctor: findings stand with the worst last, then what was left out, then the counts", async () => {
  const blind = check("blind", () => Promise.reject(new NotKnown("no config")));
  const text = formatFindings(await examine([SICK, WELL, blind, FAIR], NO_SCENE), PLAIN);
  assert.deepEqual(text.split("\n"), [
    "ok     well  it is well",
    "warn   fair  it may break",
    "FAULT  sick  it is broken",
    "               fix: repair it",
    "Left out (no config): blind",
    "",
    "1 fault, 1 warning, 0 notes, 1 ok",
  ]);
});

Deno.test("doctor: text is broken at the width, commands never are", async () => {
  const long = check("long", () => [{
    ...{ severity: "note", text: "word ".repeat(20).trim(), remedy: ["command ".repeat(12).trim()] } as const,
  }]);
  const lines = formatFindings(await examine([long], NO_SCENE), { width: 60, colour: false }).split("\n");
  assert.equal(lines.filter((line) => line.includes("word")).length, 3);
  assert.equal(lines.filter((line) => line.includes("command")).length, 1);
  assert.ok(lines.filter((line) => line.includes("word")).every((line) => line.length <= 60));
});

Deno.test("doctor: a check that takes too long, or fails, is a warning; the others have their results", async () => {
  const stuck = check("stuck", () => new Promise(() => {}));
  const broken = check("broken", () => Promise.reject(new Error("EIO")));
  const results = await examine([stuck, broken, WELL], NO_SCENE, 20);
  assert.match(results[0]!.findings[0]!.text, /^cannot look at the stuck: no result within 0\.02 s$/);
  assert.match(results[1]!.findings[0]!.text, /^cannot look at the broken: EIO$/);
  assert.equal(results[2]!.findings[0]!.severity, "ok");
  assert.equal(worstOf(results), "warning");
});

Deno.test("doctor: the JSON has its schema, the worst severity and every check", async () => {
  const json = findingsJson(await examine([WELL, SICK], NO_SCENE), "1.2.3");
  assert.equal(json["schemaVersion"], 1);
  assert.equal(json["severity"], "fault");
  assert.deepEqual(json["counts"], { ok: 1, note: 0, warning: 0, fault: 1 });
  const [well, sick] = json["checks"] as unknown as Record<string, unknown>[];
  assert.equal(well!["severity"], "ok");
  assert.deepEqual(sick!["findings"], [
    { severity: "fault", text: "it is broken", evidence: [], remedy: ["repair it"] },
  ]);
});

import assert from "node:assert/strict";
import { addCounts, countsOf, formatCounts, parseTestLine } from "../../scripts/test_summary.ts";

Deno.test("counts come from deno's last summary line", () => {
  const output = "a ... ok (1ms)\n\nok | 12 passed (3 steps) | 0 failed | 1 ignored (3s)\n";
  assert.deepEqual(countsOf(output, true), { passed: 12, failed: 0, skipped: 1 });
  const two = `${output}FAILED | 2 passed | 1 failed (87ms)\n\nerror: Test failed\n`;
  assert.deepEqual(countsOf(two, false), { passed: 2, failed: 1, skipped: 0 });
});

Deno.test("a run without a summary, or that fails without a failed test, is one failure", () => {
  assert.deepEqual(countsOf("Segmentation fault", false), { passed: 0, failed: 1, skipped: 0 });
  assert.deepEqual(countsOf("", true), { passed: 0, failed: 1, skipped: 0 });
  const uncaught = "ok | 2 passed | 0 failed (1s)\nerror: uncaught";
  assert.deepEqual(countsOf(uncaught, false), { passed: 2, failed: 1, skipped: 0 });
});

Deno.test("a filter that leaves no test gives zeroes", () => {
  const none = "ok | 0 passed | 0 failed | 3 filtered out (1ms)";
  assert.deepEqual(countsOf(none, true), { passed: 0, failed: 0, skipped: 0 });
});

Deno.test("result lines are read, steps and other output are not", () => {
  assert.deepEqual(parseTestLine("3 hosts, vxlan ... ok (2m3s)"), {
    name: "3 hosts, vxlan",
    result: "ok",
    time: "2m3s",
  });
  assert.equal(parseTestLine("x (needs root) ... ignored (0ms)")?.result, "ignored");
  assert.equal(parseTestLine("  a step ... ok (0ms)"), undefined);
  assert.equal(parseTestLine("waiting ..."), undefined);
});

Deno.test("counts add up to the line that ends a run", () => {
  const sum = addCounts({ passed: 1, failed: 0, skipped: 2 }, { passed: 3, failed: 1, skipped: 0 });
  assert.equal(formatCounts(sum), "4 passed, 1 failed, 2 skipped");
});

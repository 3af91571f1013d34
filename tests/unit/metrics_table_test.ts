/** docs/metrics.md and the names of metrics. */
import assert from "node:assert/strict";
import { declaredMetrics, METRICS_PAGE, withTable } from "../../scripts/metrics_table.ts";

Deno.test("metrics: docs/metrics.md is current (deno run -A scripts/metrics_table.ts writes it)", async () => {
  const page = await Deno.readTextFile(METRICS_PAGE);
  assert.equal(withTable(page, await declaredMetrics()), page);
});

Deno.test("metrics: names follow Prometheus' conventions, and families of OpenMetrics don't clash", async () => {
  const declared = await declaredMetrics();
  const families = declared.map(({ name }) => name.replace(/_total$/, ""));
  assert.deepEqual(families.filter((name, index) => families.indexOf(name) !== index), []);
  for (const { name, kind, help, labels } of declared) {
    assert.match(name, /^(flannel|process)(_[a-z0-9]+)+$/);
    assert.equal(name.endsWith("_total"), kind === "counter", name);
    assert.doesNotMatch(name, /_(ms|milliseconds|minutes|kb|mb|percent|count|sum|bucket)(_|$)/);
    if (kind === "histogram") assert.match(name, /_seconds$/);
    assert.match(help, /^[A-Z0-9][^\n]+[^.]$/, name);
    for (const label of labels) assert.match(label, /^[a-z][a-z0-9_]*$/);
  }
});

import assert from "node:assert/strict";
import { openLog } from "../../lib/observe/log.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";

function problems() {
  const lines: string[] = [];
  const log = openLog({
    format: "text",
    verbosity: 0,
    write: (line) => lines.push(line.slice(25).trimEnd()),
  });
  const metrics = new MetricsRegistry();
  const clock = { now: 1_000_000 };
  return { lines, metrics, clock, problems: new Problems({ log, metrics, now: () => clock.now }) };
}

Deno.test("problems: readiness, status, metrics and log show the same", () => {
  const { lines, metrics, clock, problems: registry } = problems();
  assert.equal(metrics.value("flannel_ready"), 1);
  registry.set("peer filter", "cannot count, retrying");
  registry.set("kernel", "cannot reconcile flannel.1, retrying", { notReady: true });
  assert.deepEqual(registry.list(), [
    { key: "peer filter", text: "cannot count, retrying", since: 1_000_000, notReady: false },
    { key: "kernel", text: "cannot reconcile flannel.1, retrying", since: 1_000_000, notReady: true },
  ]);
  assert.deepEqual(registry.notReady(), ["kernel: cannot reconcile flannel.1, retrying"]);
  assert.equal(metrics.value("flannel_ready"), 0);
  assert.equal(metrics.value("flannel_problem", { key: "kernel" }), 1);
  clock.now += 3_000;
  registry.clear("kernel", "reconciled");
  registry.clear("kernel");
  assert.deepEqual(registry.notReady(), []);
  assert.equal(metrics.value("flannel_ready"), 1);
  assert.equal(metrics.value("flannel_problem", { key: "kernel" }), 0);
  assert.equal(metrics.value("flannel_problems_total", { key: "kernel" }), 1);
  assert.deepEqual(lines, [
    "warning peer filter: cannot count, retrying",
    "warning kernel: cannot reconcile flannel.1, retrying",
    "info kernel: reconciled afterSeconds=3",
  ]);
});

Deno.test("problems: the same text is one line; a text that keeps changing is one line in ten seconds", () => {
  const { lines, clock, problems: registry } = problems();
  for (let count = 0; count < 25; count++) {
    registry.set("leases", `no answer from ${count % 2 ? "a" : "b"}`);
    registry.set("kernel", "no");
    clock.now += 1_000;
  }
  assert.deepEqual(lines.filter((line) => line.includes("kernel")), ["warning kernel: no"]);
  assert.equal(lines.filter((line) => line.includes("leases")).length, 3);
  assert.equal(registry.list()[0]!.since, 1_000_000, "it began once");
});

Deno.test("problems: what the host waits for blocks readiness and isn't a problem", () => {
  const { lines, metrics, problems: registry } = problems();
  registry.wait("start", "not yet in the network");
  assert.deepEqual(registry.notReady(), ["start: not yet in the network"]);
  assert.deepEqual(registry.list(), []);
  registry.set("start", "no config", { notReady: true });
  assert.equal(registry.list().length, 1);
  registry.wait("start", "not yet in the network");
  assert.equal(metrics.value("flannel_problem", { key: "start" }), 0);
  registry.clear("start");
  assert.deepEqual(registry.notReady(), []);
  assert.deepEqual(lines, ["warning start: no config"]);
});

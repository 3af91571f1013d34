import assert from "node:assert/strict";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";

Deno.test("metrics: counters, gauges, labels, collectors", () => {
  const metrics = new MetricsRegistry();
  metrics.count("drops_total", "Drops", { reason: "a" });
  metrics.count("drops_total", "Drops", { reason: "a" }, 4);
  metrics.count("drops_total", "Drops", { reason: 'b"\n' });
  metrics.count("drops_total", "Drops", { reason: "C:\\x", peer: "é" });
  metrics.gauge("peers", "Peers", 3);
  metrics.gauge("peers", "Peers", 2);
  metrics.gauge("left", 'A\\b\nc "d"', Infinity);
  let asked = 0;
  const collector = metrics.onCollect(() => metrics.gauge("asked", "Asked", ++asked));
  assert.equal(metrics.value("drops_total", { reason: "a" }), 5);
  assert.equal(metrics.value("none"), undefined);
  const { text, contentType } = metrics.render();
  assert.equal(contentType, "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(
    text,
    [
      "# HELP flannel_drops_total Drops",
      "# TYPE flannel_drops_total counter",
      'flannel_drops_total{reason="a"} 5',
      'flannel_drops_total{reason="b\\"\\n"} 1',
      'flannel_drops_total{reason="C:\\\\x",peer="é"} 1',
      "# HELP flannel_peers Peers",
      "# TYPE flannel_peers gauge",
      "flannel_peers 2",
      '# HELP flannel_left A\\\\b\\nc "d"',
      "# TYPE flannel_left gauge",
      "flannel_left +Inf",
      "# HELP flannel_asked Asked",
      "# TYPE flannel_asked gauge",
      "flannel_asked 1",
      "",
    ].join("\n"),
  );
  collector[Symbol.dispose]();
  metrics.render();
  assert.equal(asked, 1);
  assert.throws(() => metrics.gauge("drops_total", "Drops", 1), TypeError);
});

Deno.test("metrics: labels in another order are the same series", () => {
  const metrics = new MetricsRegistry();
  metrics.count("x_total", "X", { a: "1", b: "2" });
  metrics.count("x_total", "X", { b: "2", a: "1" });
  assert.equal(metrics.value("x_total", { a: "1", b: "2" }), 2);
});

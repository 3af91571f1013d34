import assert from "node:assert/strict";
import { counter, gauge, histogram } from "../../lib/observe/metric_spec.ts";
import { formatFor, MetricsRegistry } from "../../lib/observe/metrics.ts";

const DROPS = counter("x_drops_total", "Drops", ["reason"]);
const PEERS = gauge("x_peers", "Peers");
const LEFT = gauge("x_left_seconds", 'A\\b\nc "d"');
const BYTES = counter("x_sent_bytes_total", "Bytes");
const PASS = histogram("x_pass_duration_seconds", "Passes", ["kind"]);

function filled(): MetricsRegistry {
  const metrics = new MetricsRegistry();
  metrics.count(DROPS, { reason: "a" });
  metrics.count(DROPS, { reason: "a" }, 4);
  metrics.count(DROPS, { reason: 'b"\n' });
  metrics.count(DROPS, { reason: "C:\\x" });
  metrics.gauge(PEERS, 3);
  metrics.gauge(PEERS, 2);
  metrics.gauge(LEFT, Infinity);
  metrics.total(BYTES, 7);
  metrics.total(BYTES, 9);
  return metrics;
}

Deno.test("metrics: text format", () => {
  const metrics = filled();
  assert.equal(metrics.value("x_drops_total", { reason: "a" }), 5);
  assert.equal(metrics.sum("x_drops_total"), 7);
  assert.equal(metrics.value("none"), undefined);
  const { text, contentType } = metrics.render();
  assert.equal(contentType, "text/plain; version=0.0.4; charset=utf-8");
  assert.equal(
    text,
    [
      "# HELP x_drops_total Drops",
      "# TYPE x_drops_total counter",
      'x_drops_total{reason="a"} 5',
      'x_drops_total{reason="b\\"\\n"} 1',
      'x_drops_total{reason="C:\\\\x"} 1',
      "# HELP x_peers Peers",
      "# TYPE x_peers gauge",
      "x_peers 2",
      '# HELP x_left_seconds A\\\\b\\nc "d"',
      "# TYPE x_left_seconds gauge",
      "x_left_seconds +Inf",
      "# HELP x_sent_bytes_total Bytes",
      "# TYPE x_sent_bytes_total counter",
      "x_sent_bytes_total 9",
      "",
    ].join("\n"),
  );
});

Deno.test("metrics: OpenMetrics names families without _total, escapes quotes in help, names units and its end", () => {
  const { text, contentType } = filled().render("openmetrics");
  assert.equal(contentType, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  assert.match(text, /^# TYPE x_drops counter\nx_drops_total\{reason="a"\} 5$/m);
  assert.match(text, /^# HELP x_left_seconds A\\\\b\\nc \\"d\\"$/m);
  assert.match(text, /^# UNIT x_left_seconds seconds$/m);
  assert.match(text, /^# UNIT x_sent_bytes bytes\nx_sent_bytes_total 9$/m);
  assert.ok(text.endsWith("\n# EOF\n"));
});

Deno.test("metrics: a histogram's buckets are cumulative; a value on a bound belongs to it", () => {
  const metrics = new MetricsRegistry();
  for (const value of [0.001, 0.002, 0.3, 11]) metrics.observe(PASS, value, { kind: "full" });
  const { text } = metrics.render();
  assert.match(text, /^# TYPE x_pass_duration_seconds histogram$/m);
  for (
    const [bound, count] of [["0.001", 1], ["0.0025", 2], ["0.25", 2], ["0.5", 3], ["10.0", 3], ["+Inf", 4]]
  ) {
    assert.ok(text.includes(`\nx_pass_duration_seconds_bucket{kind="full",le="${bound}"} ${count}\n`), text);
  }
  assert.match(text, /^x_pass_duration_seconds_sum\{kind="full"\} 11\.303$/m);
  assert.match(text, /^x_pass_duration_seconds_count\{kind="full"\} 4$/m);
});

Deno.test("metrics: collectors run before each read-out until they are disposed", () => {
  const metrics = new MetricsRegistry();
  let asked = 0;
  const collector = metrics.onCollect(() => metrics.gauge(PEERS, ++asked));
  assert.match(metrics.render().text, /^x_peers 1$/m);
  collector[Symbol.dispose]();
  assert.match(metrics.render().text, /^x_peers 1$/m);
});

Deno.test("metrics: one name has one declaration, and a series has its labels", () => {
  const metrics = new MetricsRegistry();
  metrics.gauge(PEERS, 1);
  assert.throws(() => metrics.gauge(gauge("x_peers", "Others"), 1), TypeError);
  assert.throws(() => metrics.count(DROPS), TypeError);
  const two = counter("x_two_total", "Two", ["a", "b"]);
  metrics.count(two, { a: "1", b: "2" });
  metrics.count(two, { b: "2", a: "1" });
  assert.equal(metrics.value("x_two_total", { a: "1", b: "2" }), 2);
});

Deno.test("metrics: the Accept field chooses the format", () => {
  // What Prometheus 2.42 sends.
  const prometheus =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
  assert.equal(formatFor(prometheus), "openmetrics");
  assert.equal(formatFor("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), "text");
  assert.equal(formatFor("application/openmetrics-text;q=0, text/plain"), "text");
  assert.equal(formatFor(undefined), "text");
});

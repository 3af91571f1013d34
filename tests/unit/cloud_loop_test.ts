import assert from "node:assert/strict";
import { CLOUD_RETRIES } from "../../backends/cloud/metrics.ts";
import { refusals, scriptedLoop } from "../fakes/scripted_table.ts";
import { testInterface, until, within } from "../fakes/session.ts";

Deno.test("route loop: a steady table is looked at once a pass, and nothing else is asked", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  await within("ready", loop.start());
  await host.clock.idle();
  table.calls.length = 0;
  for (let pass = 0; pass < 3; pass++) await host.clock.tick();
  const pass = ["identify", "prepare", "list"] as const;
  assert.deepEqual(table.calls, [...pass, ...pass, ...pass]);
});

Deno.test("route loop: the same failure is logged once, its end once, and every retry is counted", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.failures.set("list", refusals("unavailable", 6));
  await within("ready", loop.start());
  assert.equal(host.log.lines.filter((line) => line.startsWith("warn it is unavailable")).length, 1);
  assert.equal(host.log.lines.filter((line) => line.includes("the own route stands")).length, 1);
  assert.equal(host.metrics.sumOf(CLOUD_RETRIES, "unavailable"), 6);
  const waits = host.clock.sleeps.slice(0, 6);
  assert.deepEqual(waits, [...waits].sort((a, b) => a - b));
});

Deno.test("route loop: a config error ends the start after three tries, never a running host", async () => {
  const { table, host, loop } = scriptedLoop();
  table.failures.set("identify", refusals("config", 3));
  await assert.rejects(within("refused", loop.start()), /it is config/);
  const later = scriptedLoop();
  await using running = later.loop;
  await within("ready", running.start());
  await later.host.clock.idle();
  later.table.failures.set("list", refusals("config", 4));
  await later.host.clock.tick();
  assert.match(later.host.log.text, /warn it is config/);
  assert.equal(host.end.signal.aborted || later.host.end.signal.aborted, false);
});

Deno.test("route loop: a removal that is refused doesn't keep the host from being ready", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.addBlackhole("10.20.1.0/24");
  table.addBlackhole("10.20.2.0/24");
  table.failures.set("remove", refusals("denied", 1));
  await within("ready", loop.start());
  await until("both black holes to go", () => table.destinations.join() === "10.20.7.0/24");
  assert.match(host.log.text, /warn Unused routes stay in the table: it is denied/);
});

Deno.test("route loop: a full table is refused before a write, and filled when there is room", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.use = [{ table: "t", used: 100, limit: 100 }];
  const starting = loop.start();
  await until("the log names the limit", () => /full: 100 of 100/.test(host.log.text));
  assert.ok(!table.calls.includes("put"));
  table.use = [{ table: "t", used: 99, limit: 100 }];
  await within("ready", starting);
  assert.match(host.log.text, /nearly full/);
});

Deno.test("route loop: another address is looked up at once; the end stops all and leaves the route", async () => {
  const { table, host, loop } = scriptedLoop();
  await within("ready", loop.start());
  await host.clock.idle();
  loop.replan(host.session(host.lease()).plan, testInterface("10.0.1.99"));
  await until("the new address is asked for", () => table.addresses.includes("10.0.1.99"));
  await host.clock.idle();
  await within("the end", loop[Symbol.asyncDispose]());
  const calls = table.calls.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(table.calls.length, calls);
  assert.deepEqual(table.destinations, ["10.20.7.0/24"]);
});

Deno.test("route loop: a daemon that ends while the cloud is silent ends at once", async () => {
  const { table, host, loop } = scriptedLoop();
  table.failures.set("identify", refusals("unavailable", 10_000));
  const starting = loop.start();
  starting.catch(() => {});
  await until("the log says so", () => /unavailable/.test(host.log.text));
  host.end.abort(new Error("the daemon ends"));
  await assert.rejects(within("the end", starting, 1), /the daemon ends/);
});

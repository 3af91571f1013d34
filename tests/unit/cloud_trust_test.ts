/** What a host may believe and say of its route: regression tests of the loop, each named after its bug. */
import assert from "node:assert/strict";
import { CLOUD_RETRIES, CLOUD_ROUTE_READY } from "../../backends/cloud/metrics.ts";
import { asCloudError } from "../../backends/cloud/errors.ts";
import { refusals, scriptedLoop, ScriptedTable } from "../fakes/scripted_table.ts";
import { peerLease, type TestHost, testInterface, until, within } from "../fakes/session.ts";

/** The gauge that monitoring sees. */
function routeReady(host: TestHost): number | undefined {
  return host.metrics.value(CLOUD_ROUTE_READY.name, { cloud: "scripted" });
}

Deno.test("a black hole that a live host turned to itself while others were removed is not removed", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.addBlackhole("10.20.1.0/24");
  table.addBlackhole("10.20.2.0/24");
  const removed: string[] = [];
  table.before = (call, route) => {
    if (call !== "remove" || removed.push(route!.id) > 1) return;
    // The first removal takes minutes. Meanwhile a host leases the other subnet and takes the route over.
    table.take(route!.id === "10.20.1.0/24" ? "10.20.2.0/24" : "10.20.1.0/24");
  };
  await within("ready", loop.start());
  await host.clock.idle();
  assert.equal(removed.length, 1);
  assert.equal(table.destinations.length, 2);
});

Deno.test("a black hole whose subnet is leased while others are removed is not removed", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  const subnets = ["10.20.1.0/24", "10.20.2.0/24"];
  for (const subnet of subnets) table.addBlackhole(subnet);
  const removed: string[] = [];
  table.before = (call, route) => {
    if (call !== "remove" || removed.push(route!.id) > 1) return;
    const other = subnets.find((subnet) => subnet !== route!.id)!;
    host.peers.set(other.replace("/", "-"), peerLease("10.0.1.11", other));
  };
  await within("ready", loop.start());
  await host.clock.idle();
  assert.equal(removed.length, 1);
});

Deno.test("while the store is silent, an absent lease is no reason to remove a black hole", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  host.store.current = false;
  table.addBlackhole("10.20.1.0/24");
  await within("ready", loop.start());
  await host.clock.tick();
  assert.ok(!table.calls.includes("remove"));
  host.store.current = true;
  await host.clock.tick();
  assert.deepEqual(table.destinations, ["10.20.7.0/24"]);
});

Deno.test("other hosts' black holes don't delay readiness, nor the own route when it is lost meanwhile", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.addBlackhole("10.20.1.0/24");
  table.addBlackhole("10.20.2.0/24");
  const first = Promise.withResolvers<void>();
  const removal = Promise.withResolvers<void>();
  table.before = (call) => {
    if (call !== "remove") return;
    first.resolve();
    return removal.promise;
  };
  await within("ready while a removal takes its time", loop.start());
  assert.equal(routeReady(host), 1);
  await first.promise;
  table.take("10.20.7.0/24");
  table.calls.length = 0;
  removal.resolve();
  await until("the route to lead here again", () => table.routes.some((route) => route.upToDate));
  assert.deepEqual(table.calls.slice(0, 5), ["list", "identify", "prepare", "list", "put"]);
});

Deno.test("a route that was taken and can't be taken back makes the host not ready, until it can", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  await within("ready", loop.start());
  await host.clock.idle();
  assert.equal(routeReady(host), 1);
  table.take("10.20.7.0/24");
  table.failures.set("put", refusals("denied", 1));
  const problems: (string | undefined)[] = [];
  table.before = (call) => {
    if (call === "identify") problems.push(host.problems.notReady()[0]);
    if (call === "put") assert.equal(problems.length < 3, true);
  };
  await host.clock.tick();
  assert.match(problems[1]!, /10\.20\.7\.0\/24 doesn't lead here: it is denied/);
  assert.equal(host.problems.notReady()[0], undefined);
  assert.equal(routeReady(host), 1);
});

Deno.test("a rival that can't be removed makes the host not ready", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  await within("ready", loop.start());
  await host.clock.idle();
  table.add("10.20.7.0/24", { id: "rival" });
  table.failures.set("remove", refusals("denied", 1));
  const problems: (string | undefined)[] = [];
  table.before = (call) => void (call === "identify" && problems.push(host.problems.notReady()[0]));
  await host.clock.tick();
  assert.match(problems[1]!, /it is denied/);
  assert.deepEqual(table.routes.map(({ id }) => id), ["x"]);
  assert.equal(host.problems.notReady()[0], undefined);
});

Deno.test("a route that another host takes right after the write is taken back soon, not at the next resync", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  let thefts = 1;
  table.before = (call) => {
    const stands = table.routes.some((route) => route.upToDate);
    if (call === "list" && stands && thefts-- > 0) table.take("10.20.7.0/24");
  };
  await within("ready", loop.start());
  assert.match(host.log.text, /it leads to another now/);
  assert.ok(host.clock.sleeps.filter((ms) => ms < 100_000).every((ms) => ms <= 2_000), "no waits for lag");
});

Deno.test("a cloud that took the route and then fell silent has it: the host is ready", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  let puts = 0;
  table.before = (call) => {
    puts += Number(call === "put");
    if (call === "list" && puts === 1 && host.problems.list().length === 0) {
      throw refusals("unavailable", 1)[0];
    }
  };
  await within("ready", loop.start());
  assert.equal(routeReady(host), 1);
  assert.match(host.problems.list()[0]!.text, /^it is unavailable; retrying/);
  assert.deepEqual(host.problems.notReady(), []);
});

Deno.test("an API that is down isn't a lost route: ready and metric stay", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  await within("ready", loop.start());
  await host.clock.idle();
  table.failures.set("identify", refusals("unavailable", 2));
  table.failures.set("list", refusals("throttled", 2));
  const seen: unknown[] = [];
  table.before = () => void seen.push(routeReady(host), host.problems.notReady()[0]);
  await host.clock.tick();
  assert.equal(host.metrics.sum(CLOUD_RETRIES.name), 4);
  assert.deepEqual([...new Set(seen)], [1, undefined]);
  assert.equal((loop.status() as { ready: boolean }).ready, true);
});

Deno.test("an instance that drops containers' packets: the route is made, readiness says why, until it is over", async () => {
  const { table, host, loop } = scriptedLoop();
  await using _ended = loop;
  table.failures.set("prepare", refusals("throttled", 2));
  const problems: (string | undefined)[] = [];
  table.before = (call) => void (call === "identify" && problems.push(host.problems.notReady()[0]));
  await within("the route is made", loop.start());
  const problem = "scripted instance: it is throttled; retrying";
  assert.equal(host.problems.notReady()[0], problem);
  await host.clock.idle();
  assert.deepEqual(problems, [undefined, problem, problem]);
  assert.equal(host.problems.notReady()[0], undefined);
});

Deno.test("a failed look at the quota doesn't keep the route from being made", async () => {
  for (const kind of ["throttled", "unavailable", "denied"] as const) {
    const { table, host, loop } = scriptedLoop();
    await using _ended = loop;
    table.failures.set("limits", refusals(kind, 1));
    await within("ready", loop.start());
    assert.ok(host.clock.sleeps.every((ms) => ms >= 100_000), "no back-off");
    assert.match(host.log.text, /limit of routes is unknown/);
  }
});

Deno.test("an SDK's error never comes along: it holds the request, and with it tokens", () => {
  const raw = Object.assign(new Error("Bad gateway"), { config: { headers: { authorization: "Bearer x" } } });
  const known = asCloudError(raw);
  assert.equal(known.message, "Bad gateway");
  assert.doesNotMatch(Deno.inspect(known, { depth: 10 }), /Bearer/);
});

Deno.test("after a reboot a host whose route stood doesn't wait for a silent cloud", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const table = new ScriptedTable();
    {
      const { loop } = scriptedLoop(folder, table);
      await using _ended = loop;
      await within("ready", loop.start());
    }
    table.failures.set("identify", refusals("unavailable", 3));
    const { host, loop } = scriptedLoop(folder, table);
    await using _ended = loop;
    await within("ready without the cloud", loop.start(), 1);
    assert.equal((loop.status() as { ready: boolean }).ready, true);
    // And what the cloud says later counts.
    table.take("10.20.7.0/24");
    table.failures.set("put", refusals("quota", 1));
    await until("the route is restored", () => table.routes.some((route) => route.upToDate));
    assert.match(host.log.text, /pointed elsewhere, corrected/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what was noted of another subnet, address or instance, or of a lost route, is worth nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const table = new ScriptedTable();
    {
      const { host, loop } = scriptedLoop(folder, table);
      await using _ended = loop;
      await within("ready", loop.start());
      await host.clock.idle();
    }
    const waits = async (change: (one: ReturnType<typeof scriptedLoop>) => void) => {
      const one = scriptedLoop(folder, table);
      change(one);
      table.failures.set("identify", refusals("unavailable", 1000));
      await using loop = one.loop;
      const starting = loop.start();
      starting.catch(() => {});
      await until("it waits for the cloud", () => /it is unavailable/.test(one.host.log.text));
      assert.equal((loop.status() as { ready: boolean }).ready, false);
      table.failures.clear();
    };
    await waits(() => table.instance = () => Promise.resolve("i-other"));
    table.instance = () => Promise.resolve("i");
    await waits(({ loop, host }) => loop.replan(host.session(host.lease()).plan, testInterface("10.0.1.11")));
    {
      const { host, loop } = scriptedLoop(folder, table);
      await using _ended = loop;
      await within("ready", loop.start());
      await host.clock.idle();
      table.take("10.20.7.0/24");
      table.failures.set("put", refusals("quota", 1000));
      const ticking = host.clock.tick();
      await until("the loss is seen", () => host.problems.notReady()[0] !== undefined);
      assert.deepEqual([...Deno.readDirSync(folder)], []);
      table.failures.clear();
      await ticking;
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

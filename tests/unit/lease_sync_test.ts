import assert from "node:assert/strict";
import { CompactedError } from "../../lib/leases/types.ts";
import { failAfter, OWN, scene, until, VALUE } from "./sync_scene.ts";

Deno.test("sync: starts from the snapshot that acquiring read, without a list, and misses nothing after it", () => {
  let lists = 0;
  return scene(async (s) => {
    await s.store.createLease("10.5.2.0-24", VALUE, 60);
    const snapshot = await s.store.listLeases();
    await s.store.createLease(OWN, VALUE, 60);
    await s.store.createLease("10.5.3.0-24", VALUE, 60);
    s.start(snapshot);
    await until(() => s.peers.peers.size === 2);
    assert.equal(lists, 0);
    // The list that acquiring read wasn't counted: a host that was well had no such metric.
    assert.equal(s.metrics.sum("flannel_store_lists_total"), 1);
    assert.equal(s.sync.health().connected, true);
    assert.deepEqual(s.own.events.map((event) => event.kind === "put" && event.lease.key), [OWN]);
    assert.deepEqual(s.own.snapshots, []);
  }, (store) => ({ list: () => (lists++, store.listLeases()) }))();
});

Deno.test(
  "sync: without a snapshot it lists; a network of one is connected too",
  scene(async (s) => {
    s.start();
    await until(() => s.sync.health().connected);
    assert.equal(s.peers.peers.size, 0);
    assert.equal(s.own.snapshots.length, 1);
  }),
);

Deno.test("sync: a watch that ends goes on from its last revision", () => {
  const from: bigint[] = [];
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    for (let i = 2; i < 6; i++) {
      await s.store.createLease(`10.5.${i}.0-24`, VALUE, 60);
      await until(() => s.peers.peers.size === i - 1);
      await s.clock.advance(200 * i);
    }
    assert.ok(from.length >= 4);
    assert.ok(from.every((revision, i) => i === 0 || revision >= from[i - 1]!));
    assert.equal(s.sync.health().resyncs, 0);
  }, (store) => ({
    // Ends after each batch with events.
    watch: async function* (revision, signal) {
      from.push(revision);
      for await (const batch of store.watchLeases(revision, signal ? { signal } : {})) {
        yield batch;
        if (batch.events.length > 0) return;
      }
    },
  }))();
});

Deno.test("sync: a dead store costs a try each 3 s and one line", () => {
  let tries = 0;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(600_000);
    assert.ok(tries > 200 && tries < 300, `${tries} tries in ten minutes`);
    const waits = s.clock.sleeps.filter((ms) => ms < 10_000 && ms !== 1000);
    assert.deepEqual(waits.slice(0, 6), [75, 150, 300, 600, 1200, 2250]);
    assert.deepEqual(s.log.lines.map(({ level, message }) => `${level} ${message}`), [
      "warn cannot follow the leases, retrying: connection refused",
    ]);
    assert.equal(s.sync.health().connected, false);
    assert.equal(s.sync.health().lastError, "connection refused");
  }, () => ({
    watch: () => {
      tries++;
      throw new Error("connection refused");
    },
  }))();
});

Deno.test("sync: a watch that ends as soon as it stands doesn't spin", () => {
  let tries = 0;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(60_000);
    assert.ok(tries < 35, `${tries} tries in a minute`);
    assert.ok(s.log.lines.length <= 6, `${s.log.lines.length} lines in a minute`);
  }, () => ({
    watch: async function* (revision) {
      tries++;
      yield { revision, events: [] };
    },
  }))();
});

Deno.test("sync: says when the store is back, and the waits begin anew", () => {
  let dead = true;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(60_000);
    dead = false;
    await s.clock.advance(20_000);
    await until(() => s.sync.health().connected);
    assert.match(s.log.of("info").join(), /following the leases.*afterSeconds/);
    assert.deepEqual(s.problems.list(), []);
  }, (store) => ({
    watch: async function* (revision, signal) {
      if (dead) throw new Error("down");
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

// A list that hangs until its deadline took longer than the longest wait, and counted as success.
Deno.test("sync: a list that fails slowly doesn't begin the waits anew", () =>
  scene(async (s) => {
    s.start();
    await s.clock.advance(300_000);
    const waits = s.clock.sleeps.filter((ms) => ms !== 1000 && ms !== 7000);
    assert.deepEqual(waits.slice(0, 8), [75, 150, 300, 600, 1200, 2250, 2250, 2250]);
    assert.ok(waits.slice(8).every((ms) => ms === 2250), waits.join());
  }, (_, clock) => ({ list: (signal) => failAfter(clock, 7000, signal) }))());

Deno.test("sync: not ready once the store is silent for 10 s, with the reason, also while a call hangs", () => {
  let dead = true;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(9_000);
    assert.deepEqual(s.problems.notReady(), []);
    await s.clock.advance(3_000);
    assert.deepEqual(s.problems.notReady(), [
      "store: cannot follow the leases, retrying: no answer yet",
    ]);
    await s.clock.advance(10_000);
    assert.match(s.problems.notReady().join(), /retrying: etcd at http:\/\/a: no leader/);
    dead = false;
    await s.clock.advance(30_000);
    await until(() => s.sync.health().connected);
    assert.deepEqual(s.problems.notReady(), []);
  }, (store, clock) => ({
    watch: async function* (revision, signal) {
      if (dead) await failAfter(clock, 15_000, signal);
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

// What the watch missed stayed missing until the next restart.
Deno.test("sync: lists again at least every 10 minutes, and stays connected meanwhile", () => {
  let lists = 0;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.store.createLease("10.5.2.0-24", VALUE, 86_400);
    await s.clock.advance(1000);
    assert.equal(s.peers.peers.size, 0);
    await s.clock.advance(599_000);
    await until(() => s.peers.peers.size === 1);
    assert.equal(lists, 1);
    assert.equal(s.sync.health().connected, true);
    assert.equal(s.sync.health().resyncs, 0);
    await s.clock.advance(3_600_000);
    assert.ok(lists >= 7 && lists <= 9, `${lists} lists in 70 minutes`);
    assert.deepEqual(s.log.lines, []);
  }, (store) => ({
    list: () => (lists++, store.listLeases()),
    // Stands, and reports nothing.
    watch: async function* (revision, signal) {
      yield { revision, events: [] };
      await new Promise<void>((resolve) => signal!.addEventListener("abort", () => resolve()));
    },
  }))();
});

// The config had a watch of its own, which asked for a compacted revision once a second, in silence.
Deno.test("sync: the config comes with the leases, also after a compaction", () => {
  let compacted = false;
  return scene(async (s) => {
    await s.store.writeConfig("a");
    s.start(await s.store.listLeases());
    await until(() => s.configs.length === 1);
    compacted = true;
    await s.store.writeConfig("b");
    await until(() => s.configs.includes("b"));
    await s.clock.advance(10_000);
    await until(() => s.sync.health().connected);
    await s.store.writeConfig("c");
    await until(() => s.configs.includes("c"));
    assert.equal(s.sync.health().resyncs, 1);
  }, (store) => ({
    watch: async function* (revision, signal) {
      for await (const batch of store.watchLeases(revision, signal ? { signal } : {})) {
        yield batch;
        if (!compacted) continue;
        compacted = false;
        throw new CompactedError("compacted");
      }
    },
  }))();
});

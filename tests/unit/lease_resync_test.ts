/** What a sync does where the store has a gap or another history: it lists anew. */
import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { CompactedError, ReplacedError } from "../../lib/leases/types.ts";
import { host } from "./lease_fixtures.ts";
import { OWN, scene, until, VALUE } from "./sync_scene.ts";

Deno.test("sync: after a compaction it lists and compares: added, changed, removed", () => {
  let compacted = false;
  return scene(async (s) => {
    const kept = (await s.store.createLease("10.5.2.0-24", VALUE, 60))!;
    const left = (await s.store.createLease("10.5.3.0-24", VALUE, 60))!;
    const snapshot = await s.store.listLeases();
    compacted = true;
    await s.store.updateLease(kept, encodeLeaseValue(host("172.30.0.9", "aa:bb:cc:dd:ee:ff")), 60);
    await s.store.deleteLease(left);
    await s.store.createLease("10.5.4.0-24", VALUE, 60);
    s.start(snapshot);
    await until(() => s.sync.health().resyncs === 1);
    await s.clock.advance(1000);
    await until(() => s.sync.health().connected);
    assert.deepEqual([...s.peers.peers.keys()], ["10.5.2.0-24", "10.5.4.0-24"]);
    assert.deepEqual(s.peers.peers.get("10.5.2.0-24")?.attributes, host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
    assert.equal(s.own.snapshots.length, 1);
  }, (store) => ({
    watch: async function* (revision, signal) {
      const gone = compacted;
      compacted = false;
      if (gone) throw new CompactedError("compacted");
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

Deno.test("sync: after a replaced store's list the keeper knows that it was replaced, once", () => {
  const errors = [new ReplacedError("another history"), undefined, new CompactedError("compacted")];
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(1000);
    await s.clock.advance(600_000);
    await until(() => s.own.snapshots.length >= 3);
    assert.deepEqual(s.own.snapshots.slice(0, 3).map(({ replaced }) => replaced), [true, false, false]);
  }, (store) => ({
    watch: async function* (revision, signal) {
      const error = errors.shift();
      if (error) throw error;
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

// Every host removed its peers, whose leases were only about to be written again.
Deno.test("sync: after a replaced store's list the peers stay for 5 s, while new ones come and old ones change", () => {
  let replaced = true;
  return scene(async (s) => {
    for (const key of ["10.5.2.0-24", "10.5.3.0-24"]) await s.store.createLease(key, VALUE, 6000);
    s.start(await s.store.listLeases());
    const [gone, changed] = (await s.store.listLeases()).leases.filter(({ key }) => key !== OWN);
    await s.store.deleteLease(gone!);
    await s.store.updateLease(changed!, encodeLeaseValue(host("172.30.0.9", "aa:bb:cc:dd:ee:ff")), 6000);
    await s.store.createLease("10.5.4.0-24", VALUE, 6000);
    await s.clock.advance(1000);
    await until(() => s.peers.peers.size === 3);
    assert.equal(s.peers.peers.has("10.5.2.0-24"), true);
    assert.deepEqual(s.peers.peers.get("10.5.3.0-24")?.attributes, host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
    await s.clock.advance(5_000);
    await until(() => s.peers.peers.size === 2);
    assert.deepEqual([...s.peers.peers.keys()].sort(), ["10.5.3.0-24", "10.5.4.0-24"]);
  }, (store) => ({
    watch: async function* (revision, signal) {
      const first = replaced;
      replaced = false;
      if (first) throw new ReplacedError("another history");
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

Deno.test("sync: a resync that fails is tried again as a resync", () => {
  let compactions = 1;
  let failures = 5;
  return scene(async (s) => {
    const snapshot = await s.store.listLeases();
    await s.store.createLease("10.5.2.0-24", VALUE, 60);
    s.start(snapshot);
    await s.clock.advance(20_000);
    await until(() => s.peers.peers.size === 1);
    assert.equal(failures, -1);
    assert.equal(s.sync.health().resyncs, 1);
  }, (store) => ({
    list: () => failures-- > 0 ? Promise.reject(new Error("down")) : store.listLeases(),
    watch: async function* (revision, signal) {
      if (compactions-- > 0) throw new CompactedError("compacted");
      assert.ok(revision > 1n, "watched from the compacted revision again");
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

// After 24 s without etcd, a restored one was listed 4 s after it had answered.
Deno.test("sync: a store that answers after an outage, with another history, is listed at once", () => {
  let dead = true;
  let isReplaced = true;
  return scene(async (s) => {
    s.start(await s.store.listLeases());
    await s.clock.advance(60_000);
    dead = false;
    for (let tries = 0; isReplaced && tries < 40; tries++) await s.clock.advance(100);
    await s.clock.advance(150);
    await until(() => s.sync.health().connected);
    assert.equal(s.sync.health().resyncs, 1);
  }, (store) => ({
    watch: async function* (revision, signal) {
      if (dead) throw new Error("down");
      if (isReplaced) {
        isReplaced = false;
        throw new ReplacedError("another history");
      }
      yield* store.watchLeases(revision, signal ? { signal } : {});
    },
  }))();
});

import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { decodeLeaseKey } from "../../lib/leases/codec.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import { LeaseSync, type OwnLeaseObserver } from "../../lib/leases/sync.ts";
import {
  CompactedError,
  type LeaseEvent,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
  ReplacedError,
  type StoreCursor,
} from "../../lib/leases/types.ts";
import type { PartLog } from "../../lib/observe/log.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { CONFIG4, FakeClock, host, RecordedLog, scripted, settle, withStore } from "./lease_fixtures.ts";

const OWN = "10.5.1.0-24";
const VALUE = encodeLeaseValue(host("172.30.0.9"));

/** A list that the keeper was shown, and whether the store was called replaced. */
type SeenSnapshot = LeaseSnapshot & { readonly replaced: boolean };

interface Scene {
  readonly store: LeaseStore;
  readonly clock: FakeClock;
  readonly log: RecordedLog;
  readonly problems: Problems;
  readonly metrics: MetricsRegistry;
  readonly configs: (string | undefined)[];
  readonly peers: PeerSet;
  readonly sync: LeaseSync;
  readonly own: { events: LeaseEvent[]; snapshots: SeenSnapshot[] };
  start(snapshot?: LeaseSnapshot): void;
}

type Watch = (revision: bigint, signal: AbortSignal | undefined) => AsyncIterable<LeaseEventBatch>;

/** A sync on a real store; `watch` and `list` replace its methods for failures at chosen points. */
function scene(
  play: (scene: Scene) => Promise<void>,
  script: (
    store: LeaseStore,
    clock: FakeClock,
  ) => { watch?: Watch; list?: (signal?: AbortSignal) => Promise<LeaseSnapshot> } = () => ({}),
): () => Promise<void> {
  return async () => {
    const clock = new FakeClock();
    await withStore(clock, async (store) => {
      const { watch, list } = script(store, clock);
      const used = scripted(store, {
        ...watch ? { watchLeases: (from, options) => watch(revisionOf(from), options?.signal) } : {},
        ...list ? { listLeases: (options) => list(options?.signal) } : {},
      });
      const log = new RecordedLog();
      const problems = new Problems({ log: withParts(log), now: () => clock.now() });
      const configs: (string | undefined)[] = [];
      const peers = new PeerSet({
        networks: [CONFIG4.network],
        own: { key: OWN, subnets: decodeLeaseKey(OWN)!, since: 0n },
      });
      const own = { events: [] as LeaseEvent[], snapshots: [] as SeenSnapshot[] };
      const observer: OwnLeaseObserver = {
        observe: (event) => own.events.push(event),
        observeSnapshot: (snapshot, replaced) => own.snapshots.push({ ...snapshot, replaced }),
      };
      const metrics = new MetricsRegistry();
      const sync = new LeaseSync({
        ...{ store: used, records: new RecordFeed(peers, OWN), own: observer, clock, problems, metrics },
        onConfig: (config) => configs.push(config?.text),
      });
      const stop = new AbortController();
      let running = Promise.resolve();
      const start = (snapshot?: LeaseSnapshot) => running = sync.run(snapshot, stop.signal);
      try {
        await play({ store, clock, log, problems, metrics, configs, peers, sync, own, start });
      } finally {
        stop.abort();
        await running;
      }
    });
  };
}

function revisionOf(from: StoreCursor | bigint): bigint {
  return typeof from === "bigint" ? from : from.revision;
}

/** The registry's log has parts; here their names don't matter. */
function withParts(log: RecordedLog): PartLog {
  const parts: PartLog = { ...log, child: () => parts };
  return parts;
}

/** As a call to an etcd that keeps silent. */
async function failAfter(clock: FakeClock, ms: number, signal: AbortSignal | undefined): Promise<never> {
  await clock.sleep(ms, signal);
  signal?.throwIfAborted();
  throw new Error("etcd at http://a: no leader");
}

/** Lets the sync run until `done`; it has no time to wait for. */
async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !done(); i++) await settle();
  assert.ok(done(), "didn't come about");
}

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

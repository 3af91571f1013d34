/**
 * What every lease store must do, as tests that each store's own test file runs against the real thing.
 *
 * @module
 */
import assert from "node:assert/strict";
import { CompactedError, type LeaseEvent, type LeaseStore } from "../../lib/leases/types.ts";
import { collect } from "./batch_collector.ts";

/** A store under test. */
export interface StoreFixture extends AsyncDisposable {
  /** Another client of the same data, as another process would have. The fixture disposes it. */
  open(): Promise<LeaseStore>;
  /** Makes the store forget the history of all changes so far. */
  compact(store: LeaseStore): Promise<void>;
  /** Puts several leases in one transaction. */
  putMany(leases: readonly { readonly key: string; readonly value: string }[]): Promise<void>;
}

/** Registers the whole suite for one kind of store. */
export function testStore(name: string, ignore: boolean, make: () => Promise<StoreFixture>): void {
  const test = (title: string, run: (fixture: StoreFixture, store: LeaseStore) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${title}`,
      ignore,
      // Connections and their timers end a moment after they are closed.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        await using fixture = await make();
        await run(fixture, await fixture.open());
      },
    });
  for (const part of [configTests, changeTests, valueTests, listTests, watchTests, gapTests, historyTests]) {
    part(test);
  }
}

type Test = (title: string, run: (fixture: StoreFixture, store: LeaseStore) => Promise<void>) => void;

const KEY = "10.5.1.0-24";
const VALUE = '{"PublicIP":"172.30.0.2","PublicIPv6":null}';

function configTests(test: Test): void {
  test("the config is absent, then as written, then as written again", async (_, store) => {
    assert.equal(await store.readConfig(), undefined);
    await store.writeConfig('{"Network":"10.5.0.0/16"}');
    const first = await store.readConfig();
    assert.equal(first?.text, '{"Network":"10.5.0.0/16"}');
    await store.writeConfig("{}");
    const second = await store.readConfig();
    assert.equal(second?.text, "{}");
    assert.ok(second.revision > first.revision);
  });

  test(
    "a watch says what the config is at first, then each change of it, beside the leases",
    async (fixture, store) => {
      const other = await fixture.open();
      await store.writeConfig("a");
      const from = await store.listLeases();
      await other.writeConfig("b");
      const seen: unknown[] = [];
      using stop = new Stop();
      for await (const { config, events } of store.watchLeases(from, { signal: stop.signal })) {
        if (config !== undefined) seen.push(config?.text);
        seen.push(...events.map(keyOf));
        if (seen.length === 1) await other.createLease(KEY, VALUE, 60);
        if (seen.length === 2) await other.writeConfig("c");
        if (seen.length === 3) break;
      }
      assert.deepEqual(seen, ["b", KEY, "c"]);
    },
  );

  test("a watch says that there is no config", async (_, store) => {
    using stop = new Stop();
    for await (const { config } of store.watchLeases(await store.listLeases(), { signal: stop.signal })) {
      assert.equal(config, null);
      break;
    }
  });

  test("the config isn't a lease", async (_, store) => {
    await store.writeConfig("{}");
    assert.deepEqual((await store.listLeases()).leases, []);
  });
}

function changeTests(test: Test): void {
  test("a key is created once", async (fixture, store) => {
    const other = await fixture.open();
    const created = await store.createLease(KEY, VALUE, 60);
    const revision = created!.revision;
    assert.deepEqual(created, { key: KEY, value: VALUE, revision, createRevision: revision, expires: true });
    assert.equal(await other.createLease(KEY, "other", 60), undefined);
    assert.deepEqual((await other.listLeases()).leases, [created]);
  });

  test("of many that create one key at once, one gets it", async (fixture) => {
    const stores = await Promise.all([fixture.open(), fixture.open(), fixture.open()]);
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, (_, i) => stores[i % 3]!.createLease(KEY, `${i}`, 60)),
    );
    const won = outcomes.filter((outcome) => outcome !== undefined);
    assert.equal(won.length, 1);
    assert.deepEqual((await stores[0]!.listLeases()).leases, won);
  });

  test("an update needs the key's revision and gives a new one", async (fixture, store) => {
    const other = await fixture.open();
    const created = (await store.createLease(KEY, VALUE, 60))!;
    const renewed = (await store.updateLease(created, VALUE, 60))!;
    assert.ok(renewed.revision > created.revision);
    assert.equal(renewed.value, VALUE);
    assert.equal(renewed.createRevision, created.createRevision);
    assert.equal(await other.updateLease(created, "late", 60), undefined);
    assert.equal(await other.deleteLease(created), false);
    assert.deepEqual((await other.listLeases()).leases, [renewed]);
  });

  test("a renewal needs the key's revision, and leaves the value", async (fixture, store) => {
    const other = await fixture.open();
    const created = (await store.createLease(KEY, VALUE, 60))!;
    const renewed = (await store.renewLease(created, 60))!;
    assert.deepEqual((await other.listLeases()).leases, [renewed]);
    assert.equal(renewed.value, VALUE);
    const changed = (await other.updateLease(renewed, "other", 60))!;
    assert.equal(await store.renewLease(renewed, 60), undefined);
    assert.equal(await other.deleteLease(changed), true);
    assert.equal(await store.renewLease(changed, 60), undefined);
    const reserved = (await store.createLease(KEY, VALUE, undefined))!;
    assert.equal((await store.renewLease(reserved, 60))!.expires, false);
  });

  test("a delete needs the key's revision; then the key is free", async (_, store) => {
    const created = (await store.createLease(KEY, VALUE, 60))!;
    assert.equal(await store.deleteLease(created), true);
    assert.equal(await store.deleteLease(created), false);
    assert.equal(await store.updateLease(created, VALUE, 60), undefined);
    assert.deepEqual((await store.listLeases()).leases, []);
    assert.ok((await store.createLease(KEY, VALUE, 60))!.revision > created.revision);
  });
}

function valueTests(test: Test): void {
  test("a lease expires, a renewed one later, and a reservation never", async (_, store) => {
    using stop = new Stop();
    const { revision } = await store.listLeases();
    const reserved = (await store.createLease("10.5.3.0-24", VALUE, undefined))!;
    assert.equal(reserved.expires, false);
    const kept = (await store.updateLease(reserved, "new", 1))!;
    assert.equal(kept.expires, false);
    await store.createLease(KEY, VALUE, 1);
    const renewed = (await store.createLease("10.5.2.0-24", VALUE, 1))!;
    await store.updateLease(renewed, VALUE, 60);
    const events = collect(store.watchLeases(revision, { signal: stop.signal }));
    await events.until((event) => event.kind === "delete");
    assert.deepEqual(events.all.filter(({ kind }) => kind === "delete").map(keyOf), [KEY]);
    assert.deepEqual((await store.listLeases()).leases.map(({ key }) => key), ["10.5.2.0-24", "10.5.3.0-24"]);
    assert.equal(await store.deleteLease(kept), true);
  });

  test("any text comes back as it was written", async (_, store) => {
    const values = ["", "ü→🐈", "a\u0000b", "\ufffd", `"\n\\`, "x".repeat(100_000)];
    for (const [i, value] of values.entries()) await store.createLease(`junk ${i} &ü/`, value, 60);
    const found = (await store.listLeases()).leases.map(({ value }) => value);
    for (const [i, value] of values.entries()) assert.ok(found[i] === value, `value ${i} differs`);
  });
}

function listTests(test: Test): void {
  test("an empty list has a revision to watch from", async (_, store) => {
    const { revision, leases } = await store.listLeases();
    assert.deepEqual(leases, []);
    using stop = new Stop();
    const events = collect(store.watchLeases(revision, { signal: stop.signal }));
    await store.createLease(KEY, VALUE, 60);
    await events.until((event) => keyOf(event) === KEY);
    assert.equal(events.all.length, 1);
  });

  test("an inspection knows when each lease expires, and that a reservation doesn't", async (_, store) => {
    await store.createLease("10.5.1.0-24", VALUE, 300);
    await store.createLease("10.5.2.0-24", VALUE, undefined);
    const { leases, revision } = await store.inspectLeases();
    assert.ok(revision > 0n);
    const [leased, reserved] = leases;
    assert.deepEqual([leased?.key, leased?.expires], ["10.5.1.0-24", true]);
    assert.ok(leased!.secondsLeft! > 290 && leased!.secondsLeft! <= 300, String(leased!.secondsLeft));
    assert.deepEqual([reserved?.expires, reserved?.secondsLeft], [false, undefined]);
  });

  test("an inspection for some leases' times knows those, and every lease", async (_, store) => {
    for (const number of [1, 2, 3]) await store.createLease(`10.5.${number}.0-24`, VALUE, 300);
    const { leases } = await store.inspectLeases({
      timed: (all) => all.filter(({ key }) => key === "10.5.2.0-24"),
    });
    assert.deepEqual(leases.map(({ key }) => key), ["10.5.1.0-24", "10.5.2.0-24", "10.5.3.0-24"]);
    assert.ok(leases[1]!.secondsLeft! > 290);
  });

  test("an update makes a lease a reservation, and gives its time back", async (_, store) => {
    const leased = (await store.createLease("10.5.1.0-24", VALUE, 300))!;
    const reserved = (await store.updateLease({ ...leased, expires: false }, VALUE, 300))!;
    assert.equal(reserved.expires, false);
    assert.equal((await store.listLeases()).leases[0]!.expires, false);
    assert.equal(await store.updateLease({ ...leased, expires: true }, VALUE, 300), undefined);
    const again = (await store.updateLease({ ...reserved, expires: true }, VALUE, 300))!;
    assert.equal(again.createRevision, leased.createRevision);
    assert.ok((await store.inspectLeases()).leases[0]!.secondsLeft! > 290);
  });

  test("a list of 5,500 has them all, at one revision", async (fixture, store) => {
    const all = Array.from({ length: 5500 }, (_, i) => ({
      key: `10.${i >> 8}.${i & 255}.0-24`,
      value: JSON.stringify({
        PublicIP: `172.16.${i >> 8}.${i & 255}`,
        BackendData: { VtepMAC: "3e:4b:bc:75:ce:43" },
      }),
    }));
    for (let i = 0; i < all.length; i += 100) await fixture.putMany(all.slice(i, i + 100));
    const { leases, revision } = await store.listLeases();
    const found = new Map(leases.map(({ key, value }) => [key, value]));
    assert.equal(leases.length, all.length);
    for (const { key, value } of all) assert.equal(found.get(key), value);
    assert.ok(leases.every((lease) => lease.revision <= revision));
  });
}

function watchTests(test: Test): void {
  test("a watch says at once that it stands", async (_, store) => {
    const { revision } = await store.listLeases();
    using stop = new Stop();
    for await (const batch of store.watchLeases(revision, { signal: stop.signal })) {
      assert.deepEqual([batch.revision, batch.events], [revision, []]);
      break;
    }
  });

  test("a watch reports every change from its revision on, in order, old and new", async (fixture, store) => {
    const other = await fixture.open();
    const { revision } = await store.listLeases();
    const created = (await other.createLease(KEY, "1", 60))!;
    using stop = new Stop();
    const events = collect(store.watchLeases(revision, { signal: stop.signal }));
    await events.until((event) => keyOf(event) === KEY);
    const updated = (await other.updateLease(created, "2", 60))!;
    const reserved = (await other.createLease("10.5.2.0-24", "3", undefined))!;
    await other.deleteLease(updated);
    await events.until((event) => event.kind === "delete");
    const { revision: last } = await store.listLeases();
    assert.deepEqual(events.all, [
      { kind: "put", lease: created },
      { kind: "put", lease: updated },
      { kind: "put", lease: reserved },
      { kind: "delete", key: KEY, revision: last },
    ]);
  });
}

/** 10.6.0.0-24 to 10.6.99.0-24, one after the other. */
async function createHundred(store: LeaseStore): Promise<void> {
  for (let i = 0; i < 100; i++) await store.createLease(`10.6.${i}.0-24`, VALUE, 60);
}

function gapTests(test: Test): void {
  test("list, then watch: no change is missed while others write", async (fixture, store) => {
    const other = await fixture.open();
    const writes = createHundred(other);
    const { revision, leases } = await store.listLeases();
    const keys = new Set(leases.map(({ key }) => key));
    using stop = new Stop();
    const events = collect(store.watchLeases(revision, { signal: stop.signal }));
    await writes;
    await events.until((event) => keyOf(event) === "10.6.99.0-24");
    for (const event of events.all) {
      assert.ok(!keys.has(keyOf(event)), `${keyOf(event)} came twice`);
      keys.add(keyOf(event));
    }
    assert.equal(keys.size, 100);
  });

  test(
    "watches one after the other, each from the last one's revision, leave no gap",
    async (fixture, store) => {
      const other = await fixture.open();
      const writes = createHundred(other);
      const keys: string[] = [];
      let { revision } = await store.listLeases();
      keys.push(
        ...(await store.listLeases()).leases.filter((lease) => lease.revision <= revision).map(({ key }) =>
          key
        ),
      );
      while (keys.length < 100) {
        using stop = new Stop();
        for await (const batch of store.watchLeases(revision, { signal: stop.signal })) {
          revision = batch.revision;
          keys.push(...batch.events.map(keyOf));
          if (batch.events.length > 0) break;
        }
      }
      await writes;
      assert.equal(new Set(keys).size, 100);
      assert.equal(keys.length, 100);
    },
  );

  test("all changes of one transaction come, under one revision", async (fixture, store) => {
    const { revision } = await store.listLeases();
    using stop = new Stop();
    const events = collect(store.watchLeases(revision, { signal: stop.signal }));
    const many = Array.from({ length: 100 }, (_, i) => ({ key: `10.7.${i}.0-24`, value: `${i}` }));
    await fixture.putMany(many);
    await events.until((event) => keyOf(event) === "10.7.99.0-24");
    assert.deepEqual(
      events.all.map((event) => event.kind === "put" && event.lease.key),
      many.map(({ key }) => key),
    );
    assert.equal(new Set(events.all.map((event) => event.kind === "put" && event.lease.revision)).size, 1);
  });
}

function historyTests(test: Test): void {
  test("a watch from before a compaction says so; one from after it works", async (fixture, store) => {
    const { revision } = await store.listLeases();
    for (let i = 0; i < 5; i++) await store.createLease(`10.6.${i}.0-24`, VALUE, 60);
    await fixture.compact(store);
    using stop = new Stop();
    await assert.rejects(async () => {
      for await (const _ of store.watchLeases(revision, { signal: stop.signal })) {
        /* the first look throws */
      }
    }, CompactedError);
    const { revision: now } = await store.listLeases();
    const events = collect(store.watchLeases(now, { signal: stop.signal }));
    await store.createLease(KEY, VALUE, 60);
    await events.until((event) => keyOf(event) === KEY);
    assert.equal(events.all.length, 1);
  });

  test("a watch from a revision that is yet to come says that the data was replaced", async (_, store) => {
    const { revision } = await store.listLeases();
    using stop = new Stop();
    await assert.rejects(async () => {
      for await (const _ of store.watchLeases(revision + 1000n, { signal: stop.signal })) { /* throws */ }
    }, CompactedError);
  });

  test("the signal ends a watch at once", async (_, store) => {
    const { revision } = await store.listLeases();
    const stop = new AbortController();
    const began = performance.now();
    for await (const _ of store.watchLeases(revision, { signal: stop.signal })) {
      setTimeout(() => stop.abort(), 1);
    }
    assert.ok(performance.now() - began < 5000);
    await assert.rejects(store.listLeases({ signal: stop.signal }), { name: "AbortError" });
  });
}

function keyOf(event: LeaseEvent): string {
  return event.kind === "put" ? event.lease.key : event.key;
}

/** A signal that fires at the end of its scope. */
class Stop implements Disposable {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}

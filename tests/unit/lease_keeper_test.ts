import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { LeaseKeeper } from "../../lib/leases/keeper.ts";
import { LeaseLostError } from "../../lib/leases/keeper_types.ts";
import { FakeClock, host, RecordedLog, scripted, settle, withStore } from "./lease_fixtures.ts";

import { KEY, MARGIN, OURS, putOf, scene, SECOND, TTL } from "./keeper_scene.ts";

/** This host's value at another address, with another MAC. */
const ELSEWHERE = encodeLeaseValue(host("172.30.0.77", "3e:4b:bc:75:ce:77"));

Deno.test(
  "keeper: nothing is written before the margin, then the same bytes once",
  scene(async (s) => {
    const before = (await s.now())!;
    await s.clock.advance((TTL - 2 * MARGIN) * SECOND);
    assert.deepEqual(await s.now(), before);
    await s.clock.advance(MARGIN * SECOND);
    const after = (await s.now())!;
    assert.ok(after.revision > before.revision);
    assert.equal(after.value, before.value);
    assert.equal(s.keeper.held.revision, after.revision);
    assert.ok(s.keeper.remaining > TTL - MARGIN);
  }),
);

Deno.test(
  "keeper: lives through ten times its TTL",
  scene(async (s) => {
    for (let i = 0; i < 40; i++) await s.clock.advance((TTL / 4) * SECOND);
    assert.ok(await s.now());
    assert.deepEqual(s.log.of("warn"), []);
  }),
);

Deno.test(
  "keeper: a reservation is left alone and kept",
  scene(async (s) => {
    const before = await s.now();
    await s.clock.advance(10 * TTL * SECOND);
    assert.deepEqual(await s.now(), before);
    assert.equal(s.keeper.remaining, Infinity);
  }, { ttl: undefined }),
);

Deno.test(
  "keeper: a failed renewal is retried after 100 ms to 5 s, and logged once in 30 s",
  scene(async (s) => {
    await s.clock.advance((TTL - MARGIN) * SECOND);
    const waits = s.clock.sleeps.filter((ms) => ms <= 5000);
    assert.deepEqual(waits.slice(0, 6), [75, 150, 300, 600, 1200, 2400]);
    await s.clock.advance(MARGIN / 2 * SECOND);
    assert.ok(s.clock.sleeps.every((ms) => ms <= 60_000));
    const lines = s.log.of("warn");
    assert.ok(lines.length >= 2 && lines.length <= MARGIN / 30 + 1, `${lines.length} lines`);
    assert.match(lines[0]!, /Cannot renew.*connection refused/);
  }, { script: () => ({ renewLease: () => Promise.reject(new Error("connection refused")) }) }),
);

Deno.test(
  "keeper: new attributes are published in place at once",
  scene(async (s) => {
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(0);
    assert.equal((await s.now())!.value, encodeLeaseValue(host("172.30.0.7")));
    assert.equal((await s.now())!.expires, true);
    s.keeper.observe(putOf((await s.now())!));
    s.keeper.update(host("172.30.0.8"));
    s.keeper.update(host("172.30.0.9", "3e:4b:bc:75:ce:99"));
    await s.clock.advance(0);
    assert.equal((await s.now())!.value, encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99")));
  }),
);

// It was called another host's: "in use by another host (a copied machine …)", and the host not ready for a minute.
Deno.test(
  "keeper: an earlier value of its own, out of a restored store, is replaced without an alarm",
  scene(async (s) => {
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(0);
    await s.store.updateLease(s.keeper.held, OURS, TTL);
    s.keeper.observeSnapshot(await s.store.listLeases(), false);
    await s.clock.advance(0);
    assert.equal((await s.now())!.value, encodeLeaseValue(host("172.30.0.7")));
    assert.deepEqual(s.log.of("error"), []);
    assert.equal(s.keeper.trouble().conflict, undefined);
  }),
);

// Of an earlier run it was not known, and called another host's.
Deno.test(
  "keeper: a value of an earlier run, out of a restored store, is replaced without an alarm",
  scene(async (s) => {
    await s.store.updateLease(s.keeper.held, encodeLeaseValue(host("172.30.0.5")), TTL);
    s.keeper.observeSnapshot(await s.store.listLeases(), true);
    await s.clock.advance(0);
    assert.equal((await s.now())!.value, OURS);
    assert.deepEqual(s.log.of("error"), []);
    assert.equal(s.keeper.trouble().conflict, undefined);
  }),
);

// With another address, and nothing else that proves it (host-gw has no MAC), the daemon ended.
Deno.test(
  "keeper: a value that an earlier run published from another address, out of a restored store, is replaced",
  scene(async (s) => {
    await s.store.updateLease(s.keeper.held, ELSEWHERE, TTL);
    s.keeper.observeSnapshot(await s.store.listLeases(), true);
    await s.clock.advance(0);
    assert.equal((await s.now())!.value, OURS);
    s.keeper.update(host("172.30.0.9", "3e:4b:bc:75:ce:99"));
    await s.clock.advance(0);
    assert.deepEqual(s.keeper.former, [ELSEWHERE, OURS]);
  }, { former: [ELSEWHERE] }),
);

Deno.test(
  "keeper: a reservation publishes new attributes and stays one",
  scene(async (s) => {
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(0);
    assert.deepEqual(await s.now().then((lease) => [lease!.value, lease!.expires]), [
      encodeLeaseValue(host("172.30.0.7")),
      false,
    ]);
  }, { ttl: undefined }),
);

Deno.test(
  "keeper: taken by another host",
  scene(async (s) => {
    const taken = (await s.store.updateLease(
      s.keeper.held,
      encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99")),
      TTL,
    ))!;
    s.keeper.observe(putOf(taken));
    const error = await s.ended();
    assert.ok(error instanceof LeaseLostError);
    assert.match(error.message, /10\.5\.1\.0-24 was taken by another host.*172\.30\.0\.9/);
  }),
);

Deno.test(
  "keeper: overwritten with junk",
  scene(async (s) => {
    s.keeper.observe(putOf((await s.store.updateLease(s.keeper.held, "junk", TTL))!));
    assert.match(String(await s.ended()), /LeaseLostError.*overwritten.*"junk" isn't a JSON object/);
  }),
);

Deno.test(
  "keeper: a conflict found at renewal is judged by a fresh list",
  scene(async (s) => {
    await s.store.updateLease(
      s.keeper.held,
      encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99")),
      10 * TTL,
    );
    await s.clock.advance((TTL - MARGIN) * SECOND);
    assert.match(String(await s.ended()), /taken by another host/);
  }),
);

Deno.test(
  "keeper: deleted",
  scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    s.keeper.observe({ kind: "delete", key: KEY, revision: (await s.store.listLeases()).revision });
    assert.match(String(await s.ended()), /LeaseLostError: The lease 10\.5\.1\.0-24 was deleted/);
  }),
);

Deno.test(
  "keeper: an operator's reservation is kept, and filled in again",
  scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    const reserved = (await s.store.createLease(KEY, '{"PublicIP":"172.30.0.2"}', undefined))!;
    // An operator's put replaces value and expiry in one step; the watch reports just that.
    s.keeper.observe(putOf(reserved));
    await s.clock.advance(0);
    assert.deepEqual(await s.now().then((lease) => [lease!.value, lease!.expires]), [OURS, false]);
    await s.clock.advance(3 * TTL * SECOND);
    assert.equal((await s.now())!.expires, false);
    assert.match(s.log.of("info").join(), /reservation now/);
  }),
);

Deno.test(
  "keeper: a reservation that got an expiry is renewed",
  scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    s.keeper.observe(putOf((await s.store.createLease(KEY, OURS, 300))!));
    for (let i = 0; i < 20; i++) await s.clock.advance(600 * SECOND);
    assert.equal((await s.now())?.expires, true);
    // It was reported as another host's conflict.
    assert.deepEqual(s.log.of("error"), []);
  }, { ttl: undefined }),
);

Deno.test(
  "keeper: events of its own writes and older ones say nothing",
  scene(async (s) => {
    const first = s.keeper.held;
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(0);
    s.keeper.observe(putOf(first));
    s.keeper.observe(putOf(s.keeper.held));
    s.keeper.observe({ kind: "delete", key: KEY, revision: first.revision - 1n });
    s.keeper.observeSnapshot({ revision: first.revision, leases: [first] }, false);
    await s.clock.advance(SECOND);
    assert.equal(s.keeper.held.value, encodeLeaseValue(host("172.30.0.7")));
  }),
);

Deno.test("keeper: its own write comes by the watch before the write's answer", () => {
  let keeper: LeaseKeeper | undefined;
  return scene(async (s) => {
    keeper = s.keeper;
    s.keeper.update(host("172.30.0.7"));
    for (let i = 0; i < 10; i++) await s.clock.advance(SECOND);
    assert.equal((await s.now())!.value, encodeLeaseValue(host("172.30.0.7")));
    assert.deepEqual(s.keeper.held, await s.now());
  }, {
    script: (store) => ({
      updateLease: async (...args) => {
        const stored = (await store.updateLease(...args))!;
        keeper!.observe(putOf(stored));
        await settle();
        return stored;
      },
    }),
  })();
});

Deno.test("keeper: a write whose answer was lost is recognised", () => {
  let lose = true;
  return scene(async (s) => {
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(10 * SECOND);
    assert.deepEqual(s.keeper.held, await s.now());
    assert.equal(s.keeper.held.value, encodeLeaseValue(host("172.30.0.7")));
  }, {
    script: (store) => ({
      updateLease: async (...args) => {
        const stored = await store.updateLease(...args);
        if (!lose) return stored;
        lose = false;
        throw new Error("connection reset");
      },
    }),
  })();
});

Deno.test(
  "keeper: a store restored from a backup, with our lease at another revision",
  scene(async (s) => {
    const older = (await s.store.updateLease(s.keeper.held, OURS, TTL))!;
    s.keeper.observeSnapshot(await s.store.listLeases(), false);
    await s.clock.advance(0);
    assert.deepEqual(s.keeper.held, older);
  }),
);

/** How often a lease of a minute is written in ten minutes. */
async function renewalsIn10Minutes(margin: number): Promise<number> {
  const clock = new FakeClock();
  let renewals = 0;
  await withStore(clock, async (store) => {
    const held = (await store.createLease(KEY, OURS, 60))!;
    const counting = scripted(store, { renewLease: (...args) => (renewals++, store.renewLease(...args)) });
    const keeper = new LeaseKeeper({
      ...{ store: counting, held, attributes: host("172.30.0.2"), ttl: 60, margin, clock },
      log: new RecordedLog(),
    });
    const stop = new AbortController();
    const running = keeper.run(stop.signal);
    await clock.advance(600 * SECOND);
    stop.abort();
    await running;
  });
  return renewals;
}

Deno.test("keeper: a margin that isn't shorter than the TTL doesn't make it write all the time", async () => {
  const renewals = await renewalsIn10Minutes(3600);
  assert.ok(renewals >= 18 && renewals <= 24, `${renewals} renewals in ten TTLs`);
});

// The margin was cut to half the TTL in silence.
Deno.test("keeper: a margin of almost the TTL is kept to, without a spin", async () => {
  const renewals = await renewalsIn10Minutes(50);
  assert.ok(renewals >= 58 && renewals <= 66, `${renewals} renewals 10 s apart in ten minutes`);
});

import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { LeaseKeeper } from "../../lib/leases/keeper.ts";
import { LeaseLostError } from "../../lib/leases/keeper_types.ts";
import type { LeaseEvent, LeaseStore, StoredLease } from "../../lib/leases/types.ts";
import { FakeClock, host, RecordedLog, scripted, settle, withStore } from "./lease_fixtures.ts";

const KEY = "10.5.1.0-24";
const OURS = encodeLeaseValue(host("172.30.0.2"));
const TTL = 3600;
const MARGIN = 600;
const SECOND = 1000;

interface Scene {
  readonly store: LeaseStore;
  readonly clock: FakeClock;
  readonly log: RecordedLog;
  readonly keeper: LeaseKeeper;
  /** What run() ended with. */
  ended(): Promise<unknown>;
  /** The key as it stands. */
  now(): Promise<StoredLease | undefined>;
}

/** A keeper that runs on a real store whose time is the test's; `script` replaces methods that it uses. */
function scene(
  play: (scene: Scene) => Promise<void>,
  setup: { ttl?: number | undefined; script?: (store: LeaseStore) => Partial<LeaseStore> } = {},
): () => Promise<void> {
  return async () => {
    const clock = new FakeClock();
    await withStore(clock, async (store) => {
      const ttl = "ttl" in setup ? setup.ttl : TTL;
      const held = (await store.createLease(KEY, OURS, ttl))!;
      const log = new RecordedLog();
      const used = scripted(store, setup.script?.(store) ?? {});
      const attributes = host("172.30.0.2");
      const keeper = new LeaseKeeper({
        store: used,
        held,
        attributes,
        ttl: TTL,
        margin: MARGIN,
        clock,
        log,
        isNetwork: (config) => config === "mine",
      });
      const stop = new AbortController();
      const running = keeper.run(stop.signal).then(() => undefined, (error) => error);
      const find = async () => (await store.listLeases()).leases.find(({ key }) => key === KEY);
      await play({ store, clock, log, keeper, ended: () => running, now: find });
      stop.abort();
      await running;
    });
  };
}

const putOf = (lease: StoredLease): LeaseEvent => ({ kind: "put", lease });

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
  "keeper: absent after a gap before its time was up: lost",
  scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    s.keeper.observeSnapshot(await s.store.listLeases(), false);
    assert.match(String(await s.ended()), /was deleted/);
  }),
);

/** A store whose data were replaced: the lease isn't there, and `config` is. */
function replacedStore(
  config: string | undefined,
  play: (s: Scene) => Promise<void>,
  meanwhile: (s: Scene) => Promise<unknown> = () => Promise.resolve(),
): () => Promise<void> {
  return scene(async (s) => {
    if (config !== undefined) await s.store.writeConfig(config);
    await s.store.deleteLease(s.keeper.held);
    await meanwhile(s);
    s.keeper.observeSnapshot(await s.store.listLeases(), true);
    await s.clock.advance(SECOND);
    await play(s);
  });
}

const recreated = async (s: Scene) => {
  assert.equal((await s.now())!.value, OURS);
  assert.deepEqual(s.keeper.held, await s.now());
  assert.match(s.log.of("warn").join(), /The store lost its data.*lease recreated/);
};

// It ended as if an operator had deleted the lease: every daemon of the network restarted, after seconds.
Deno.test("keeper: a store that was wiped: the lease is created again", replacedStore(undefined, recreated));
Deno.test("keeper: a wiped store with the same network: the same", replacedStore("mine", recreated));

Deno.test(
  "keeper: a wiped store with another network: lost",
  replacedStore("other", async (s) => assert.match(String(await s.ended()), /another network/)),
);

// It forgot that the lease was missing, and was a member without a lease until the next renewal.
Deno.test("keeper: a lease that can't be created again at once is created later", () => {
  let failures = 3;
  return scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    s.keeper.observeSnapshot(await s.store.listLeases(), true);
    await s.clock.advance(10 * SECOND);
    assert.equal((await s.now())?.value, OURS);
    assert.equal(failures, 0);
  }, {
    script: (store) => ({
      createLease: (...args) =>
        failures-- > 0 ? Promise.reject(new Error("down")) : (failures = 0, store.createLease(...args)),
    }),
  })();
});

// It published another address, found the key missing, and ended, before the sync saw that the store was wiped.
Deno.test("keeper: a write that finds the key missing waits for the word on why", () =>
  scene(async (s) => {
    await s.store.deleteLease(s.keeper.held);
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(5 * SECOND);
    assert.equal(await s.now(), undefined);
    s.keeper.observeSnapshot(await s.store.listLeases(), true);
    await s.clock.advance(2 * SECOND);
    assert.equal((await s.now())!.value, encodeLeaseValue(host("172.30.0.7")));
  })());

Deno.test("keeper: a write that finds the key missing, and an event says that it was deleted: lost", () =>
  scene(async (s) => {
    const { revision } = s.keeper.held;
    await s.store.deleteLease(s.keeper.held);
    s.keeper.update(host("172.30.0.7"));
    await s.clock.advance(SECOND);
    s.keeper.observe({ kind: "delete", key: KEY, revision: revision + 1n });
    await s.clock.advance(2 * SECOND);
    assert.match(String(await s.ended()), /was deleted/);
  })());

Deno.test(
  "keeper: a wiped store in which another host has the subnet: lost",
  replacedStore(
    undefined,
    async (s) => assert.match(String(await s.ended()), /taken by another host/),
    (s) => s.store.createLease(KEY, encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99")), TTL),
  ),
);

Deno.test(
  "keeper: a delete after a wiped store was followed again: lost",
  replacedStore(undefined, async (s) => {
    await recreated(s);
    await s.store.deleteLease(s.keeper.held);
    s.keeper.observeSnapshot(await s.store.listLeases(), false);
    assert.match(String(await s.ended()), /was deleted/);
  }),
);

/** Until `dead` ends, the store doesn't answer. */
function offline(store: LeaseStore, dead: () => boolean): Partial<LeaseStore> {
  const down = () => Promise.reject(new Error("down"));
  return {
    updateLease: (...args) => dead() ? down() : store.updateLease(...args),
    renewLease: (...args) => dead() ? down() : store.renewLease(...args),
    createLease: (...args) => dead() ? down() : store.createLease(...args),
    listLeases: (...args) => dead() ? down() : store.listLeases(...args),
  };
}

Deno.test("keeper: expired while the store was away: created again if still free", () => {
  let dead = true;
  return scene(async (s) => {
    await s.clock.advance(2 * TTL * SECOND);
    assert.equal(await s.now(), undefined);
    dead = false;
    await s.clock.advance(10 * SECOND);
    assert.equal((await s.now())!.value, OURS);
    assert.match(s.log.of("warn").join(), /expired.*lease recreated/);
    assert.deepEqual(s.keeper.held, await s.now());
  }, { script: (store) => offline(store, () => dead) })();
});

Deno.test("keeper: expired while the store was away, and somebody else has it now: lost", () => {
  let dead = true;
  return scene(async (s) => {
    await s.clock.advance(2 * TTL * SECOND);
    await s.store.createLease(KEY, encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99")), TTL);
    dead = false;
    await s.clock.advance(10 * SECOND);
    assert.match(String(await s.ended()), /taken by another host/);
  }, { script: (store) => offline(store, () => dead) })();
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

/** What the keeper does when its lease is missing in the store. */
import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import type { LeaseStore } from "../../lib/leases/types.ts";
import { host } from "./lease_fixtures.ts";

import { KEY, OURS, type Scene, scene, SECOND, TTL } from "./keeper_scene.ts";

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

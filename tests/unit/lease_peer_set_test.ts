import assert from "node:assert/strict";
import { encodeLeaseValue, type LeaseFault } from "../../lib/leases/codec.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import type { LeaseEvent, StoredLease } from "../../lib/leases/types.ts";
import { CONFIG4, CONFIG6, host } from "./lease_fixtures.ts";

const OWN = "10.5.1.0-24";
const A = "10.5.2.0-24";
const B = "10.5.3.0-24";

function stored(key: string, value: string = encodeLeaseValue(host("172.30.0.2"))): StoredLease {
  return { key, value, revision: 1n, createRevision: 1n, expires: true };
}

const put = (key: string, value?: string): LeaseEvent => ({ kind: "put", lease: stored(key, value) });
const gone = (key: string): LeaseEvent => ({ kind: "delete", key, revision: 2n });
const batch = (...events: LeaseEvent[]) => ({ revision: 2n, events });
const snapshot = (...leases: StoredLease[]) => ({ revision: 1n, leases });

function make(own: string = OWN) {
  const faults: LeaseFault[] = [];
  const refusals: LeaseFault[] = [];
  const told: (readonly string[])[] = [];
  const peers = new PeerSet({
    networks: [CONFIG4.network, CONFIG6.network],
    own: { key: own, createRevision: 0n },
    onFault: (fault) => faults.push(fault),
    onRefused: (refused) => refusals.push(...refused),
  });
  peers.subscribe((keys) => told.push(keys));
  return { peers, faults, refusals, told };
}

Deno.test("a first snapshot adds all but the own lease; an empty one is a state too", () => {
  const { peers, told } = make();
  assert.deepEqual(peers.applySnapshot(snapshot()), []);
  assert.deepEqual(told, []);
  const changes = peers.applySnapshot(snapshot(stored(OWN), stored(A), stored(B)));
  assert.deepEqual(changes.map(({ kind, key }) => [kind, key]), [["added", A], ["added", B]]);
  assert.deepEqual([...peers.peers.keys()], [A, B]);
  assert.deepEqual(told, [[A, B]]);
});

Deno.test("a second snapshot removes, adds and changes, and is silent about what is the same", () => {
  const { peers, told } = make();
  peers.applySnapshot(snapshot(stored(OWN), stored(A), stored(B), stored("10.5.4.0-24")));
  const other = encodeLeaseValue(host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
  const changes = peers.applySnapshot(
    snapshot(stored(A, other), stored(B), stored("10.5.5.0-24"), stored(OWN)),
  );
  assert.deepEqual(changes.map(({ kind, key }) => [kind, key]), [
    ["changed", A],
    ["added", "10.5.5.0-24"],
    ["removed", "10.5.4.0-24"],
  ]);
  assert.deepEqual(changes[0]?.before?.attributes, host("172.30.0.2"));
  assert.deepEqual(changes[0]?.after?.attributes, host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
  assert.equal(told.length, 2);
});

Deno.test("the own lease is ignored on every path, in every text form", () => {
  const own = "10.5.1.0-24&fc00:0:0:1::-64";
  const text = "10.5.1.0-24&FC00:0:0:1:0:0:0:0-64";
  for (const key of [own, text]) {
    const { peers } = make(own);
    assert.ok(peers.isOwn(key));
    assert.deepEqual(peers.applySnapshot(snapshot(stored(key))), []);
    assert.deepEqual(peers.applyBatch(batch(put(key), gone(key), put(key))), []);
    assert.deepEqual(peers.applySnapshot(snapshot()), []);
    assert.equal(peers.peers.size, 0);
  }
});

Deno.test("several events of one key are one change", () => {
  const { peers } = make();
  const changed = encodeLeaseValue(host("172.30.0.9"));
  assert.deepEqual(peers.applyBatch(batch(put(A), gone(A))), []);
  assert.deepEqual(peers.applyBatch(batch(put(A), put(A, changed))).map(({ kind }) => kind), ["added"]);
  assert.deepEqual(peers.applyBatch(batch(gone(A), put(A, changed))), []);
  assert.deepEqual(peers.applyBatch(batch(gone(A), put(A))).map(({ kind }) => kind), ["changed"]);
  assert.deepEqual(peers.applyBatch(batch(put(A, changed), gone(A))).map(({ kind }) => kind), ["removed"]);
  assert.deepEqual(peers.applyBatch(batch(gone(A))), []);
});

Deno.test("a renewal, or the same said in other words, is no change", () => {
  const { peers, told } = make();
  peers.applySnapshot(snapshot(stored(A)));
  const words =
    '{"BackendData":{"VtepMAC":"3e:4b:bc:75:ce:43","VNI":1},"BackendType":"vxlan","PublicIP":"172.30.0.2"}';
  assert.deepEqual(peers.applyBatch(batch(put(A), put(A, words))), []);
  assert.equal(told.length, 1);
});

Deno.test("a malformed lease is told once for each key and value, counted, and changes nothing else", () => {
  const { peers, faults } = make();
  const first = peers.applySnapshot(snapshot(stored("junk"), stored(A, "not json"), stored(B)));
  assert.deepEqual(first.map(({ key }) => key), [B]);
  for (let i = 0; i < 5; i++) peers.applySnapshot(snapshot(stored("junk"), stored(A, "not json"), stored(B)));
  peers.applyBatch(batch(put(A, "not json")));
  assert.deepEqual(faults.map(({ key }) => key), ["junk", A]);
  assert.equal(peers.malformed, 2);
  peers.applyBatch(batch(put(A, "still none")));
  assert.equal(faults.length, 3);
  assert.deepEqual(peers.applyBatch(batch(gone("junk"))), []);
  assert.deepEqual(peers.applyBatch(batch(put(A))).map(({ kind }) => kind), ["added"]);
  assert.equal(peers.malformed, 0);
  // A good lease that turns bad can't be reached any more.
  assert.deepEqual(peers.applyBatch(batch(put(A, "bad again"))).map(({ kind }) => kind), ["removed"]);
  assert.deepEqual(peers.applyBatch(batch(gone(A))), []);
  assert.deepEqual([...peers.peers.keys()], [B]);
});

Deno.test("a listener that left is not called", () => {
  const { peers, told } = make();
  const keys: string[] = [];
  const subscription = peers.subscribe((changed) => keys.push(...changed));
  peers.applyBatch(batch(put(A)));
  subscription[Symbol.dispose]();
  peers.applyBatch(batch(gone(A)));
  assert.deepEqual(keys, [A]);
  assert.equal(told.length, 2);
});

Deno.test("any order of batches and snapshots ends in the state of a fresh list", () => {
  const values = [host("172.30.0.2"), host("172.30.0.3"), host("172.30.0.2", "aa:bb:cc:dd:ee:ff")].map(
    encodeLeaseValue,
  );
  values.push("malformed");
  for (let round = 0; round < 200; round++) {
    const { peers } = make();
    const truth = new Map<string, string>();
    for (let step = 0; step < 30; step++) {
      const events: LeaseEvent[] = [];
      for (let i = 0; i < 3; i++) {
        const key = `10.5.${1 + Math.floor(Math.random() * 6)}.0-24`;
        const value = values[Math.floor(Math.random() * 5)];
        if (value === undefined) truth.delete(key);
        else truth.set(key, value);
        events.push(value === undefined ? gone(key) : put(key, value));
      }
      // What isn't told as events is seen by the next snapshot.
      if (Math.random() < 0.5) peers.applyBatch(batch(...events));
      else peers.applySnapshot(snapshot(...[...truth].map(([key, value]) => stored(key, value))));
    }
    const { peers: fresh } = make();
    fresh.applySnapshot(snapshot(...[...truth].map(([key, value]) => stored(key, value))));
    assert.deepEqual(new Map([...peers.peers].sort()), new Map([...fresh.peers].sort()));
    assert.equal(peers.malformed, fresh.malformed);
  }
});

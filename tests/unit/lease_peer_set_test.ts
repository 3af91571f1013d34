import assert from "node:assert/strict";
import {
  decodeLeaseKey,
  encodeLeaseValue,
  type LeaseFault,
  RESERVED_FOR_NOBODY,
} from "../../lib/leases/codec.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import type { LeaseEvent, StoredLease } from "../../lib/leases/types.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import { CONFIG4, CONFIG6, host, recorded } from "./lease_fixtures.ts";

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
  const seen: (readonly string[])[] = [];
  const peers = new PeerSet({
    networks: [CONFIG4.network, CONFIG6.network],
    own: { key: own, subnets: decodeLeaseKey(own)!, since: 0n },
    onFault: (fault) => faults.push(fault),
    onRefused: (refused) => refusals.push(...refused),
  });
  peers.subscribe((changes) => seen.push([...changes.keys()]));
  return { peers, feed: recorded(peers, own), faults, refusals, seen };
}

Deno.test("a first snapshot adds all but the own lease; an empty one is a state too", () => {
  const { peers, feed, seen } = make();
  assert.deepEqual(feed.list(snapshot()), []);
  assert.deepEqual(seen, []);
  const changes = feed.list(snapshot(stored(OWN), stored(A), stored(B)));
  assert.deepEqual(changes.map(({ kind, key }) => [kind, key]), [["added", A], ["added", B]]);
  assert.deepEqual([...peers.peers.keys()], [A, B]);
  assert.deepEqual(seen, [[A, B]]);
});

Deno.test("what takes a subnet and is no peer: reserved for no host, refused, malformed", () => {
  const { peers, feed } = make();
  const nobody = { ...stored("10.5.9.0-24", RESERVED_FOR_NOBODY), expires: false };
  const overlapping = { ...stored("10.5.2.0-25"), createRevision: 9n };
  feed.list(snapshot(stored(OWN), stored(A), nobody, overlapping, stored(B, "{"), stored("config")));
  assert.deepEqual(
    [...peers.others()].map(({ key, subnets, reserved }) => [key, subnets.ipv4?.length, reserved]),
    [["10.5.9.0-24", 24, true], ["10.5.2.0-25", 25, false], [B, 24, false]],
  );
});

// flannel_peers counted it: "other hosts" where there was none.
Deno.test("a subnet that is reserved for a host yet to come is a peer, but no host", () => {
  const { peers, feed } = make();
  const awaited = { ...stored(B, '{"PublicIP":"172.30.0.3","PublicIPv6":null}'), expires: false };
  feed.list(snapshot(stored(OWN), stored(A), awaited));
  assert.deepEqual([...peers.peers.keys()], [A, B]);
  assert.equal(peers.countHosts(), 1);
  feed.change(batch(put(B)));
  assert.equal(peers.countHosts(), 2);
});

Deno.test("a second snapshot removes, adds and changes, and is silent about what is the same", () => {
  const { feed, seen } = make();
  feed.list(snapshot(stored(OWN), stored(A), stored(B), stored("10.5.4.0-24")));
  const other = encodeLeaseValue(host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
  const changes = feed.list(
    snapshot(stored(A, other), stored(B), stored("10.5.5.0-24"), stored(OWN)),
  );
  assert.deepEqual(changes.map(({ kind, key }) => [kind, key]), [
    ["changed", A],
    ["added", "10.5.5.0-24"],
    ["removed", "10.5.4.0-24"],
  ]);
  assert.deepEqual(changes[0]?.before?.attributes, host("172.30.0.2"));
  assert.deepEqual(changes[0]?.after?.attributes, host("172.30.0.9", "aa:bb:cc:dd:ee:ff"));
  assert.equal(seen.length, 2);
});

Deno.test("the own lease is ignored on every path, in every text form", () => {
  const own = "10.5.1.0-24&fc00:0:0:1::-64";
  const text = "10.5.1.0-24&FC00:0:0:1:0:0:0:0-64";
  for (const key of [own, text]) {
    const { peers, feed } = make(own);
    assert.ok(new RecordFeed(peers, own).isOwn(key));
    assert.deepEqual(feed.list(snapshot(stored(key))), []);
    assert.deepEqual(feed.change(batch(put(key), gone(key), put(key))), []);
    assert.deepEqual(feed.list(snapshot()), []);
    assert.equal(peers.peers.size, 0);
  }
});

Deno.test("several events of one key are one change", () => {
  const { feed } = make();
  const changed = encodeLeaseValue(host("172.30.0.9"));
  assert.deepEqual(feed.change(batch(put(A), gone(A))), []);
  assert.deepEqual(feed.change(batch(put(A), put(A, changed))).map(({ kind }) => kind), ["added"]);
  assert.deepEqual(feed.change(batch(gone(A), put(A, changed))), []);
  assert.deepEqual(feed.change(batch(gone(A), put(A))).map(({ kind }) => kind), ["changed"]);
  assert.deepEqual(feed.change(batch(put(A, changed), gone(A))).map(({ kind }) => kind), ["removed"]);
  assert.deepEqual(feed.change(batch(gone(A))), []);
});

Deno.test("a renewal, or the same said in other words, is no change", () => {
  const { feed, seen } = make();
  feed.list(snapshot(stored(A)));
  const words =
    '{"BackendData":{"VtepMAC":"3e:4b:bc:75:ce:43","VNI":1},"BackendType":"vxlan","PublicIP":"172.30.0.2"}';
  assert.deepEqual(feed.change(batch(put(A), put(A, words))), []);
  assert.equal(seen.length, 1);
});

Deno.test("a malformed lease is reported once for each key and value, counted, and changes nothing else", () => {
  const { peers, feed, faults } = make();
  const first = feed.list(snapshot(stored("junk"), stored(A, "not json"), stored(B)));
  assert.deepEqual(first.map(({ key }) => key), [B]);
  for (let i = 0; i < 5; i++) feed.list(snapshot(stored("junk"), stored(A, "not json"), stored(B)));
  feed.change(batch(put(A, "not json")));
  assert.deepEqual(faults.map(({ key }) => key), ["junk", A]);
  assert.equal(peers.malformed, 2);
  feed.change(batch(put(A, "still none")));
  assert.equal(faults.length, 3);
  assert.deepEqual(feed.change(batch(gone("junk"))), []);
  assert.deepEqual(feed.change(batch(put(A))).map(({ kind }) => kind), ["added"]);
  assert.equal(peers.malformed, 0);
  // A good lease that turns bad can't be reached any more.
  assert.deepEqual(feed.change(batch(put(A, "bad again"))).map(({ kind }) => kind), ["removed"]);
  assert.deepEqual(feed.change(batch(gone(A))), []);
  assert.deepEqual([...peers.peers.keys()], [B]);
});

Deno.test("a listener that left is not called", () => {
  const { peers, feed, seen } = make();
  const keys: string[] = [];
  const subscription = peers.subscribe((changes) => keys.push(...changes.keys()));
  feed.change(batch(put(A)));
  subscription[Symbol.dispose]();
  feed.change(batch(gone(A)));
  assert.deepEqual(keys, [A]);
  assert.equal(seen.length, 2);
});

Deno.test("any order of batches and snapshots ends in the state of a fresh list", () => {
  const values = [host("172.30.0.2"), host("172.30.0.3"), host("172.30.0.2", "aa:bb:cc:dd:ee:ff")].map(
    encodeLeaseValue,
  );
  values.push("malformed");
  for (let round = 0; round < 200; round++) {
    const { peers, feed } = make();
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
      // The next snapshot shows what no event reported.
      if (Math.random() < 0.5) feed.change(batch(...events));
      else feed.list(snapshot(...[...truth].map(([key, value]) => stored(key, value))));
    }
    const { peers: fresh, feed: freshFeed } = make();
    freshFeed.list(snapshot(...[...truth].map(([key, value]) => stored(key, value))));
    assert.deepEqual(new Map([...peers.peers].sort()), new Map([...fresh.peers].sort()));
    assert.equal(peers.malformed, fresh.malformed);
  }
});

Deno.test("a restored store that gives a revision again with another value is not taken for unchanged", () => {
  const { feed } = make();
  feed.list(snapshot(stored(A)));
  assert.deepEqual(feed.list(snapshot(stored(A))), []);
  const changes = feed.list(snapshot(stored(A, encodeLeaseValue(host("172.30.0.9")))));
  assert.deepEqual(changes.map(({ kind, key }) => [kind, key]), [["changed", A]]);
});

// A subnet kept free by the operator was counted as malformed on every host.
Deno.test("a reservation for nobody is no peer, and nothing is wrong with it", () => {
  const faults: string[] = [];
  const peers = new PeerSet({ networks: [CONFIG4.network], onFault: ({ key }) => faults.push(key) });
  const vacant = { key: "10.5.9.0-24", value: RESERVED_FOR_NOBODY, revision: 1n, createRevision: 1n };
  new RecordFeed(peers).list({ leases: [{ ...vacant, expires: false }] });
  assert.deepEqual([peers.peers.size, peers.malformed, faults], [0, 0, []]);
  new RecordFeed(peers).list({ leases: [{ ...vacant, revision: 2n, expires: true }] });
  assert.deepEqual([peers.peers.size, peers.malformed, faults], [0, 1, ["10.5.9.0-24"]]);
});

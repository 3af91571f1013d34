/** Which leases become peers: one key in the store must not decide where a host routes. */
import assert from "node:assert/strict";
import { decodeLeaseKey, encodeLeaseValue, type LeaseFault } from "../../lib/leases/codec.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import type { LeaseEvent, StoredLease } from "../../lib/leases/types.ts";
import { prefixesOverlap } from "../../lib/net/prefix.ts";
import { CONFIG4, CONFIG6, host, recorded } from "./lease_fixtures.ts";

const OWN = "10.5.1.0-24";
const NETWORKS = [CONFIG4.network, CONFIG6.network];

function stored(key: string, created: number, address = "172.30.0.9"): StoredLease {
  const createRevision = BigInt(created);
  return {
    key,
    value: encodeLeaseValue(host(address)),
    revision: createRevision,
    createRevision,
    expires: true,
  };
}

const put = (key: string, created: number, address?: string): LeaseEvent => ({
  kind: "put",
  lease: stored(key, created, address),
});
const gone = (key: string): LeaseEvent => ({ kind: "delete", key, revision: 99n });

function make(own = { key: OWN, createRevision: 10n }) {
  const named: LeaseFault[] = [];
  const changed: string[][] = [];
  const peers = new PeerSet({
    networks: NETWORKS,
    own: { key: own.key, subnets: decodeLeaseKey(own.key)!, since: own.createRevision },
    onRefused: (refused) => named.push(...refused),
  });
  const feed = recorded(peers, own.key);
  peers.subscribe((changes) => changed.push([...changes.keys()].sort()));
  const apply = (...events: LeaseEvent[]) => feed.change({ events });
  const accepted = () => [...peers.peers.keys()].sort();
  const refused = () => [...peers.refused.keys()].sort();
  return { peers, feed, named, changed, apply, accepted, refused };
}

Deno.test("a subnet outside the network is refused: the underlay's own prefix, half the internet, a larger one", () => {
  const { peers, named, apply, accepted } = make();
  apply(put("172.30.0.0-16", 1), put("128.0.0.0-1", 2), put("10.0.0.0-8", 3), put("10.6.0.0-24", 4));
  assert.deepEqual(accepted(), []);
  assert.equal(
    peers.refused.get("172.30.0.0-16"),
    "its subnet 172.30.0.0/16 is outside the network 10.5.0.0/16",
  );
  assert.deepEqual(named.map(({ key }) => key), [
    "172.30.0.0-16",
    "128.0.0.0-1",
    "10.0.0.0-8",
    "10.6.0.0-24",
  ]);
  assert.equal(peers.malformed, 0);
  apply(gone("172.30.0.0-16"));
  assert.equal(peers.refused.size, 3);
});

Deno.test("of a dual-stack lease both subnets must be inside their networks", () => {
  const { apply, accepted, refused } = make();
  apply(
    put("10.5.2.0-24&fc00:0:0:2::-64", 1),
    put("10.5.3.0-24&2001:db8::-64", 2),
    put("10.6.3.0-24&fc00:0:0:3::-64", 3),
    put("0.0.0.0-0&fc00:0:0:4::-64", 4),
  );
  assert.deepEqual(accepted(), ["0.0.0.0-0&fc00:0:0:4::-64", "10.5.2.0-24&fc00:0:0:2::-64"]);
  assert.equal(refused().length, 2);
});

Deno.test("what overlaps the own subnet is refused, whatever its size and age", () => {
  const { peers, apply, accepted } = make();
  apply(put("10.5.1.0-25", 1), put("10.5.1.128-25", 20), put("10.5.0.0-23", 2), put("10.5.0.0-16", 3));
  assert.deepEqual(accepted(), []);
  assert.equal(
    peers.refused.get("10.5.1.128-25"),
    "its subnet 10.5.1.128/25 overlaps this host's own 10.5.1.0/24",
  );
});

Deno.test("of two that overlap the older one is a peer, in whatever order they come", () => {
  for (const order of [[0, 1], [1, 0]]) {
    const events = [put("10.5.2.0-24", 5), put("10.5.2.0-25", 6)];
    const { peers, apply, accepted } = make();
    for (const index of order) apply(events[index]!);
    assert.deepEqual(accepted(), ["10.5.2.0-24"]);
    assert.equal(peers.refused.get("10.5.2.0-25"), "its subnet overlaps that of the older lease 10.5.2.0-24");
  }
});

Deno.test("a renewal doesn't make a lease younger, and a lease that is created again is", () => {
  const { apply, accepted, feed } = make();
  apply(put("10.5.2.0-24", 5), put("10.5.2.0-25", 6));
  apply({ kind: "put", lease: { ...stored("10.5.2.0-24", 5, "172.30.0.7"), revision: 50n } });
  assert.deepEqual(accepted(), ["10.5.2.0-24"]);
  feed.list({ leases: [stored("10.5.2.0-24", 55), stored("10.5.2.0-25", 6)] });
  assert.deepEqual(accepted(), ["10.5.2.0-25"]);
});

Deno.test("when the winner goes the refused one comes in, and those that it displaces go", () => {
  const { apply, accepted, changed, refused } = make();
  apply(put("10.5.2.0-24", 5), put("10.5.2.0-23", 6), put("10.5.3.0-24", 7));
  assert.deepEqual(accepted(), ["10.5.2.0-24", "10.5.3.0-24"]);
  apply(gone("10.5.2.0-24"));
  assert.deepEqual(accepted(), ["10.5.2.0-23"]);
  assert.deepEqual(refused(), ["10.5.3.0-24"]);
  assert.deepEqual(changed.at(-1), ["10.5.2.0-23", "10.5.2.0-24", "10.5.3.0-24"]);
});

Deno.test("a lease outside the network, or a malformed one, displaces nobody", () => {
  const { apply, accepted } = make();
  apply({ kind: "put", lease: { ...stored("10.5.2.0-25", 1), value: "junk" } });
  apply(put("10.5.0.0-15", 2), put("10.4.0.0-15", 2), put("10.5.2.0-24", 9));
  assert.deepEqual(accepted(), ["10.5.2.0-24"]);
});

Deno.test("another text of one key is another lease of the same subnet: the older one is the peer", () => {
  const { apply, accepted } = make();
  apply(put("10.5.2.0-24&fc00:0:0:2::-64", 5), put("10.5.2.0-24&FC00:0:0:2:0:0:0:0-64", 4));
  assert.deepEqual(accepted(), ["10.5.2.0-24&FC00:0:0:2:0:0:0:0-64"]);
});

Deno.test("a refusal is named once, and again for another reason", () => {
  const { apply, named } = make();
  const bad = put("10.5.2.0-25", 6);
  apply(put("10.5.2.0-24", 5), bad, bad);
  apply(put("10.5.2.0-25", 6, "172.30.0.8"));
  assert.equal(named.length, 1);
  apply(put("10.5.2.0-23", 4));
  assert.deepEqual(named.slice(1).map(({ key }) => key).sort(), ["10.5.2.0-24", "10.5.2.0-25"]);
});

Deno.test("20,000 peers below a lease of the whole network: each change is judged in no time", () => {
  const { peers, feed, apply } = make({ key: "10.5.0.0-28", createRevision: 99_999n });
  const leases = Array.from({ length: 20_000 }, (_, i) => {
    const base = 0x0a050100 + i * 2;
    return stored(`10.5.${(base >> 8) & 255}.${base & 255}-31`, i + 10);
  });
  feed.list({ leases });
  assert.equal(peers.peers.size, 20_000);
  const began = performance.now();
  apply(put("10.5.0.0-16", 50_000));
  assert.equal(peers.peers.size, 20_000);
  apply(put("10.5.0.0-16", 5), ...leases.slice(0, 100).map((lease): LeaseEvent => ({ kind: "put", lease })));
  assert.equal(peers.peers.size, 0);
  apply(gone("10.5.0.0-16"));
  assert.equal(peers.peers.size, 20_000);
  assert.ok(performance.now() - began < 5000);
});

Deno.test("any history ends in the state of a fresh list, and no two peers overlap", () => {
  const keys = [
    "10.5.0.0-22",
    "10.5.2.0-23",
    "10.5.2.0-24",
    "10.5.2.128-25",
    "10.5.3.0-24",
    "10.5.3.0-25",
    OWN,
  ];
  keys.push("10.5.1.128-25", "10.6.0.0-24", "10.5.2.0-24&fc00:0:0:2::-64", "10.5.4.0-24&fc00:0:0:2::-64");
  for (let round = 0; round < 300; round++) {
    const { peers, feed } = make({ key: OWN, createRevision: 0n });
    const truth = new Map<string, StoredLease>();
    let revision = 0;
    for (let step = 0; step < 40; step++) {
      const key = keys[Math.floor(Math.random() * keys.length)]!;
      revision++;
      const isGone = Math.random() < 0.4 && key !== OWN;
      if (isGone) truth.delete(key);
      else truth.set(key, stored(key, truth.has(key) ? Number(truth.get(key)!.createRevision) : revision));
      const event: LeaseEvent = isGone ? gone(key) : { kind: "put", lease: truth.get(key)! };
      if (Math.random() < 0.8) feed.change({ events: [event] });
      else feed.list({ leases: [...truth.values()] });
    }
    feed.list({ leases: [...truth.values()] });
    const own = { key: OWN, createRevision: truth.get(OWN)?.createRevision ?? 0n };
    const { peers: fresh, feed: freshFeed } = make(own);
    freshFeed.list({ leases: [...truth.values()].reverse() });
    assert.deepEqual(new Map([...peers.peers].sort()), new Map([...fresh.peers].sort()));
    assert.deepEqual(new Map([...peers.refused].sort()), new Map([...fresh.refused].sort()));
    const subnets = [...peers.peers.values()].map((lease) => lease.subnets.ipv4!);
    for (const [i, a] of subnets.entries()) {
      assert.ok(subnets.slice(i + 1).every((b) => !prefixesOverlap(a, b)));
    }
  }
});

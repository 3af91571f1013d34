/**
 * An etcd whose data isn't what it was: restored, wiped, compacted. Against a real etcd, with a client that was away
 * meanwhile and comes back to one that has passed its revision.
 */
import assert from "node:assert/strict";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import type { LeaseStore, StoredLease } from "../../lib/leases/types.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { etcdTests, follow, type Following, openAt, PREFIX, until, value } from "./etcd_client.ts";
import { TcpProxy } from "./tcp_proxy.ts";

const test = etcdTests("etcd history");

/** A sync behind a line that can be cut, and a store of the others. */
interface Scene {
  readonly etcd: Etcd;
  readonly proxy: TcpProxy;
  readonly others: LeaseStore;
  readonly following: Following;
}

/** Plays with a sync that knows 10.5.1.0 and 10.5.2.0. */
async function scene(play: (scene: Scene, held: StoredLease[]) => Promise<void>): Promise<void> {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  await using others = openAt(etcd.endpoint);
  await others.writeConfig("a");
  const held = [
    (await others.createLease("10.5.1.0-24", value(1), 600))!,
    (await others.createLease("10.5.2.0-24", value(2), 600))!,
  ];
  await using store = openAt(proxy.endpoint);
  await using following = follow(store);
  await until("both peers", () => following.peers.peers.size === 2, 5000);
  await play({ etcd, proxy, others, following }, held);
}

/** Ends etcd and begins anew with what its data were at the snapshot. */
async function restore(etcd: Etcd, snapshot: string): Promise<void> {
  await etcd.stop();
  await Deno.remove(`${etcd.folder}/data`, { recursive: true });
  const peer = `http://127.0.0.1:${etcd.peerPort}`;
  await etcd.ctl(
    ...["snapshot", "restore", snapshot, "--name", "lab", "--data-dir", `${etcd.folder}/data`],
    ...["--initial-cluster", `lab=${peer}`, "--initial-advertise-peer-urls", peer],
  );
  await etcd.start();
}

/** Writes elsewhere until etcd is past the revision that the sync knows. */
async function overtake({ others, etcd, following }: Scene): Promise<void> {
  const known = BigInt(following.sync.health().version);
  while ((await others.listLeases()).revision <= known + 5n) await etcd.ctl("put", "/elsewhere", "x");
}

/** Waits until the sync's peers are those of a fresh list. */
async function untilRight({ others, following }: Scene): Promise<number> {
  const fresh = new PeerSet({ networks: [] });
  new RecordFeed(fresh).list(await others.listLeases());
  const wanted = JSON.stringify([...fresh.peers.keys()].sort());
  const took = await until(`the peers ${wanted}`, () => {
    return following.sync.health().connected &&
      JSON.stringify([...following.peers.peers.keys()].sort()) === wanted;
  }, 10_000);
  assert.deepEqual(new Map([...following.peers.peers].sort()), new Map([...fresh.peers].sort()));
  return took;
}

/** One change before the restore that the restored etcd doesn't have, and one that only it has. */
const CHANGES: Record<string, (scene: Scene, held: StoredLease[]) => Promise<unknown>> = {
  "a peer that was created": ({ others }) => others.createLease("10.5.3.0-24", value(3), 600),
  "a peer that was deleted": ({ others }, held) => others.deleteLease(held[0]!),
  "a peer that was changed": ({ others }, held) =>
    others.updateLease(held[0]!, value(1, "aa:bb:cc:dd:ee:ff"), 600),
  "nothing of ours": ({ etcd }) => etcd.ctl("put", "/elsewhere", "x"),
};

// The watch went on from the revision that the old history had reached, and never reported what the new one held.
for (const [what, change] of Object.entries(CHANGES)) {
  test(`restored from a snapshot, past the known revision, without ${what}`, () =>
    scene(async (s, held) => {
      const snapshot = `${s.etcd.folder}/snapshot`;
      await s.etcd.ctl("snapshot", "save", snapshot);
      await change(s, held);
      const { revision } = await s.others.listLeases();
      const isKnown = () =>
        what === "nothing of ours" || BigInt(s.following.sync.health().version) >= revision;
      await until("the change", isKnown, 5000);
      s.proxy.cut();
      await restore(s.etcd, snapshot);
      await s.others.createLease("10.5.4.0-24", value(4), 600);
      await s.others.updateLease(held[1]!, value(2, "aa:bb:cc:dd:ee:02"), 600);
      await overtake(s);
      s.proxy.heal();
      await untilRight(s);
      await s.others.createLease("10.5.5.0-24", value(5), 600);
      await untilRight(s);
    }));
}

test("wiped and begun anew under the same ids, past the known revision", () =>
  scene(async (s) => {
    s.proxy.cut();
    await s.etcd.stop();
    await Deno.remove(`${s.etcd.folder}/data`, { recursive: true });
    await s.etcd.start();
    await s.others.createLease("10.5.2.0-24", value(2), 600);
    await s.others.createLease("10.5.9.0-24", value(9), 600);
    await overtake(s);
    s.proxy.heal();
    await untilRight(s);
    await until("no config", () => s.following.configs.at(-1) === undefined, 5000);
  }));

test("a reconnect to the same history lists nothing", () =>
  scene(async (s, held) => {
    for (let round = 0; round < 3; round++) {
      await s.others.createLease(`10.5.${10 + round}.0-24`, value(10 + round), 600);
      await untilRight(s);
      s.proxy.cut();
      held[0] = (await s.others.updateLease(held[0]!, value(20 + round), 600))!;
      await s.others.createLease(`10.5.${20 + round}.0-24`, value(30 + round), 600);
      if (round === 1) await s.others.deleteLease(held[1]!);
      s.proxy.heal();
      await untilRight(s);
    }
    // The last change may also be one of a whole transaction, or a deletion.
    const puts = [40, 41].map((n) => `put ${PREFIX}/subnets/10.5.${n}.0-24 ${JSON.stringify(value(n))}`);
    await s.etcd.ctlWithInput(`\n${puts.join("\n")}\n\n\n`, "txn");
    await untilRight(s);
    s.proxy.dropLines();
    await untilRight(s);
    await s.etcd.ctl("del", `${PREFIX}/subnets/10.5.41.0-24`);
    await untilRight(s);
    s.proxy.dropLines();
    await until("the line to be noticed", () => !s.following.sync.health().connected, 5000);
    await untilRight(s);
    assert.equal(s.following.sync.health().resyncs, 0);
  }));

// The config's watch had a cursor of its own, which nothing moved after a compaction.
test("compacted while the line is cut: the config's changes are reported, before and after", () =>
  scene(async (s) => {
    await until("the config", () => s.following.configs.at(-1) === "a", 5000);
    s.proxy.cut();
    await s.others.writeConfig("b");
    await s.etcd.ctl("compaction", String((await s.others.listLeases()).revision));
    s.proxy.heal();
    await until("the new config", () => s.following.configs.at(-1) === "b", 10_000);
    await s.others.writeConfig("c");
    await until("the next config", () => s.following.configs.at(-1) === "c", 2000);
    await s.etcd.ctl("del", `${PREFIX}/config`);
    await until("its deletion", () => s.following.configs.at(-1) === undefined, 2000);
  }));

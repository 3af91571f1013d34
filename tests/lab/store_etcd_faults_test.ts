/** etcd's store and the sync on it, when things go wrong: against a real etcd and a network that fails. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CredentialSource } from "../../lib/leases/etcd/credentials.ts";
import { parseEndpoints } from "../../lib/leases/etcd/endpoints.ts";
import { EtcdPool } from "../../lib/leases/etcd/pool.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import type { LeaseStore } from "../../lib/leases/types.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { etcdTests, follow, openAt as open, PREFIX, until, value } from "./etcd_client.ts";
import { TcpProxy } from "./tcp_proxy.ts";

const test = etcdTests("etcd faults");

async function timed<T>(work: Promise<T>): Promise<[T, number]> {
  const began = performance.now();
  return [await work, performance.now() - began];
}

test("a dead first endpoint costs next to nothing", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  proxy.cut();
  await using warm = open(etcd.endpoint);
  await warm.readConfig();
  await using store = open(proxy.endpoint, etcd.endpoint);
  const [, ms] = await timed(store.readConfig());
  // A connection that isn't made is waited for 1 s.
  assert.ok(ms < 1000, `${ms} ms`);
});

test("an endpoint that takes connections and never answers costs less than 2 s", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  proxy.mute();
  await using store = open(proxy.endpoint, etcd.endpoint);
  const [, first] = await timed(store.readConfig());
  assert.ok(first < 2000, `${first} ms`);
  const [, second] = await timed(store.readConfig());
  assert.ok(second < 1000, `the second call took ${second} ms`);
});

/** Whether nobody listens: a listener that is being closed still takes connections, and resets them. */
async function refuses(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ port })).close();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.ConnectionRefused;
  }
}

// "The signal has been aborted": the commands' patience was shorter than that of the store, which knew more.
test("who has little patience hears what each endpoint did", async () => {
  await using etcd = await Etcd.start();
  await using silent = new TcpProxy(etcd.endpoint);
  await using dead = new TcpProxy(etcd.endpoint);
  silent.mute();
  dead.cut();
  await until("the listener's end", () => refuses(dead.port), 5000);
  const named = new RegExp(
    `${dead.endpoint}: connection refused; ${silent.endpoint}: no (answer|connection)`,
  );
  for (const call of ["readConfig", "listLeases"] as const) {
    await using store = open(dead.endpoint, silent.endpoint);
    const [, ms] = await timed(assert.rejects(store[call]({ timeoutMs: 700 }), named));
    assert.ok(ms < 2000, `${ms} ms`);
  }
  await using store = open(silent.endpoint, silent.endpoint.replace("127.0.0.1", "localhost"), dead.endpoint);
  await assert.rejects(
    store.readConfig({ timeoutMs: 300 }),
    /: no (answer|conn).*: no (answer|conn).*refused/,
  );
});

test("an endpoint that dies in use, by a cut and without a word, is left in less than 2 s", async () => {
  await using etcd = await Etcd.start();
  for (const fault of ["cut", "mute"] as const) {
    await using proxy = new TcpProxy(etcd.endpoint);
    await using store = open(proxy.endpoint, etcd.endpoint);
    await store.writeConfig("{}");
    proxy[fault]();
    // Many at once: each must go on to the other endpoint, none back to the dead one.
    const keys = Array.from({ length: 10 }, (_, i) => `10.5.${fault.length * 10 + i}.0-24`);
    const [created, ms] = await timed(Promise.all(keys.map((key) => store.createLease(key, value(1), 60))));
    assert.ok(ms < 2000, `${fault}: ${ms} ms`);
    assert.deepEqual(created.map((lease) => lease?.key), keys);
  }
});

test("a line that falls silent is noticed within 10 s by the watch, and nothing is missed", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = open(proxy.endpoint);
  await using direct = open(etcd.endpoint);
  await using following = follow(store);
  await until("connected", () => following.sync.health().connected, 5000);
  proxy.mute();
  await direct.createLease("10.5.1.0-24", value(1), 60);
  await until("silence noticed", () => !following.sync.health().connected, 11_000);
  proxy.heal();
  await until("the missed lease", () => following.peers.peers.size === 1, 10_000);
});

test("watch cut; peers added, deleted, changed; compacted; healed: the state of a fresh list", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = open(proxy.endpoint);
  await using direct = open(etcd.endpoint);
  const held = [];
  for (let i = 1; i <= 6; i++) held.push((await direct.createLease(`10.5.${i}.0-24`, value(i), 600))!);
  await using following = follow(store);
  await until("all peers", () => following.peers.peers.size === 6, 5000);
  for (const compact of [false, true]) {
    proxy.cut();
    const n = compact ? 20 : 10;
    await direct.deleteLease(held.pop()!);
    held[0] = (await direct.updateLease(held[0]!, value(n, `aa:bb:cc:dd:ee:${n}`), 600))!;
    held[1] = (await direct.updateLease(held[1]!, value(n), 600))!;
    held.unshift((await direct.createLease(`10.5.${n}.0-24`, value(n + 1), 600))!);
    const { revision } = await direct.listLeases();
    if (compact) await etcd.ctl("compaction", String(revision));
    proxy.heal();
    const fresh = new PeerSet({ networks: [] });
    new RecordFeed(fresh).list(await direct.listLeases());
    await until("caught up", () => BigInt(following.sync.health().version) >= revision, 10_000);
    assert.deepEqual(new Map([...following.peers.peers].sort()), new Map([...fresh.peers].sort()));
    assert.equal(following.sync.health().resyncs, compact ? 1 : 0);
  }
});

test("etcd killed and started again on its data, and on none", async () => {
  await using etcd = await Etcd.start();
  await using store = open(etcd.endpoint);
  await store.createLease("10.5.1.0-24", value(1), 600);
  await using following = follow(store);
  await until("the peer", () => following.peers.peers.size === 1, 5000);
  await etcd.stop();
  await until("down", () => !following.sync.health().connected, 5000);
  assert.equal(following.peers.peers.size, 1);
  await etcd.start();
  await store.createLease("10.5.2.0-24", value(2), 600);
  await until("the second peer", () => following.peers.peers.size === 2, 10_000);
  await etcd.stop();
  await Deno.remove(`${etcd.folder}/data`, { recursive: true });
  await etcd.start();
  await until("nobody left", () => following.peers.peers.size === 0, 10_000);
  await store.createLease("10.5.3.0-24", value(3), 600);
  await until("the third peer", () => following.peers.peers.size === 1, 5000);
});

test("a lost answer to a create isn't a lost race", async () => {
  await using etcd = await Etcd.start();
  let lost = 0;
  // Wherever the line breaks: before the grant's answer, between, or after the transaction is done.
  for (let bytes = 0; bytes < 400; bytes += 10) {
    await using proxy = new TcpProxy(etcd.endpoint);
    await using store = open(proxy.endpoint, etcd.endpoint);
    await store.readConfig();
    proxy.limit(bytes);
    const key = `10.5.${bytes / 10}.0-24`;
    const created = await store.createLease(key, value(1), 600);
    assert.equal(created?.key, key, `the line broke after ${bytes} bytes`);
    if (proxy.broken) lost++;
  }
  assert.ok(lost > 5, "the line hardly ever broke");
});

/** Puts `count` reservations, one revision each. */
async function putMany(store: LeaseStore, count: number): Promise<void> {
  for (let i = 0; i < count; i += 50) {
    await Promise.all(
      Array.from({ length: 50 }, (_, j) => i + j).map((n) =>
        store.createLease(`10.${n >> 8}.${n & 255}.0-24`, value(n + 1), undefined)
      ),
    );
  }
}

// etcd sends a watcher that is behind its events in batches of 1,000 revisions, all under the header of the
// newest one.
test("catching up with 3,000 revisions over a line that breaks again and again misses none", async () => {
  await using etcd = await Etcd.start();
  await using direct = open(etcd.endpoint);
  await putMany(direct, 3000);
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = open(proxy.endpoint);
  const keys = new Set<string>();
  let breaks = 0;
  const signal = AbortSignal.timeout(20_000);
  for (let revision = 1n; keys.size < 3000;) {
    assert.ok(breaks < 50 && !signal.aborted, `only ${keys.size} keys after ${breaks} breaks`);
    proxy.limit(250_000);
    try {
      for await (const batch of store.watchLeases(revision, { signal })) {
        for (const event of batch.events) if (event.kind === "put") keys.add(event.lease.key);
        revision = batch.revision;
        if (keys.size === 3000) break;
      }
    } catch {
      breaks++;
    }
  }
  assert.ok(breaks > 0, "the line never broke");
});

test("100,000 events leave memory flat", async () => {
  await using etcd = await Etcd.start();
  await using store = open(etcd.endpoint);
  await using following = follow(store);
  using pool = new EtcdPool(parseEndpoints(etcd.endpoint), new CredentialSource({}));
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const live: number[] = [];
  for (let round = 0; round < 10; round++) {
    for (let txn = 0; txn < 100; txn++) {
      const success = Array.from({ length: 100 }, (_, i) => ({
        request_put: {
          key: Buffer.from(`${PREFIX}/subnets/10.7.${i}.0-24`),
          value: Buffer.from(value(i + 1, `aa:bb:cc:${10 + round}:${10 + (txn % 90)}:01`)),
          lease: "0",
        },
      }));
      await pool.call("KV.txn", { compare: [], success, failure: [] });
    }
    const { revision } = await store.listLeases();
    await until("caught up", () => BigInt(following.sync.health().version) >= revision, 20_000);
    // Without a collection it is V8's liking that is measured, not what is kept.
    collect();
    live.push(Deno.memoryUsage().heapUsed / 1e6);
  }
  assert.equal(following.peers.peers.size, 100);
  // The first rounds bring what is made once; what leaks grows to the end.
  const growth = live.at(-1)! - live[2]!;
  assert.ok(
    growth < 4,
    `MB that live after each 10,000 events: ${live.map((mb) => mb.toFixed(1)).join(" ")}`,
  );
});

/** Acquiring and keeping leases on the real stores, for every combination of address families. */
import assert from "node:assert/strict";
import type { FamilyConfig } from "../../lib/config/types.ts";
import { acquireLease } from "../../lib/leases/acquire.ts";
import type { AcquiredLease } from "../../lib/leases/acquire_types.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { LeaseKeeper } from "../../lib/leases/keeper.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import { LeaseSync } from "../../lib/leases/sync.ts";
import type { LeaseAttributes, LeaseStore } from "../../lib/leases/types.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { ipOf, parseIp } from "../../lib/net/ip.ts";
import { parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { Etcd, hasEtcd } from "../../scripts/lab/etcd.ts";

const V4: FamilyConfig = {
  family: IPV4,
  network: parsePrefix("10.5.0.0/16"),
  subnetLength: 24,
  subnetMin: parseIp("10.5.1.0"),
  subnetMax: parseIp("10.5.255.0"),
};
const V6: FamilyConfig = {
  family: IPV6,
  network: parsePrefix("fc00::/48"),
  subnetLength: 64,
  subnetMin: parseIp("fc00:0:0:1::"),
  subnetMax: parseIp("fc00:0:0:ff::"),
};
const NETWORKS = { ipv4: [V4], ipv6: [V6], dual: [V4, V6] };
type Network = keyof typeof NETWORKS;

function networksOf(network: Network): Prefix[] {
  return NETWORKS[network].map((family) => family.network);
}

const KEY = {
  ipv4: /^10\.5\.\d+\.0-24$/,
  ipv6: /^0\.0\.0\.0-0&fc00:0:0:[0-9a-f]+::-64$/,
  dual: /^10\.5\.\d+\.0-24&fc00:0:0:[0-9a-f]+::-64$/,
};

function host(network: Network, n: number): LeaseAttributes {
  const ipv4 = network === "ipv6" ? {} : { ipv4: ipOf(IPV4, 0xac1e0000n + BigInt(n)) };
  const ipv6 = network === "ipv4" ? {} : { ipv6: ipOf(IPV6, (0xfd00n << 112n) + BigInt(n)) };
  return { publicIps: { ...ipv4, ...ipv6 }, backendType: "host-gw", backendData: {} };
}

function acquire(
  store: LeaseStore,
  network: Network,
  n: number,
  previous?: AcquiredLease,
): Promise<AcquiredLease> {
  return acquireLease({
    ...{ store, config: NETWORKS[network], attributes: host(network, n), ttl: 600, log: silentLog },
    clock: systemClock,
    random: (below) => BigInt(Math.floor(Math.random() * Number(below))),
    ...previous ? { previous: previous.lease.subnets } : {},
  });
}

interface Setup extends AsyncDisposable {
  open(): Promise<LeaseStore>;
}

async function etcdSetup(): Promise<Setup> {
  const etcd = await Etcd.start();
  return {
    open: () => Promise.resolve(openEtcdStore({ endpoints: etcd.endpoint, prefix: "/coreos.com/network" })),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
}

async function sqliteSetup(): Promise<Setup> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-sqlite-" });
  return {
    open: () => openSqliteStore(`${folder}/store.db`),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

for (
  const [kind, setup, ignore] of [["etcd", etcdSetup, !hasEtcd()], ["sqlite", sqliteSetup, false]] as const
) {
  const test = (name: string, run: (setup: Setup, store: LeaseStore) => Promise<void>) =>
    Deno.test({
      name: `leases on ${kind}: ${name}`,
      ignore,
      // Connections and their timers end a moment after they are closed.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        await using made = await setup();
        await using store = await made.open();
        await run(made, store);
      },
    });
  for (const network of Object.keys(NETWORKS) as Network[]) matrix(test, network);
  test("200 hosts at once get 200 subnets, and all see each other", (made) => crowd(made));
}

type Test = (name: string, run: (setup: Setup, store: LeaseStore) => Promise<void>) => void;

function matrix(test: Test, network: Network): void {
  test(`${network}: restart, wiped store, reservation, taken subnet`, async (_, store) => {
    const first = await acquire(store, network, 1);
    assert.match(first.held.key, KEY[network]);
    const restarted = await acquire(store, network, 1);
    assert.deepEqual([restarted.held.key, restarted.origin], [first.held.key, "reused"]);

    // The store was wiped, or the lease expired while the host was off.
    assert.ok(await store.deleteLease(restarted.held));
    const back = await acquire(store, network, 1, first);
    assert.deepEqual([back.held.key, back.origin], [first.held.key, "previous"]);

    // An operator makes a reservation of it.
    assert.ok(await store.deleteLease(back.held));
    await store.createLease(back.held.key, back.held.value, undefined);
    const reserved = await acquire(store, network, 1, first);
    assert.deepEqual([reserved.held.key, reserved.held.expires], [first.held.key, false]);

    // Somebody else has it.
    assert.ok(await store.deleteLease(reserved.held));
    await acquire(store, network, 2, first);
    const moved = await acquire(store, network, 1, first);
    assert.equal(moved.origin, "new");
    assert.notEqual(moved.held.key, first.held.key);
    assert.equal((await store.listLeases()).leases.length, 2);
  });

  test(`${network}: two hosts see each other, a change of address, and one leave`, async (made, store) => {
    await using other = await made.open();
    const stop = new AbortController();
    const a = await acquire(store, network, 1);
    const peers = new PeerSet({ networks: networksOf(network), own: ownOf(a) });
    const sync = new LeaseSync({ store, records: new RecordFeed(peers, a.held.key), clock: systemClock });
    const running = sync.run(a.snapshot, stop.signal);
    const b = await acquire(other, network, 2);
    const attributes = host(network, 2);
    const options = { store: other, held: b.held, attributes, ttl: 600, margin: 60, clock: systemClock };
    const keeper = new LeaseKeeper({ ...options, log: silentLog });
    const keeping = keeper.run(stop.signal);
    await until("b is seen", () => peers.peers.size === 1);
    assert.deepEqual(peers.peers.get(b.held.key), b.lease);
    keeper.update(host(network, 3));
    await until("b's new address", () =>
      peers.peers.get(b.held.key)?.attributes.publicIps !== undefined &&
      JSON.stringify(peers.peers.get(b.held.key)?.attributes, print) ===
        JSON.stringify(host(network, 3), print));
    await until("b's keeper knows", () => keeper.held.revision > b.held.revision);
    assert.ok(await other.deleteLease(keeper.held));
    await until("b is gone", () => peers.peers.size === 0);
    stop.abort();
    await Promise.all([running, keeping]);
  });
}

function ownOf({ held, lease }: AcquiredLease) {
  return { key: held.key, subnets: lease.subnets, since: held.createRevision };
}

function print(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

async function until(what: string, done: () => boolean): Promise<void> {
  const began = performance.now();
  while (!done()) {
    assert.ok(performance.now() - began < 10_000, `${what}: not within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function crowd(made: Setup): Promise<void> {
  const stores = await Promise.all([made.open(), made.open(), made.open(), made.open()]);
  const stop = new AbortController();
  try {
    const hosts = await Promise.all(Array.from({ length: 200 }, async (_, n) => {
      const store = stores[n % stores.length]!;
      const acquired = await acquire(store, "ipv4", n + 1);
      const { held, snapshot } = acquired;
      const peers = new PeerSet({ networks: networksOf("ipv4"), own: ownOf(acquired) });
      const running = new LeaseSync({ store, records: new RecordFeed(peers, held.key), clock: systemClock })
        .run(
          snapshot,
          stop.signal,
        );
      return { key: held.key, peers, running };
    }));
    assert.equal(new Set(hosts.map(({ key }) => key)).size, 200);
    await until("all see all", () => hosts.every(({ peers }) => peers.peers.size === 199));
    stop.abort();
    await Promise.all(hosts.map(({ running }) => running));
  } finally {
    stop.abort();
    for (const store of stores) await store[Symbol.asyncDispose]();
  }
}

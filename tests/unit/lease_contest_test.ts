/** Two live hosts with one public IP, and a host that finds its own lease again. */
import assert from "node:assert/strict";
import { acquireLease } from "../../lib/leases/acquire.ts";
import type { AcquireOptions } from "../../lib/leases/acquire_types.ts";
import { type Clock, systemClock } from "../../lib/time/clock.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { CONTEST_MS } from "../../lib/leases/contest.ts";
import { CLAIM_BACK_MS } from "../../lib/leases/judge.ts";
import { LeaseKeeper } from "../../lib/leases/keeper.ts";
import type { KeeperOptions } from "../../lib/leases/keeper_types.ts";
import type { LeaseAttributes, LeaseStore, StoredLease } from "../../lib/leases/types.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import {
  CONFIG4,
  CONFIG6,
  FakeClock,
  host,
  RecordedLog,
  scripted,
  seeded,
  withStore,
} from "./lease_fixtures.ts";

const KEY = "10.5.7.0-24";
const TTL = 3600;
const SUBNET = { ipv4: parsePrefix("10.5.7.0/24") };
const OLD = host("172.30.0.2", "aa:aa:aa:aa:aa:aa");
const NEW = host("172.30.0.2", "bb:bb:bb:bb:bb:bb");
const hostGw = (ip: string): LeaseAttributes => ({
  publicIps: { ipv4: parseIp(ip) },
  backendType: "host-gw",
  backendData: {},
});

/** Sleeps take no time, but the newcomer's watch: that lasts until it is released. */
class ContestClock implements Clock {
  readonly contest = Promise.withResolvers<void>();
  contests = 0;
  date = systemClock.date;
  now = systemClock.now;
  random = systemClock.random;

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms !== CONTEST_MS) return systemClock.sleep(0, signal);
    this.contests++;
    return new Promise((resolve) => {
      signal?.addEventListener("abort", () => resolve(), { once: true });
      this.contest.promise.then(resolve);
    });
  }
}

interface Scene {
  readonly store: LeaseStore;
  readonly clock: ContestClock;
  readonly log: RecordedLog;
  acquire(attributes: LeaseAttributes, change?: Partial<AcquireOptions>): ReturnType<typeof acquireLease>;
  /** The key's value as it stands. */
  value(key?: string): Promise<string | undefined>;
}

function scene(play: (scene: Scene) => Promise<void>): () => Promise<void> {
  return () =>
    withStore(new FakeClock(), async (store) => {
      const clock = new ContestClock();
      const log = new RecordedLog();
      await play({
        ...{ store, clock, log },
        acquire: (attributes, change = {}) =>
          acquireLease({
            store,
            config: [CONFIG4],
            attributes,
            ttl: TTL,
            clock,
            random: seeded(1),
            log,
            ...change,
          }),
        value: async (key = KEY) =>
          (await store.listLeases()).leases.find((lease) => lease.key === key)?.value,
      });
    });
}

/** A holder that runs, fed by a watch of its own. */
async function withHolder(
  store: LeaseStore,
  held: StoredLease,
  attributes: LeaseAttributes,
  play: (holder: { keeper: LeaseKeeper; log: RecordedLog; ended: Promise<unknown> }) => Promise<void>,
  change: Partial<KeeperOptions> = {},
): Promise<void> {
  const stop = new AbortController();
  const log = new RecordedLog();
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(Math.min(ms, 20), signal),
  };
  const keeper = new LeaseKeeper({ store, held, attributes, ttl: TTL, margin: 60, clock, log, ...change });
  const ended = keeper.run(stop.signal).then(() => undefined, (error) => error);
  const watching = (async () => {
    for await (const { events } of store.watchLeases(held.revision, { signal: stop.signal })) {
      for (const event of events) keeper.observe(event);
    }
  })();
  try {
    await play({ keeper, log, ended });
  } finally {
    stop.abort();
    await Promise.all([watching, ended]);
  }
}

for (
  const [what, old, now] of [["other", OLD, NEW], [
    "the same",
    hostGw("172.30.0.2"),
    hostGw("172.30.0.2"),
  ]] as const
) {
  Deno.test(
    `contest: a live holder keeps its lease against a newcomer with ${what} attributes, which ends with the reason`,
    scene(async (s) => {
      const held = (await s.store.createLease(KEY, encodeLeaseValue(old), TTL))!;
      await withHolder(s.store, held, old, async (holder) => {
        await assert.rejects(s.acquire(now), (error: Error) => {
          assert.equal(error.name, "HeldElsewhereError");
          assert.match(
            error.message,
            /172\.30\.0\.2 is in use by another host.*10\.5\.7\.0-24.*-public-ip or -iface/,
          );
          assert.ok(error.message.includes(encodeLeaseValue(old)), "it names the holder's value");
          return true;
        });
        assert.equal(await s.value(), encodeLeaseValue(old));
        assert.match(
          holder.log.of("error").join(),
          /in use by another host, which overwrote the lease.*writing it back/,
        );
      });
    }),
  );
}

Deno.test(
  "contest: the lease of a host that is gone goes to the newcomer, after it was watched",
  scene(async (s) => {
    await s.store.createLease(KEY, encodeLeaseValue(OLD), TTL);
    const acquiring = s.acquire(NEW);
    while (s.clock.contests === 0) await systemClock.sleep(1);
    assert.equal(await s.value(), encodeLeaseValue(NEW), "it writes at once and then watches");
    s.clock.contest.resolve();
    const { held, origin, replaced } = await acquiring;
    assert.deepEqual([held.key, origin, replaced], [KEY, "reused", encodeLeaseValue(OLD)]);
  }),
);

Deno.test(
  "contest: a watch that fails proves nothing: the next try watches again",
  scene(async (s) => {
    await s.store.createLease(KEY, encodeLeaseValue(OLD), TTL);
    let failures = 1;
    const store = scripted(s.store, {
      watchLeases: (from, options) => {
        if (failures-- > 0) throw new Error("connection lost");
        return s.store.watchLeases(from, options);
      },
    });
    s.clock.contest.resolve();
    const { replaced } = await s.acquire(NEW, { store });
    assert.equal(s.clock.contests, 2);
    assert.equal(replaced, encodeLeaseValue(OLD));
  }),
);

Deno.test(
  "contest: hosts behind one address with different udp ports have a lease each",
  scene(async (s) => {
    const publicIps = { ipv4: parseIp("203.0.113.7") };
    const first = await s.acquire({ publicIps, backendData: {} });
    const second = await s.acquire({ publicIps, backendData: { ipv4: { Port: 8286 } } });
    assert.notEqual(first.held.key, second.held.key);
    const again = await s.acquire({ publicIps, backendData: { ipv4: { Port: 8286 } } }, {
      previous: second.lease.subnets,
    });
    assert.equal(again.held.key, second.held.key);
    assert.equal(s.clock.contests, 0);
  }),
);

Deno.test(
  "contest: what is proven to be this host's lease is taken without a wait",
  scene(async (s) => {
    const proofs: [LeaseAttributes, LeaseAttributes, Partial<AcquireOptions>][] = [
      // The machine comes to the same MAC again.
      [OLD, OLD, {}],
      // The device is still here, under a MAC that the original chose.
      [OLD, NEW, { evidence: { macs: ["aa:aa:aa:aa:aa:aa"] } }],
      // The subnet file of an earlier run.
      [hostGw("172.30.0.2"), hostGw("172.30.0.2"), { previous: SUBNET }],
      // What an earlier run wrote last, whatever this one publishes.
      [hostGw("172.30.0.2"), NEW, {
        evidence: { lease: { key: KEY, value: encodeLeaseValue(hostGw("172.30.0.2")) } },
      }],
    ];
    for (const [before, now, change] of proofs) {
      const stored = (await s.store.createLease(KEY, encodeLeaseValue(before), TTL))!;
      const { held, replaced } = await s.acquire(now, change);
      assert.deepEqual([held.key, held.value, replaced], [KEY, encodeLeaseValue(now), undefined]);
      assert.ok(held.revision > stored.revision);
      await s.store.deleteLease(held);
    }
    assert.equal(s.clock.contests, 0);
  }),
);

Deno.test(
  "contest: an operator's reservation has no live holder where the backend says its type",
  scene(async (s) => {
    await s.store.createLease(KEY, '{"PublicIP":"172.30.0.2"}', undefined);
    assert.equal((await s.acquire(NEW)).held.key, KEY);
    assert.equal(s.clock.contests, 0);
  }),
);

Deno.test(
  "a host whose address changed while it was stopped keeps its subnet, and no other host is blamed",
  scene(async (s) => {
    const proofs: [LeaseAttributes, LeaseAttributes, Partial<AcquireOptions>][] = [
      [OLD, host("172.30.0.77", "aa:aa:aa:aa:aa:aa"), { evidence: { macs: ["aa:aa:aa:aa:aa:aa"] } }],
      [hostGw("172.30.0.2"), hostGw("172.30.0.77"), {
        evidence: { lease: { key: KEY, value: encodeLeaseValue(hostGw("172.30.0.2")) } },
        previous: SUBNET,
      }],
      // The store was restored meanwhile: it says what an even earlier run published.
      [hostGw("172.30.0.2"), hostGw("172.30.0.77"), {
        evidence: {
          lease: {
            key: KEY,
            value: encodeLeaseValue(hostGw("172.30.0.76")),
            former: [encodeLeaseValue(hostGw("172.30.0.2"))],
          },
        },
        previous: SUBNET,
      }],
    ];
    for (const [before, now, change] of proofs) {
      await s.store.createLease(KEY, encodeLeaseValue(before), TTL);
      const { held, origin } = await s.acquire(now, change);
      assert.deepEqual([held.key, held.value, origin], [KEY, encodeLeaseValue(now), "reused"]);
      assert.match(s.log.of("info").join(), /publishes changed since its last run: it keeps its lease/);
      assert.doesNotMatch(JSON.stringify(s.log.lines), /another host/);
      await s.store.deleteLease(held);
    }
    assert.equal(s.clock.contests, 0);
  }),
);

Deno.test(
  "another host's lease of this host's earlier subnet stays its own, whatever the subnet file says",
  scene(async (s) => {
    await s.store.createLease(KEY, encodeLeaseValue(hostGw("172.30.0.9")), TTL);
    const { held } = await s.acquire(hostGw("172.30.0.2"), { previous: SUBNET });
    assert.notEqual(held.key, KEY);
    assert.equal(await s.value(), encodeLeaseValue(hostGw("172.30.0.9")));
  }),
);

Deno.test(
  "dual stack: a key whose create got no answer is given up where another host has a half of it",
  scene(async (s) => {
    const config = [CONFIG4, CONFIG6];
    const other = encodeLeaseValue(host("172.30.0.9", "cc:cc:cc:cc:cc:cc"));
    let lost = true;
    const store = scripted(s.store, {
      createLease: async (key, value, ttl, options) => {
        if (!lost) return await s.store.createLease(key, value, ttl, options);
        lost = false;
        // Another host is a moment faster with the same IPv4 subnet; then our answer is lost.
        await s.store.createLease(`${key.split("&")[0]}&fc00:0:0:7777::-64`, other, TTL);
        await s.store.createLease(key, value, ttl, options);
        throw new Error("connection lost");
      },
    });
    const { held } = await s.acquire(OLD, { store, config });
    const keys = (await s.store.listLeases()).leases.map(({ key }) => key);
    assert.equal(keys.length, 2, "the key that shares a subnet is gone");
    assert.equal(new Set(keys.map((key) => key.split("&")[0])).size, 2);
    assert.ok(keys.includes(held.key));
  }),
);

Deno.test(
  "contest: the holder that comes back within a minute gets its lease from the newcomer that took it over",
  scene(async (s) => {
    const before = (await s.store.createLease(KEY, encodeLeaseValue(OLD), TTL))!;
    const taken = (await s.store.updateLease(before, encodeLeaseValue(NEW), TTL))!;
    await withHolder(s.store, taken, NEW, async (newcomer) => {
      await withHolder(s.store, before, OLD, async (holder) => {
        assert.match(
          String(await newcomer.ended),
          /in use by another host, which wrote its value of the lease/,
        );
        assert.equal(await s.value(), encodeLeaseValue(OLD));
        assert.equal(holder.keeper.trouble().conflict?.value, encodeLeaseValue(NEW));
      });
    }, { replaced: encodeLeaseValue(OLD) });
  }),
);

Deno.test(
  "contest: a holder that was cut off for longer than a minute doesn't claim the lease back",
  scene(async (s) => {
    const before = (await s.store.createLease(KEY, encodeLeaseValue(OLD), TTL))!;
    await s.store.updateLease(before, encodeLeaseValue(NEW), TTL);
    await withHolder(s.store, before, OLD, async (holder) => {
      assert.match(
        String(await holder.ended),
        /took over the lease 10\.5\.7\.0-24 while the store was out of reach for 61 s/,
      );
      assert.equal(await s.value(), encodeLeaseValue(NEW));
    }, { outageMs: () => CLAIM_BACK_MS + 1000 });
  }),
);

import assert from "node:assert/strict";
import { acquireLease } from "../../lib/leases/acquire.ts";
import type { AcquireOptions } from "../../lib/leases/acquire_types.ts";
import { type Clock, systemClock } from "../../lib/time/clock.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { type LeaseStore, StoreError } from "../../lib/leases/types.ts";
import { ipOf, parseIp } from "../../lib/net/ip.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import {
  CONFIG4,
  CONFIG6,
  FakeClock,
  host,
  RecordedLog,
  scripted,
  seeded,
  smallConfig,
  withStore,
} from "./lease_fixtures.ts";

/** Waits take no time. */
const hurried: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(0, signal) };

function options(
  store: LeaseStore,
  change: Partial<AcquireOptions> = {},
): AcquireOptions & { log: RecordedLog } {
  return {
    store,
    config: [CONFIG4],
    attributes: host("172.30.0.2"),
    ttl: 3600,
    clock: hurried,
    random: seeded(1),
    ...change,
    log: new RecordedLog(),
  };
}

const OTHER = encodeLeaseValue(host("172.30.0.9", "3e:4b:bc:75:ce:99"));
const OURS = encodeLeaseValue(host("172.30.0.2"));

function inStore(run: (store: LeaseStore) => Promise<void>): () => Promise<void> {
  return () => withStore(new FakeClock(), run);
}

Deno.test(
  "acquire: a new lease of a free subnet, and the list that was read",
  inStore(async (store) => {
    await store.createLease("10.5.1.0-24", OTHER, 60);
    const { held, lease, snapshot, origin } = await acquireLease(
      options(store, { config: [smallConfig(2)] }),
    );
    assert.equal(origin, "new");
    assert.equal(held.key, "10.5.2.0-24");
    assert.equal(held.value, OURS);
    assert.ok(held.expires);
    assert.deepEqual(lease, {
      subnets: { ipv4: parsePrefix("10.5.2.0/24") },
      attributes: host("172.30.0.2"),
    });
    assert.deepEqual(snapshot.leases.map(({ key }) => key), ["10.5.1.0-24"]);
    assert.ok(snapshot.revision < held.revision);
  }),
);

Deno.test(
  "acquire: one list in total",
  inStore(async (store) => {
    let lists = 0;
    const counting = scripted(store, { listLeases: (o) => (lists++, store.listLeases(o)) });
    await acquireLease(options(counting));
    await acquireLease(options(counting));
    assert.equal(lists, 2);
  }),
);

Deno.test(
  "acquire: the lease with our public IP is taken over, whatever the subnet file says",
  inStore(async (store) => {
    await store.createLease("10.5.7.0-24", encodeLeaseValue(host("172.30.0.2", "aa:bb:cc:dd:ee:ff")), 60);
    const o = options(store, { previous: { ipv4: parsePrefix("10.5.8.0/24") } });
    const { held, origin } = await acquireLease(o);
    assert.equal(origin, "reused");
    assert.equal(held.key, "10.5.7.0-24");
    assert.equal(held.value, OURS);
    assert.match(o.log.of("info").join(), /unless a running host holds it.*aa:bb:cc:dd:ee:ff/);
  }),
);

Deno.test(
  "acquire: a reservation is taken over and stays one",
  inStore(async (store) => {
    await store.createLease("10.5.7.0-24", '{"PublicIP":"172.30.0.2"}', undefined);
    const { held } = await acquireLease(options(store));
    assert.equal(held.key, "10.5.7.0-24");
    assert.equal(held.value, OURS);
    assert.equal(held.expires, false);
    assert.deepEqual((await store.listLeases()).leases, [held]);
  }),
);

Deno.test(
  "acquire: of several leases with our IP, the subnet file's",
  inStore(async (store) => {
    for (const key of ["10.5.7.0-24", "10.5.8.0-24", "10.5.9.0-24"]) await store.createLease(key, OURS, 60);
    const { held } = await acquireLease(options(store, { previous: { ipv4: parsePrefix("10.5.8.0/24") } }));
    assert.equal(held.key, "10.5.8.0-24");
  }),
);

Deno.test(
  "acquire: our lease that doesn't fit the config is deleted",
  inStore(async (store) => {
    for (const key of ["10.6.7.0-24", "10.5.8.0-25"]) await store.createLease(key, OURS, 60);
    const o = options(store);
    const { held, origin } = await acquireLease(o);
    assert.equal(origin, "new");
    assert.deepEqual((await store.listLeases()).leases, [held]);
    assert.equal(o.log.of("warn").length, 2);
  }),
);

Deno.test(
  "acquire: the subnet file's subnet, if it is free (etcd wiped, lease expired)",
  inStore(async (store) => {
    const { held, origin } = await acquireLease(
      options(store, { previous: { ipv4: parsePrefix("10.5.8.0/24") } }),
    );
    assert.equal(origin, "previous");
    assert.equal(held.key, "10.5.8.0-24");
  }),
);

Deno.test(
  "acquire: a subnet that somebody else has now is never switched silently",
  inStore(async (store) => {
    await store.createLease("10.5.8.0-24", OTHER, 60);
    const o = options(store, { previous: { ipv4: parsePrefix("10.5.8.0/24") } });
    const { held, origin } = await acquireLease(o);
    assert.equal(origin, "new");
    assert.notEqual(held.key, "10.5.8.0-24");
    assert.match(o.log.of("error").join(), /is leased to another public IP.*10\.5\.8\.0\/24.*172\.30\.0\.9/);
  }),
);

Deno.test(
  "acquire: the subnet file's subnet, taken while we asked for it",
  inStore(async (store) => {
    const late = scripted(store, {
      createLease: async (key, value, ttl, o) => {
        if (key === "10.5.8.0-24") await store.createLease(key, OTHER, 60);
        return await store.createLease(key, value, ttl, o);
      },
    });
    const o = options(late, { previous: { ipv4: parsePrefix("10.5.8.0/24") } });
    const { held } = await acquireLease(o);
    assert.notEqual(held.key, "10.5.8.0-24");
    assert.match(o.log.of("error").join(), /is leased to another public IP/);
  }),
);

Deno.test(
  "acquire: an earlier subnet outside today's config is logged and not taken",
  inStore(async (store) => {
    const o = options(store, { previous: { ipv4: parsePrefix("10.9.8.0/24") } });
    assert.equal((await acquireLease(o)).origin, "new");
    assert.match(o.log.of("warn").join(), /doesn't fit.*10\.9\.8\.0\/24/);
  }),
);

Deno.test(
  "acquire: a lost race picks again, and a lost lease of ours too",
  inStore(async (store) => {
    let losses = 3;
    const racing = scripted(store, {
      createLease: async (key, value, ttl, o) => {
        if (losses-- > 0) await store.createLease(key, OTHER, 60);
        return await store.createLease(key, value, ttl, o);
      },
    });
    const { held } = await acquireLease(options(racing));
    assert.equal((await store.listLeases()).leases.length, 4);
    const dying = scripted(store, {
      updateLease: async (lease) => {
        await store.deleteLease(lease);
        return undefined;
      },
    });
    const again = await acquireLease(options(dying, { previous: { ipv4: parsePrefix("10.5.99.0/24") } }));
    assert.equal(again.held.key, "10.5.99.0-24");
    assert.notEqual(held.key, "10.5.99.0-24");
  }),
);

Deno.test(
  "acquire: dual stack keeps two hosts from one subnet under two keys",
  inStore(async (store) => {
    let first = true;
    const racing = scripted(store, {
      createLease: async (key, value, ttl, o) => {
        // Another host takes the same IPv4 subnet with another IPv6 one at the same moment.
        if (first) await store.createLease(`${key.split("&")[0]}&fc00:0:0:7777::-64`, OTHER, 60);
        first = false;
        return await store.createLease(key, value, ttl, o);
      },
    });
    await acquireLease(options(racing, { config: [CONFIG4, CONFIG6] }));
    const ipv4 = (await store.listLeases()).leases.map(({ key }) => key.split("&")[0]);
    assert.equal(ipv4.length, 2);
    assert.equal(new Set(ipv4).size, 2);
  }),
);

Deno.test(
  "acquire: IPv6 alone is known by its IPv6 address",
  inStore(async (store) => {
    const attributes = { publicIps: { ipv6: parseIp("fd00::2") }, backendData: {} };
    const other = { publicIps: { ipv6: parseIp("fd00::3") }, backendData: {} };
    const a = await acquireLease(options(store, { config: [CONFIG6], attributes }));
    const b = await acquireLease(options(store, { config: [CONFIG6], attributes: other }));
    assert.notEqual(a.held.key, b.held.key);
    assert.match(a.held.key, /^0\.0\.0\.0-0&fc00:0:0:[0-9a-f]+::-64$/);
    assert.equal(
      (await acquireLease(options(store, { config: [CONFIG6], attributes }))).held.key,
      a.held.key,
    );
  }),
);

Deno.test(
  "acquire: 200 at once get 200 subnets, of 200",
  inStore(async (store) => {
    const all = await Promise.all(Array.from({ length: 200 }, (_, i) => {
      const ip = ipOf(IPV4, 0xac1e0001n + BigInt(i));
      const attributes = { publicIps: { ipv4: ip }, backendData: {} };
      return acquireLease(options(store, { config: [smallConfig(200)], attributes, random: seeded(1) }));
    }));
    assert.equal(new Set(all.map(({ held }) => held.key)).size, 200);
    assert.equal((await store.listLeases()).leases.length, 200);
  }),
);

Deno.test(
  "acquire: out of subnets ends it, with the figures",
  inStore(async (store) => {
    await store.createLease("10.5.1.0-24", OTHER, 60);
    await store.createLease("10.5.2.0-24", "malformed", undefined);
    await assert.rejects(acquireLease(options(store, { config: [smallConfig(2)] })), {
      name: "OutOfSubnetsError",
      message: /2 are used: 1 leases that expire unless renewed, 1 reservations/,
    });
  }),
);

Deno.test(
  "acquire: a store that doesn't answer is asked again, one that can't work is not",
  inStore(async (store) => {
    let failures = 20;
    const flaky = scripted(store, {
      listLeases: (o) =>
        failures-- > 0 ? Promise.reject(new Error("connection refused")) : store.listLeases(o),
    });
    const o = options(flaky);
    await acquireLease(o);
    assert.equal(failures, -1);
    assert.equal(o.log.of("warn").length, 1);
    assert.match(o.log.of("warn")[0]!, /connection refused/);
    const broken = scripted(store, { listLeases: () => Promise.reject(new StoreError("wrong password")) });
    await assert.rejects(acquireLease(options(broken)), { name: "StoreError" });
  }),
);

Deno.test(
  "acquire: the signal ends the wait",
  inStore(async (store) => {
    const stop = new AbortController();
    const dead = scripted(store, { listLeases: () => Promise.reject(new Error("down")) });
    const acquiring = acquireLease(options(dead, { clock: systemClock, signal: stop.signal }));
    stop.abort(new Error("SIGTERM"));
    await assert.rejects(acquiring, /SIGTERM/);
  }),
);

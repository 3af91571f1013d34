/** What the store leaves in etcd, and how much it asks: against a real etcd. */
import assert from "node:assert/strict";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { etcdTests, follow, openAt, PREFIX, until, value } from "./etcd_client.ts";
import { TcpProxy } from "./tcp_proxy.ts";

const test = etcdTests("etcd leases");
const KEY = "10.5.1.0-24";

/** Ids of etcd's leases, whether a key hangs on them or not, in hexadecimal as etcdctl prints them. */
async function grants(etcd: Etcd): Promise<string[]> {
  return (await etcd.ctl("lease", "list")).split("\n").filter((line) => /^[0-9a-f]{12,}$/.test(line));
}

/** The key as etcdctl's JSON has it. */
async function stored(etcd: Etcd): Promise<{ lease: bigint; mod_revision: number; version: number }> {
  const text = await etcd.ctl("get", `${PREFIX}/subnets/${KEY}`, "-w", "json");
  const [kv] = JSON.parse(text).kvs;
  // A number of 62 bits isn't JSON's.
  return { ...kv, lease: BigInt(/"lease":(\d+)/.exec(text)?.[1] ?? 0) };
}

// Each renewal was a new etcd lease and a write that every host of the network got.
test("a renewal keeps the etcd lease alive: no write, no event, no second etcd lease", async () => {
  await using etcd = await Etcd.start();
  await using store = openAt(etcd.endpoint);
  const held = (await store.createLease(KEY, value(1), 3))!;
  const before = await stored(etcd);
  const began = performance.now();
  while (performance.now() - began < 7000) {
    assert.deepEqual(await store.renewLease(held, 3), held);
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  assert.deepEqual(await stored(etcd), before);
  assert.equal((await grants(etcd)).length, 1);
  await until("the end of the lease", async () => (await store.listLeases()).leases.length === 0, 10_000);
  assert.equal(await store.renewLease(held, 3), undefined);
});

test("a lease that was granted for a shorter time gets a longer one with its renewal", async () => {
  await using etcd = await Etcd.start();
  await using store = openAt(etcd.endpoint);
  const held = (await store.createLease(KEY, value(1), 60))!;
  const renewed = (await store.renewLease(held, 600))!;
  assert.ok(renewed.revision > held.revision);
  const { lease } = await stored(etcd);
  assert.match(await etcd.ctl("lease", "timetolive", lease.toString(16)), /granted with TTL\(600s\)/);
  assert.deepEqual(await store.renewLease(renewed, 600), renewed);
});

// A restart a minute left 1,440 etcd leases a day.
test("claims, changes and deletions leave no etcd lease behind", async () => {
  await using etcd = await Etcd.start();
  for (let restart = 0; restart < 5; restart++) {
    await using store = openAt(etcd.endpoint);
    const [found] = (await store.listLeases()).leases;
    const held = found
      ? await store.updateLease(found, value(1), 600)
      : await store.createLease(KEY, value(1), 600);
    await store.updateLease(held!, value(restart + 2), 600);
  }
  assert.equal((await grants(etcd)).length, 1);
  {
    await using store = openAt(etcd.endpoint);
    await store.deleteLease((await store.listLeases()).leases[0]!);
  }
  assert.deepEqual(await grants(etcd), []);
});

test("an etcd lease that other keys hang on is left to them", async () => {
  await using etcd = await Etcd.start();
  const [, id] = /lease ([0-9a-f]+) granted/.exec(await etcd.ctl("lease", "grant", "600"))!;
  await etcd.ctl("put", `--lease=${id}`, `${PREFIX}/subnets/${KEY}`, value(1));
  await etcd.ctl("put", `--lease=${id}`, "/elsewhere", "x");
  {
    await using store = openAt(etcd.endpoint);
    await store.updateLease((await store.listLeases()).leases[0]!, value(2), 600);
  }
  assert.equal((await etcd.ctl("get", "/elsewhere", "--print-value-only")).trim(), "x");
  assert.equal((await grants(etcd)).length, 2);
});

// 20,000 a day and host, under a role that was revoked.
test("writes that are denied leave one etcd lease, however many", async () => {
  await using etcd = await Etcd.start({ rootPassword: "s3cret" });
  await etcd.ctl("user", "add", "flannel:s3cret");
  await etcd.ctl("role", "add", "flannel");
  await etcd.ctl("role", "grant-permission", "flannel", "readwrite", "--prefix=true", `${PREFIX}/`);
  await etcd.ctl("user", "grant-role", "flannel", "flannel");
  const user = { username: "flannel", password: "s3cret" };
  {
    await using store = openEtcdStore({ endpoints: etcd.endpoint, prefix: PREFIX, ...user });
    const held = (await store.createLease(KEY, value(1), 600))!;
    await etcd.ctl("user", "revoke-role", "flannel", "flannel");
    for (let i = 0; i < 10; i++) {
      await assert.rejects(store.updateLease(held, value(2), 600), /permission denied/);
      await assert.rejects(store.renewLease(held, 600), /permission denied/);
      await assert.rejects(store.createLease(`10.5.${i + 10}.0-24`, value(1), 600), /permission denied/);
    }
    assert.equal((await grants(etcd)).length, 2);
  }
  assert.equal((await grants(etcd)).length, 1, "the unused one is given back at the end");
});

test("races that are lost, and answers that are lost, leave one etcd lease a key", async () => {
  await using etcd = await Etcd.start();
  {
    await using first = openAt(etcd.endpoint);
    await using second = openAt(etcd.endpoint);
    await first.createLease(KEY, value(1), 600);
    for (let i = 0; i < 10; i++) assert.equal(await second.createLease(KEY, value(2), 600), undefined);
  }
  assert.equal((await grants(etcd)).length, 1);
  const lost = await writeOverABadLine(etcd);
  assert.ok(lost > 5, "the line hardly ever broke");
  assert.equal((await grants(etcd)).length, 1);
});

/** Updates over a line that breaks after ever more bytes, then over a good one. @returns How often it broke. */
async function writeOverABadLine(etcd: Etcd): Promise<number> {
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = openAt(proxy.endpoint);
  let held = (await store.listLeases()).leases[0]!;
  let lost = 0;
  for (let bytes = 0; bytes < 400; bytes += 40) {
    proxy.limit(bytes);
    for (let isDone = false; !isDone;) {
      try {
        const updated = await store.updateLease(held, value(10 + bytes), 600);
        assert.ok(updated, `after ${bytes} bytes the own write counted as another host's`);
        held = updated;
        isDone = true;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        lost++;
        proxy.heal();
      }
    }
  }
  proxy.heal();
  await store.updateLease(held, value(1), 600);
  await until("all but the key's and a spare one", async () => (await grants(etcd)).length <= 2, 5000);
  return lost;
}

/** gRPC calls that etcd has begun, by service and method. */
async function calls(etcd: Etcd): Promise<Map<string, number>> {
  const text = await (await fetch(`${etcd.endpoint}/metrics`)).text();
  const lines = text.matchAll(
    /^grpc_server_started_total\{grpc_method="(\w+)",grpc_service="etcdserverpb.(\w+)".*\} (\S+)$/gm,
  );
  return new Map([...lines].map(([, method, service, count]) => [`${service}.${method}`, Number(count)]));
}

test("a host at rest asks nothing; ten that come back after a cut ask a constant number of things", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  await using stack = new AsyncDisposableStack();
  const hosts = Array.from({ length: 10 }, () => stack.use(follow(stack.use(openAt(proxy.endpoint)))));
  const connected = () => hosts.every(({ sync }) => sync.health().connected);
  await until("all connected", connected, 5000);
  const rest = await calls(etcd);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  assert.deepEqual(await calls(etcd), rest);

  proxy.dropLines();
  await until("all cut", () => hosts.every(({ sync }) => !sync.health().connected), 5000);
  await until("all connected again", connected, 5000);
  const after = await calls(etcd);
  const more = (method: string) => after.get(method)! - rest.get(method)!;
  // The config and the proof of history; the proof is two calls once there has been a lease.
  assert.equal(more("KV.Range"), 20);
  assert.equal(more("Watch.Watch"), 10);
});

import assert from "node:assert/strict";
import type { EtcdPool } from "../../lib/leases/etcd/pool.ts";
import { withTimes } from "../../lib/leases/etcd/times.ts";

/** An etcd whose leases all have 300 of 600 seconds left, and the ids that it was asked for. */
function fakePool() {
  const asked: string[] = [];
  const call = (_: string, { ID }: { ID: string }) => {
    asked.push(ID);
    return Promise.resolve({ TTL: "300", grantedTTL: "600" });
  };
  return { asked, pool: { call } as unknown as EtcdPool };
}

const LEASES = ["7", "7", "8", "0"].map((id, i) => ({
  id,
  lease: { key: `10.5.${i}.0-24`, value: "", revision: 1n, createRevision: 1n, expires: id !== "0" },
}));

Deno.test("etcd times: one request for each of etcd's leases, whatever hangs on it; none for a reservation", async () => {
  const { asked, pool } = fakePool();
  const timed = await withTimes(pool, LEASES, { patience: {} });
  assert.deepEqual(asked, ["7", "8"]);
  assert.deepEqual(timed.map(({ secondsLeft, renewedAgo }) => [secondsLeft, renewedAgo]), [
    ...[[300, 300], [300, 300], [300, 300]],
    [undefined, undefined],
  ]);
});

Deno.test("etcd times: leases show and reserve asked for the times of a whole network", async () => {
  const { asked, pool } = fakePool();
  const timed = await withTimes(pool, LEASES, { timed: (all) => all.slice(2, 3), patience: {} });
  assert.deepEqual(asked, ["8"]);
  assert.deepEqual(timed.map(({ secondsLeft }) => secondsLeft), [undefined, undefined, 300, undefined]);
  await withTimes(pool, LEASES, { timed: () => [], patience: {} });
  assert.deepEqual(asked, ["8"]);
});

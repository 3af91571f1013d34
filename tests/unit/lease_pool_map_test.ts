import assert from "node:assert/strict";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import { SubnetPool } from "../../lib/leases/allocator.ts";
import { decodeLeaseKey } from "../../lib/leases/codec.ts";
import { mapPools, type PoolClaim, type PoolMap, SUBNET_STATES } from "../../lib/leases/pool_map.ts";
import { subnetAt } from "../../lib/config/pool_runs.ts";
import { formatPrefix, prefixesOverlap } from "../../lib/net/prefix.ts";
import { randomSource } from "../../scripts/lab/random.ts";

const familiesOf = (config: object) => parseNetworkConfig(JSON.stringify(config)).families;
const SMALL = familiesOf({ Network: "10.5.0.0/20", SubnetLen: 24 });

const claim = (key: string, secondsLeft: number | null = 80_000): PoolClaim => ({
  subnets: decodeLeaseKey(key),
  expires: secondsLeft !== null,
  ...secondsLeft === null ? {} : { secondsLeft },
});

const runsOf = ({ runs }: PoolMap) => runs.map(({ state, first, last }) => `${state} ${first}-${last}`);

Deno.test("pool map: counts, and runs over the whole pool", () => {
  const [pool] = mapPools(SMALL, [
    claim("10.5.3.0-24"),
    claim("10.5.4.0-24"),
    claim("10.5.5.0-24", 30),
    claim("10.5.9.0-24", null),
    // Not in the pool: the first subnet, and another network.
    claim("10.5.0.0-24"),
    claim("10.9.0.0-24"),
    { subnets: undefined, expires: true },
  ]);
  assert.ok(pool);
  const { total, used, expiring, reserved, free, outside } = pool;
  assert.deepEqual([total, used, expiring, reserved, free, outside], [15n, 3n, 1n, 1n, 11n, 2]);
  assert.deepEqual(runsOf(pool), [
    "free 0-1",
    "used 2-3",
    "expiring 4-4",
    "free 5-7",
    "reserved 8-8",
    "free 9-14",
  ]);
  assert.deepEqual(pool.largestFree, { state: "free", first: 9n, last: 14n });
  assert.equal(formatPrefix(subnetAt(pool.config, 9n)), "10.5.10.0/24");
});

Deno.test("pool map: what a cluster assigned is used; it counted as reserved", () => {
  const [pool] = mapPools(SMALL, [{ ...claim("10.5.3.0-24", null), assigned: true }]);
  assert.deepEqual([pool!.used, pool!.reserved], [1n, 0n]);
});

Deno.test("pool map: an empty pool is one run, a full one has nothing free", () => {
  const [empty] = mapPools(SMALL, []);
  assert.deepEqual(runsOf(empty!), ["free 0-14"]);
  const [full] = mapPools(SMALL, Array.from({ length: 15 }, (_, i) => claim(`10.5.${i + 1}.0-24`)));
  assert.deepEqual([full!.free, full!.largestFree, runsOf(full!)], [0n, undefined, ["used 0-14"]]);
});

Deno.test("pool map: a lease of another length takes all that it overlaps, and the reservation counts", () => {
  const [pool] = mapPools(SMALL, [claim("10.5.4.0-22"), claim("10.5.5.0-24", null), claim("10.5.6.128-25")]);
  assert.deepEqual(runsOf(pool!), ["free 0-2", "used 3-3", "reserved 4-4", "used 5-6", "free 7-14"]);
});

Deno.test("pool map: both families of a key, in a network of 2^64 subnets too", () => {
  const dual = familiesOf({
    Network: "10.5.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fd00::/16",
    IPv6SubnetLen: 80,
  });
  const [ipv4, ipv6] = mapPools(dual, [
    claim("10.5.7.0-24&fd00:0:0:7::-80"),
    claim("0.0.0.0-0&fd00:1::-80", 5),
  ]);
  assert.deepEqual([ipv4!.used, ipv4!.total], [1n, 255n]);
  assert.equal(ipv6!.total, (1n << 64n) - 1n);
  assert.deepEqual([ipv6!.used, ipv6!.expiring], [2n, 1n]);
  assert.equal(ipv6!.runs.length, 5);
});

Deno.test("pool map: counts agree with a count of every subnet, and with the allocator, for random leases", () => {
  const { below } = randomSource(7);
  for (let round = 0; round < 200; round++) {
    const leases = Array.from({ length: below(12) }, () => {
      const length = 22 + below(5);
      const base = below(24) * 256 + (length > 24 ? below(4) * 64 : 0);
      const aligned = base - base % (1 << (32 - length));
      const left = [null, 30, 80_000][below(3)]!;
      return claim(`10.5.${aligned >> 8}.${aligned & 255}-${length}`, left);
    });
    const [pool] = mapPools(SMALL, leases);
    const states = Array.from({ length: 15 }, (_, number) => {
      const subnet = subnetAt(SMALL[0]!, BigInt(number));
      const ranks = leases.filter(({ subnets }) => prefixesOverlap(subnets!.ipv4!, subnet))
        .map(({ expires, secondsLeft }) => !expires ? 0 : secondsLeft! < 3600 ? 2 : 1);
      return SUBNET_STATES[Math.min(3, ...ranks)]!;
    });
    const shown = pool!.runs.flatMap(({ state, first, last }) => Array(Number(last - first) + 1).fill(state));
    assert.deepEqual(shown, states);
    const allocator = new SubnetPool(SMALL[0]!);
    for (const { subnets } of leases) allocator.take(subnets!.ipv4!);
    assert.equal(pool!.free, allocator.free());
  }
});

import assert from "node:assert/strict";
import type { FamilyConfig } from "../../lib/config/types.ts";
import { Allocator, fits, OutOfSubnetsError, SubnetPool } from "../../lib/leases/allocator.ts";
import { encodeLeaseKey } from "../../lib/leases/codec.ts";
import { IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, prefixesOverlap } from "../../lib/net/prefix.ts";
import { CONFIG4, CONFIG6, seeded, smallConfig } from "./lease_fixtures.ts";

const lease = (key: string, expires = true) => ({ key, expires });

Deno.test("every subnet is chosen once, from the first to the last", () => {
  for (const config of [smallConfig(16), { ...CONFIG6, subnetMax: parseIp("fc00:0:0:10::") }]) {
    const allocator = new Allocator([config], []);
    const random = seeded(1);
    const keys = new Set<string>();
    for (let i = 0; i < 16; i++) {
      const subnets = allocator.choose(random);
      assert.ok(fits([config], subnets));
      keys.add(encodeLeaseKey(subnets));
      allocator.take(subnets);
    }
    assert.equal(keys.size, 16);
    assert.equal(allocator.hasFree(), false);
    assert.throws(() => allocator.choose(random), OutOfSubnetsError);
  }
});

Deno.test("the choice is even over all free subnets", () => {
  const allocator = new Allocator([smallConfig(8)], [lease("10.5.3.0-24"), lease("10.5.4.0-24")]);
  const counts = new Map<string, number>();
  const random = seeded(7);
  for (let i = 0; i < 6000; i++) {
    const key = encodeLeaseKey(allocator.choose(random));
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assert.deepEqual([...counts.keys()].sort(), [1, 2, 5, 6, 7, 8].map((n) => `10.5.${n}.0-24`));
  for (const count of counts.values()) assert.ok(count > 850 && count < 1150, `${count} of 6000`);
});

Deno.test("against a slow and obviously right allocator, with leases of every length", () => {
  const random = seeded(42);
  const number = (below: number) => Number(random(BigInt(below)));
  for (let round = 0; round < 100; round++) {
    const config = smallConfig(60);
    const taken = Array.from({ length: number(12) }, () => {
      const length = 18 + number(13);
      return parsePrefix(`10.5.${number(80)}.${number(256)}/${length}`);
    });
    const free = Array.from({ length: 60 }, (_, i) => parsePrefix(`10.5.${i + 1}.0/24`))
      .filter((subnet) => !taken.some((other) => prefixesOverlap(other, subnet)));
    const pool = new SubnetPool(config);
    for (const prefix of taken) pool.take(prefix);
    assert.equal(Number(pool.free()), free.length);
    const chosen = free.map((_, n) => formatPrefix(pool.choose(() => BigInt(n))!));
    assert.deepEqual(chosen, free.map(formatPrefix));
  }
});

Deno.test("leases of another length or another network", () => {
  const config = smallConfig(4);
  const leases = [lease("10.5.2.0-23"), lease("10.5.4.128-25"), lease("10.99.0.0-16"), lease("junk")];
  const allocator = new Allocator([config], leases);
  for (let i = 0; i < 20; i++) assert.equal(encodeLeaseKey(allocator.choose(seeded(i))), "10.5.1.0-24");
  assert.equal(new SubnetPool(config).total, 4n);
});

Deno.test("out of subnets: the message counts", () => {
  const leases = [lease("10.5.1.0-24"), lease("10.5.2.0-24"), lease("10.5.3.0-24", false)];
  assert.throws(() => new Allocator([smallConfig(3)], leases).choose(seeded(1)), (error: Error) => {
    assert.match(error.message, /10\.5\.0\.0\/16 has 3 of \/24 from 10\.5\.1\.0 to 10\.5\.3\.0, 3 are used/);
    assert.match(error.message, /2 leases that expire unless renewed, 1 reservations/);
    return error instanceof OutOfSubnetsError;
  });
});

Deno.test("dual stack takes one of each, and keeps what is preferred", () => {
  const allocator = new Allocator([CONFIG4, CONFIG6], [lease("10.5.7.0-24&fc00:0:0:9::-64")]);
  assert.ok(fits([CONFIG4, CONFIG6], allocator.choose(seeded(1))));
  const wanted = { ipv4: parsePrefix("10.5.8.0/24"), ipv6: parsePrefix("fc00:0:0:9::/64") };
  const available = allocator.available(wanted);
  assert.deepEqual(available, { ipv4: wanted.ipv4 });
  const chosen = allocator.choose(seeded(1), available);
  assert.deepEqual(chosen.ipv4, wanted.ipv4);
  assert.notDeepEqual(chosen.ipv6, wanted.ipv6);
});

Deno.test("fits: families, length and bounds", () => {
  const subnet = (text: string) => ({ ipv4: parsePrefix(text) });
  assert.ok(fits([CONFIG4], subnet("10.5.1.0/24")));
  assert.ok(fits([CONFIG4], subnet("10.5.255.0/24")));
  for (const text of ["10.5.0.0/24", "10.6.1.0/24", "10.5.1.0/25", "10.5.2.0/23"]) {
    assert.ok(!fits([CONFIG4], subnet(text)), text);
  }
  assert.ok(!fits([CONFIG4, CONFIG6], subnet("10.5.1.0/24")));
  assert.ok(!fits([CONFIG4], { ...subnet("10.5.1.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") }));
});

Deno.test("20,000 leases in a /8, and a network of 2^110 subnets, take no time", () => {
  const big: FamilyConfig = {
    ...CONFIG4,
    network: parsePrefix("10.0.0.0/8"),
    subnetMin: parseIp("10.0.1.0"),
    subnetMax: parseIp("10.255.255.0"),
  };
  const huge: FamilyConfig = {
    family: IPV6,
    network: parsePrefix("fc00::/16"),
    subnetLength: 126,
    subnetMin: parseIp("fc00::4"),
    subnetMax: parseIp("fc00:ffff:ffff:ffff:ffff:ffff:ffff:fffc"),
  };
  const leases = Array.from({ length: 20_000 }, (_, i) => lease(`10.${i >> 8}.${i & 255}.0-24`));
  const began = performance.now();
  assert.ok(fits([big, huge], new Allocator([big, huge], leases).choose(seeded(3))));
  assert.ok(performance.now() - began < 2000);
});

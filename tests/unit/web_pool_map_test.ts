/** The map of subnets: layout, picture, words. */
import assert from "node:assert/strict";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { poolGrid, type TakenSubnet } from "../../lib/web/pool_grid.ts";
import { cellTitle, describePool, placeOf, poolSvg, sizeOf } from "../../lib/web/pool_svg.ts";
import { layOut } from "../../lib/web/page/layout.ts";

const POOL = {
  family: IPV4,
  network: parsePrefix("10.5.0.0/16"),
  subnetLength: 24,
  subnetMin: parseIp("10.5.1.0"),
  subnetMax: parseIp("10.5.255.0"),
};

const taken = (subnet: string, state: TakenSubnet["state"], holder = "h"): TakenSubnet => ({
  subnet: parsePrefix(subnet),
  state,
  holder,
});

Deno.test("pool map: each subnet is a cell, in the order of addresses", () => {
  const map = poolGrid(POOL, [
    taken("10.5.1.0/24", "own", "this host"),
    taken("10.5.3.0/24", "reserved", "node3"),
    taken("10.5.255.0/24", "used"),
    taken("10.9.0.0/24", "used"),
    taken("fc00::/64", "used"),
  ]);
  assert.equal(map.cells.length, 255);
  assert.deepEqual([map.first, map.last, map.perCell], ["10.5.1.0", "10.5.255.0", 1n]);
  assert.deepEqual(map.counts, { own: 1n, expiring: 0n, reserved: 1n, used: 1n, free: 252n });
  assert.equal(cellTitle(map.cells[0]!), "10.5.1.0/24: this host");
  assert.equal(cellTitle(map.cells[1]!), "10.5.2.0/24: free");
  assert.equal(cellTitle(map.cells[2]!), "10.5.3.0/24: reserved, node3");
  assert.equal(map.cells[254]!.state, "used");
  assert.equal(describePool(map), "255 subnets of /24, 3 taken, 1 of them reserved, 252 free");
  assert.deepEqual(placeOf(33, map.columns), { x: 16, y: 16 });
  assert.deepEqual(sizeOf(map), [32 * 16 - 3, 8 * 16 - 3]);
});

Deno.test("pool map: a large network has several subnets in a cell, and what matters most shows", () => {
  const large = {
    ...POOL,
    network: parsePrefix("10.0.0.0/8"),
    subnetMin: parseIp("10.0.1.0"),
    subnetMax: parseIp("10.255.255.0"),
  };
  const map = poolGrid(large, [taken("10.0.1.0/24", "used", "a"), taken("10.0.2.0/24", "expiring", "b")]);
  assert.equal(map.perCell, 64n);
  assert.equal(map.cells.length, 1024);
  assert.equal(map.cells[0]!.state, "expiring");
  assert.equal(cellTitle(map.cells[0]!), "10.0.1.0/24 to 10.0.64.0/24: 2 taken, a, b");
  assert.match(describePool(map), /a square is 64 subnets$/);
  const ipv6 = {
    family: IPV6,
    network: parsePrefix("fc00::/48"),
    subnetLength: 64,
    subnetMin: parseIp("fc00:0:0:1::"),
    subnetMax: parseIp("fc00:0:0:ffff::"),
  };
  assert.equal(poolGrid(ipv6, [taken("fc00:0:0:1::/64", "used")]).cells.length, 1024);
  assert.equal(poolGrid({ ...POOL, subnetMin: POOL.subnetMax }, []).cells.length, 1);
});

// Each lease was counted as one subnet, however long its prefix is, and those that overlap twice.
Deno.test("pool map: counts are those of `leases pool`, for leases of other lengths and overlapping ones too", () => {
  const map = poolGrid(POOL, [
    taken("10.5.4.0/22", "used", "a"),
    taken("10.5.5.0/24", "reserved", ""),
    taken("10.5.6.128/25", "expiring", "b"),
    // SubnetMin is 10.5.1.0.
    taken("10.5.0.0/23", "used", "c"),
  ]);
  assert.deepEqual(map.counts, { own: 0n, expiring: 0n, reserved: 1n, used: 4n, free: 250n });
  const titles = map.cells.slice(0, 7).map(cellTitle);
  assert.deepEqual(titles, [
    "10.5.1.0/24: used, c",
    "10.5.2.0/24: free",
    "10.5.3.0/24: free",
    "10.5.4.0/24: used, a",
    "10.5.5.0/24: reserved, a",
    "10.5.6.0/24: used, a, b",
    "10.5.7.0/24: used, a",
  ]);
  assert.equal(
    cellTitle(poolGrid(POOL, [taken("10.5.9.0/24", "reserved", "")]).cells[8]!),
    "10.5.9.0/24: reserved",
  );
});

Deno.test("pool map: as SVG it has title, description and names that can't break out", () => {
  const map = poolGrid(POOL, [taken("10.5.1.0/24", "used", '<b>"&')]);
  const svg = poolSvg([map], "Subnets of <net>");
  assert.match(svg, /^<svg [^>]*role="img" aria-labelledby="title description">/);
  assert.match(svg, /<title id="title">Subnets of &lt;net&gt;<\/title>/);
  assert.match(
    svg,
    /<desc id="description">10\.5\.0\.0\/16: 255 subnets of \/24, 1 taken, 254 free\.<\/desc>/,
  );
  assert.ok(svg.includes("<title>10.5.1.0/24: used, &lt;b&gt;&quot;&amp;</title>"));
  assert.equal(svg.match(/<rect class="free" x="\d+" y="\d+" width="13"/g)?.length, 254);
});

Deno.test("picture: every peer has its place within it, alone or in groups of its network", () => {
  for (const count of [1, 3, 24, 48, 49, 500, 2000]) {
    const peers = Array.from({ length: count }, (_, index) => ({
      key: `k${index}`,
      publicIps: [`172.16.${Math.floor(index / 90)}.${index % 90 + 1}`],
    }));
    for (const [width, height] of [[320, 340], [780, 460]] as const) {
      const { groups, single, dot } = layOut(peers, width, height);
      const spots = groups.flatMap((group) => group.spots);
      assert.equal(new Set(spots.map(({ key }) => key)).size, count);
      assert.equal(single, count <= 48);
      for (const { x, y } of spots) {
        assert.ok(
          Math.abs(x) + dot <= width / 2 && Math.abs(y) + dot <= height / 2,
          `${count} in ${width}: ${x} ${y}`,
        );
      }
    }
  }
});

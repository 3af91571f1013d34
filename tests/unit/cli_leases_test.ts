import assert from "node:assert/strict";
import { parseSubnets, searchLeases } from "../../lib/cli/lease_search.ts";
import { leaseDocument, leasesDocument } from "../../lib/cli/leases_document.ts";
import { csvText, leaseText, listText, poolText } from "../../lib/cli/leases_text.ts";
import { PLAIN } from "../../lib/cli/terminal.ts";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import type { NetworkLeases } from "../../lib/daemon/network_leases.ts";
import { decodeLease, RESERVED_FOR_NOBODY } from "../../lib/leases/codec.ts";
import { inspectRecords, type LeaseView } from "../../lib/leases/inspect.ts";
import { planReserve, planRevoke, planUnreserve } from "../../lib/leases/operator.ts";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import { mapPools } from "../../lib/leases/pool_map.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { UsageError } from "../../lib/options/usage_error.ts";
import { parseHostNames } from "../../lib/status/host_names.ts";

const CONFIG = parseNetworkConfig('{"Network":"10.5.0.0/20","Backend":{"Type":"vxlan"}}');
const NAMES = parseHostNames("172.30.0.2 host-2\n");

function view(key: string, value: string, secondsLeft?: number): LeaseView {
  const expires = secondsLeft !== undefined;
  const stored = { key, value, revision: 9n, createRevision: 4n, expires };
  const { lease, fault } = decodeLease(stored);
  return {
    ...{ key, expires, stored },
    ...lease ? { subnets: lease.subnets, attributes: lease.attributes } : { subnets: parseSubnets(key) },
    ...fault && value !== RESERVED_FOR_NOBODY ? { fault: fault.reason } : {},
    ...expires ? { secondsLeft, renewedAgo: 86_400 - secondsLeft } : {},
  };
}

const vxlan = (ip: string) => `{"PublicIP":"${ip}","PublicIPv6":null,"BackendType":"vxlan"}`;
const LEASES: readonly LeaseView[] = [
  view("10.5.2.0-24", vxlan("172.30.0.2"), 80_000),
  view("10.5.3.0-24", vxlan("172.30.0.3"), 600),
  view("10.5.9.0-24", vxlan("172.30.0.9")),
  view("10.5.10.0-24", RESERVED_FOR_NOBODY),
  view("10.5.11.0-24", "{}", 5_000),
];
const NETWORK: NetworkLeases = {
  ...{ store: "etcd http://e:2379", revision: "12", config: CONFIG, leases: LEASES },
  pools: mapPools(CONFIG.families, LEASES),
};
const POOL = { config: CONFIG.families, leases: LEASES };

Deno.test("leases list, leases pool: expiry that wasn't asked is neither shown nor counted", () => {
  const leases = LEASES.map(({ secondsLeft: _, renewedAgo: __, ...lease }) => lease);
  const pools = mapPools(CONFIG.families, leases);
  const document = leasesDocument({ ...NETWORK, leases, pools }, NAMES);
  assert.equal(document.pools[0]!.expiring, null);
  const lines = listText(document, { width: 200, style: PLAIN }).split("\n");
  assert.deepEqual(lines.slice(0, 2), [
    "SUBNET        HOST    ADDRESS     BACKEND  EXPIRES    FAULT",
    "10.5.2.0/24   host-2  172.30.0.2  vxlan    not known",
  ]);
  assert.match(lines.at(-3)!, /: 3 leased, 2 reserved, 10 free \(67%\)$/);
  assert.equal(lines.at(-1), "When leases expire isn't known: asking costs etcd a request each (-expiry).");
  assert.equal(poolText(document, { width: 200 }).split("\n").at(-1), lines.at(-1));
});

Deno.test("leases list: a table that ends with the pool, at 200 and 80 columns", () => {
  const document = leasesDocument(NETWORK, NAMES);
  assert.deepEqual(listText(document, { width: 200, style: PLAIN }).split("\n"), [
    "SUBNET        HOST    ADDRESS     BACKEND  EXPIRES   RENEWED   FAULT",
    "10.5.2.0/24   host-2  172.30.0.2  vxlan    22h       106m ago",
    "10.5.3.0/24           172.30.0.3  vxlan    10m       23h ago",
    "10.5.9.0/24           172.30.0.9  vxlan    reserved",
    "10.5.10.0/24                               reserved",
    '10.5.11.0/24                               83m       22h ago   its value "{}" has no PublicIP',
    "",
    "10.5.0.0/20: 15 subnets of /24: 3 leased, 1 of them within the hour unless renewed, 2 reserved, 10 free (67%)",
    "  largest free range: 10.5.4.0/24 to 10.5.8.0/24, 5 subnets",
  ]);
  const narrow = listText(document, { width: 80, style: PLAIN }).split("\n");
  // The pool's lines were as long as they were on any terminal.
  assert.deepEqual(narrow.slice(-3), [
    "10.5.0.0/20: 15 subnets of /24: 3 leased, 1 of them within the hour unless",
    "    renewed, 2 reserved, 10 free (67%)",
    "  largest free range: 10.5.4.0/24 to 10.5.8.0/24, 5 subnets",
  ]);
  for (const line of narrow) assert(line.length <= 80, line);
});

Deno.test("leases pool: a full one says what to do, an empty one is free", () => {
  const full = Array.from({ length: 15 }, (_, i) => view(`10.5.${i + 1}.0-24`, vxlan("172.30.0.2"), 80_000));
  const pools = mapPools(CONFIG.families, full);
  assert.match(
    poolText(leasesDocument({ ...NETWORK, leases: full, pools }, NAMES), { width: 200 }),
    /nothing is free: enlarge/,
  );
});

Deno.test("leases show: every fact on its line", () => {
  assert.equal(
    leaseText(leaseDocument(LEASES[0]!, NAMES), 0, LEASES[0]!.stored!.value),
    [
      "10.5.2.0/24",
      "  host      host-2",
      "  address   172.30.0.2",
      "  backend   vxlan",
      "  state     expires in 22h, renewed 106m ago",
      "  revision  9, created at 4",
      `  value     ${vxlan("172.30.0.2")}`,
    ].join("\n"),
  );
});

Deno.test("leases -csv: RFC 4180, and no formulas", () => {
  const rows = csvText(leasesDocument(NETWORK, parseHostNames('172.30.0.2 =cmd"\n'))).split("\r\n");
  assert.equal(rows.length, LEASES.length + 2);
  assert.equal(rows[1], `10.5.2.0-24,10.5.2.0/24,"'=cmd""",172.30.0.2,vxlan,leased,80000,6400,,4,9,`);
  assert.match(rows[5]!, /,"its value ""\\{\}"" has|,"its value ""\{\}"" has no PublicIP"$/);
});

Deno.test("leases show: by subnet, key, host's address, host's name, and an address in a subnet", () => {
  const found = (word: string) => searchLeases(LEASES, word, NAMES).map(({ key }) => key);
  for (const word of ["10.5.2.0/24", "10.5.2.0-24", "172.30.0.2", "host-2", "10.5.2.77"]) {
    assert.deepEqual(found(word), ["10.5.2.0-24"], word);
  }
  assert.deepEqual(found("host-3"), []);
  assert.throws(() => parseSubnets("10.5.2.1/24"), UsageError);
  assert.throws(() => parseSubnets("10.5.2.0/24,10.5.3.0/24"), UsageError);
});

const says = (plan: { says: readonly string[] }) => plan.says.join(" ");

Deno.test("leases reserve: what will happen, and what can't", () => {
  const reserve = (subnet: string, ...ips: string[]) =>
    planReserve(POOL, parseSubnets(subnet), ips.length > 0 ? { ipv4: parseIp(ips[0]!) } : {});
  assert.match(says(reserve("10.5.2.0/24")), /leased to 172\.30\.0\.2, becomes its reservation/);
  assert.match(says(reserve("10.5.4.0/24")), /free and becomes a reservation for no host/);
  const moved = says(reserve("10.5.4.0/24", "172.30.0.2"));
  assert.match(
    moved,
    /for 172\.30\.0\.2, which gets it when it joins.*172\.30\.0\.2 has 10\.5\.2\.0\/24 now/,
  );
  assert.equal(reserve("10.5.9.0/24").act, undefined);
  const refusals: [string, string | undefined, RegExp][] = [
    ["10.5.2.0/24", "172.30.0.7", /leased to 172\.30\.0\.2: revoke that first/],
    ["10.5.9.0/24", "172.30.0.7", /reserved for 172\.30\.0\.9: revoke/],
    ["10.6.1.0/24", undefined, /isn't a subnet of this network: a \/24 from 10\.5\.1\.0 to 10\.5\.15\.0/],
    ["10.5.11.0/24", undefined, /malformed: .*; revoke it/],
  ];
  for (const [subnet, ip, expected] of refusals) {
    assert.throws(() => reserve(subnet, ...ip === undefined ? [] : [ip]), expected, subnet);
  }
});

Deno.test("leases unreserve and revoke: what will happen, and what can't", () => {
  const subnets = (word: string) => parseSubnets(word);
  assert.match(says(planUnreserve(POOL, subnets("10.5.9.0/24"), 86_400)), /expires in 1440 minutes unless/);
  assert.match(says(planUnreserve(POOL, subnets("10.5.10.0/24"), 60)), /for no host, and becomes free/);
  assert.equal(planUnreserve(POOL, subnets("10.5.2.0/24"), 60).act, undefined);
  assert.match(
    says(planRevoke(POOL, subnets("10.5.2.0/24"))),
    /lease of 10\.5\.2\.0\/24, held by 172\.30\.0\.2/,
  );
  assert.match(
    says(planRevoke(POOL, subnets("10.5.10.0/24"))),
    /^The reservation of .* held by no host, is deleted\.$/,
  );
  assert.throws(() => planRevoke(POOL, subnets("10.5.12.0/24")), /neither leased nor reserved/);
});

Deno.test("leases: what has changed since it was shown is left as it is", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using store = await openSqliteStore(`${folder}/leases.db`);
    const subnets = parseSubnets("10.5.2.0/24");
    const held = (await store.createLease("10.5.2.0-24", vxlan("172.30.0.2"), 300))!;
    const shown = { config: CONFIG.families, leases: (await inspectRecords(store)).leases };
    const free = { ...shown, leases: [] };
    const plans = [
      planRevoke(shown, subnets),
      planReserve(shown, subnets, {}),
      planReserve(free, subnets, {}),
    ];
    const written = await store.updateLease(held, vxlan("172.30.0.7"), 300);
    for (const { act } of plans) assert.equal(await act!(store, {}), false);
    assert.deepEqual((await store.listLeases()).leases, [written]);
    const now = { ...shown, leases: (await inspectRecords(store)).leases };
    assert.equal(await planRevoke(now, subnets).act!(store, {}), true);
    assert.deepEqual((await store.listLeases()).leases, []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

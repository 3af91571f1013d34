/** Peers of a dual-stack network that come, change and go: what stands in the store, and what the kernel makes of it. */
import assert from "node:assert/strict";
import type { PerFamily } from "../../lib/net/family.ts";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { apartFromPeers, networkConfig } from "../../scripts/lab/lab.ts";
import { deleteLease, putLease, readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { DUAL } from "./heal_network.ts";
import { Watcher } from "./heal_watcher.ts";

/** How fast a peer's change must be in the kernel. */
const FOLLOW_LIMIT = 2_000;
const MACS = { ipv4: "3e:4b:bc:75:ce:43", ipv6: "3e:4b:bc:75:ce:46" } as const;

const KEY = "10.5.88.0-24&fc00:0:0:88::-64";

function vxlanLease(publicIp: string, publicIpv6: string | null, macs: PerFamily<string> = MACS): string {
  const data = (VtepMAC: string) => ({ VNI: 1, VtepMAC });
  return JSON.stringify({
    PublicIP: publicIp,
    PublicIPv6: publicIpv6,
    BackendType: "vxlan",
    ...(macs.ipv4 ? { BackendData: data(macs.ipv4) } : {}),
    ...(macs.ipv6 ? { BackendV6Data: data(macs.ipv6) } : {}),
  });
}

function hostGwLease(number: number): string {
  return JSON.stringify({
    PublicIP: `172.30.0.${number}`,
    PublicIPv6: `fd00:30::${number.toString(16)}`,
    BackendType: "host-gw",
  });
}

/** All routes to a peer's subnets, whoever made them, without next-hop ids. */
async function routesTo(host: Host, ...subnets: string[]): Promise<string[]> {
  const all = [...await host.routes("-4"), ...await host.routes("-6")];
  return all.filter((line) => subnets.some((subnet) => line.startsWith(subnet))).map((line) =>
    line.replace(/nhid \d+ /, "")
  );
}

async function untilRoutes(host: Host, expected: string[]): Promise<void> {
  await until("the peer's routes", async () => {
    assert.deepEqual(await routesTo(host, "10.5.88.0", "fc00:0:0:88::"), expected);
    return true;
  }, FOLLOW_LIMIT);
}

labTest("keys with & are written, followed and matched; peers of one family only are too", {
  hosts: 1,
  families: DUAL.families,
  config: apartFromPeers(networkConfig(DUAL.families, { Type: "vxlan" })),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const [key] = [...(await readLeases(lab)).keys()];
  assert.match(key!, /^10\.5\.\d+\.0-24&fc00:0:0:[0-9a-f]+::-64$/);

  await putLease(lab, KEY, vxlanLease("172.30.0.88", "fd00:30::88"));
  const ipv4 = "10.5.88.0/24 via 10.5.88.0 dev flannel.1 proto 70 onlink";
  const ipv6 = "fc00:0:0:88::/64 via fc00:0:0:88:: dev flannel-v6.1 proto 70 metric 1024 onlink pref medium";
  await untilRoutes(host, [ipv4, ipv6]);
  // The IPv6 VTEP is gone: only the IPv6 path goes.
  await putLease(lab, KEY, vxlanLease("172.30.0.88", null, { ipv4: MACS.ipv4 }));
  await untilRoutes(host, [ipv4]);
  await putLease(lab, KEY, vxlanLease("172.30.0.88", "fd00:30::88"));
  await untilRoutes(host, [ipv4, ipv6]);
  await deleteLease(lab, KEY);
  await untilRoutes(host, []);
  // They go after the routes, so that no packet meets half a path.
  await until("no entry of the peer", async () => {
    assert.deepEqual(await host.fdb("flannel-v6.1"), []);
    assert.deepEqual(await host.neighbours("flannel-v6.1"), []);
    return true;
  }, FOLLOW_LIMIT);
});

labTest("host-gw: an IPv6 route whose next hop changes has one next hop, not two", {
  hosts: 1,
  families: DUAL.families,
  config: apartFromPeers(networkConfig(DUAL.families, { Type: "host-gw" })),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  for (const number of [7, 8, 7]) {
    await putLease(lab, KEY, hostGwLease(number));
    await untilRoutes(host, [
      `10.5.88.0/24 via 172.30.0.${number} dev eth0 proto 70`,
      `fc00:0:0:88::/64 via fd00:30::${number} dev eth0 proto 70 metric 1024 pref medium`,
    ]);
  }
});

labTest("-public-ip and -public-ipv6 are what peers use, not what the device sends from", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  const [first, second] = lab.hosts as [Host, Host];
  const publicIps = { ipv4: "172.31.0.77", ipv6: "fd00:31::77" };
  await first.ip(`address add ${publicIps.ipv4}/32 dev lo`, `address add ${publicIps.ipv6}/128 dev lo`);
  await lab.switch.ip(
    `route add ${publicIps.ipv4} via 172.30.0.1`,
    `route add ${publicIps.ipv6} via fd00:30::1`,
  );
  await Promise.all([
    first.startReady({ args: [`-public-ip=${publicIps.ipv4}`, `-public-ipv6=${publicIps.ipv6}`] }),
    second.startReady(),
  ]);
  await lab.connect();
  await lab.pingAll();
  const values = [...(await readLeases(lab)).values()].map((value) => JSON.parse(value));
  assert.ok(
    values.some(({ PublicIP, PublicIPv6 }) => PublicIP === publicIps.ipv4 && PublicIPv6 === publicIps.ipv6),
  );
  assert.match((await second.fdb("flannel.1")).join(), / dst 172\.31\.0\.77 /);
  assert.match((await second.fdb("flannel-v6.1")).join(), / dst fd00:31::77 /);
  const { stdout } = await first.exec(["ip", "-d", "link", "show", "flannel-v6.1"]);
  assert.match(stdout, / local fd00:30::1 /);
});

/** Above a thousand peers routes go through next-hop objects. */
const MANY = 1_100;

labTest(`${MANY} IPv6 peers: next-hop objects come, heal and go with their routes`, {
  hosts: 1,
  families: ["ipv6"],
  store: "sqlite",
}, async (lab) => {
  const host = lab.host(1);
  const subnets = Array.from({ length: MANY }, (_, index) => `fc00:0:0:${(0x1000 + index).toString(16)}::`);
  await using store = await openSqliteStore(`${lab.folder}/store.db`);
  const leases = await Promise.all(subnets.map((subnet, index) => {
    const value = vxlanLease("0.0.0.0", `fd00:30::${(0x1000 + index).toString(16)}`, {
      ipv6: `02:00:00:00:${(index >> 8).toString(16).padStart(2, "0")}:${
        (index & 255).toString(16).padStart(2, "0")
      }`,
    });
    return store.createLease(`0.0.0.0-0&${subnet}-64`, value, 3600);
  }));
  await host.startReady();
  const untilCount = (what: string, routes: number, milliseconds = FOLLOW_LIMIT) =>
    until(`${routes} routes and next hops ${what}`, async () => {
      assert.deepEqual(await counts(host), { routes, plain: 0, nexthops: routes, fdb: routes });
      return true;
    }, milliseconds);
  await untilCount("at the start", MANY);
  const [first] = (await host.exec(["ip", "-6", "nexthop", "show"])).stdout.split("\n");
  await host.ip(`nexthop del ${first!.split(" ").slice(0, 2).join(" ")}`);
  await untilCount("after one next hop was deleted", MANY);
  await host.ip("link del flannel-v6.1");
  await untilCount("after the device was deleted", MANY);
  // Where a route names just its next-hop object, it is as right as ever.
  await host.sysctl({ "net/ipv4/nexthop_compat_mode": "0" });
  const watcher = new Watcher(host, ["ip", "-6", "monitor", "route"]);
  const neighbours = await host.neighbours("flannel-v6.1");
  await host.ip(`neigh del ${neighbours[0]!.split(" ")[0]} dev flannel-v6.1`);
  await until("a neighbour to be back", async () => {
    return (await host.neighbours("flannel-v6.1")).length === neighbours.length;
  }, FOLLOW_LIMIT);
  assert.deepEqual(await watcher.lines(), [], "no route is written");
  await host.sysctl({ "net/ipv4/nexthop_compat_mode": "1" });
  for (const lease of leases.slice(0, 50)) await store.deleteLease(lease!);
  await untilCount("after 50 peers left", MANY - 50);
});

async function counts(host: Host) {
  const routes = (await host.routes("-6", "flannel-v6.1")).filter((line) => line.includes(" via "));
  const { stdout } = await host.exec(["ip", "-6", "nexthop", "show"]);
  return {
    routes: routes.length,
    plain: routes.filter((line) => !line.includes("nhid")).length,
    nexthops: stdout.split("\n").filter(Boolean).length,
    fdb: (await host.fdb("flannel-v6.1")).length,
  };
}

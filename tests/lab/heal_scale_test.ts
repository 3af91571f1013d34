/** A thousand peers: repair stays within its time, and the log stays short. */
import assert from "node:assert/strict";
import { openSqliteStore } from "../../lib/leases/sqlite_store.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import { DUAL, HEAL_LIMIT, overlayOf } from "./heal_network.ts";

const PEERS = 1_000;
/** Peers' leases come as events; each family has a route, in a tunnel also a neighbour and an fdb entry. */
const JOIN_LIMIT = 10_000;

/** Leases of peers that are nowhere: their addresses lie on host 1's link. */
async function makePeers(lab: Lab, backendType: "vxlan" | "host-gw"): Promise<void> {
  await using store = await openSqliteStore(`${lab.folder}/store.db`);
  await Promise.all(Array.from({ length: PEERS }, (_, index) => {
    const [high, low] = [1 + (index >> 8), index & 255];
    const data = (family: number) => ({
      VNI: 1,
      VtepMAC: [2, 0, family, 0, high, low].map((byte) => byte.toString(16).padStart(2, "0")).join(":"),
    });
    const value = {
      PublicIP: `172.31.${high}.${low}`,
      PublicIPv6: `fd00:30::${high.toString(16)}:${low.toString(16)}`,
      BackendType: backendType,
      ...(backendType === "vxlan" ? { BackendData: data(4), BackendV6Data: data(6) } : {}),
    };
    const key = `10.${4 + high}.${low}.0-24&fc00:0:0:${high.toString(16)}${
      low.toString(16).padStart(2, "0")
    }::-64`;
    return store.createLease(key, JSON.stringify(value), 3600);
  }));
}

function config(backendType: "vxlan" | "host-gw", directRouting = false) {
  // The own subnet lies where no peer has one.
  return {
    ...networkConfig(DUAL.families, {
      Type: backendType,
      ...(directRouting ? { DirectRouting: true } : {}),
    }),
    Network: "10.0.0.0/12",
    SubnetMin: "10.15.0.0",
    IPv6SubnetMin: "fc00:0:0:1000::",
  };
}

async function count(host: Host): Promise<number> {
  return (await overlayOf(host)).filter((line) => !/ proto kernel |^flannel/.test(line)).length;
}

/** Thousands of entries are work for the processor, which other tests share. */
const ALL_LIMIT = 6_000;

async function untilCount(host: Host, wanted: number, what: string, milliseconds = ALL_LIMIT) {
  await until(`${wanted} entries ${what}`, async () => {
    assert.equal(await count(host), wanted);
    return true;
  }, milliseconds);
}

labTest(`vxlan, ${PEERS} dual-stack peers: all entries are back in seconds`, {
  hosts: 1,
  families: DUAL.families,
  store: "sqlite",
  config: config("vxlan"),
}, async (lab) => {
  await makePeers(lab, "vxlan");
  const host = lab.host(1);
  await host.startReady();
  await untilCount(host, PEERS * 6, "at the start", JOIN_LIMIT);
  await host.ip("link del flannel.1", "link del flannel-v6.1");
  await untilCount(host, PEERS * 6, "after the devices were deleted");
  await host.ip("nexthop flush proto 70", "neigh flush dev flannel-v6.1 nud permanent");
  await untilCount(host, PEERS * 6, "after tables were flushed");
});

labTest(`host-gw, ${PEERS} dual-stack peers: a flap is repaired in seconds, and takes a few log lines`, {
  hosts: 1,
  families: DUAL.families,
  store: "sqlite",
  config: config("host-gw"),
}, async (lab) => {
  await makePeers(lab, "host-gw");
  const host = lab.host(1);
  await host.ip("address add 172.31.0.1/16 dev eth0");
  await host.startReady();
  await untilCount(host, PEERS * 2, "at the start", JOIN_LIMIT);
  const lines = () => host.daemon.log.split("\n").length;
  const before = lines();
  await host.ip("link set eth0 down");
  // Long enough for several attempts that fail.
  await delay(1_500);
  await host.ip("link set eth0 up", `address replace ${host.addresses.ipv6}/64 dev eth0 nodad`);
  await untilCount(host, PEERS * 2, "after the link was down");
  assert.ok(lines() - before < 30, `${lines() - before} lines:\n${host.daemon.log}`);
});

labTest(`DirectRouting, ${PEERS} dual-stack peers go behind a gateway and come back`, {
  hosts: 1,
  families: DUAL.families,
  store: "sqlite",
  config: config("vxlan", true),
}, async (lab) => {
  await makePeers(lab, "vxlan");
  const host = lab.host(1);
  await host.ip("address add 172.31.0.1/16 dev eth0");
  await host.startReady();
  await untilCount(host, PEERS * 2, "on the link", JOIN_LIMIT);
  const detours = [
    "172.31.0.0/17 via 172.30.0.254",
    ...[1, 2, 3, 4].map((high) => `fd00:30::${high}:0/112 via fd00:30::fe`),
  ];
  await host.ip(...detours.map((detour) => `route add ${detour}`));
  await untilCount(host, PEERS * 6, "in the tunnel");
  await host.ip(...detours.map((detour) => `route del ${detour}`));
  await untilCount(host, PEERS * 2, "on the link again");
  await until("no next hop to be left behind", async () => {
    return (await host.exec(["ip", "nexthop", "show"])).stdout === "";
  }, HEAL_LIMIT);
});

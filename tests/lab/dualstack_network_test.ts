/**
 * Networks of IPv4 only, IPv6 only and both, over every backend that carries IPv6 and over both stores: lease,
 * subnet file, kernel entries, packets up to the MTU, and a restart that changes nothing
 * (flannel-io/flannel #248, #1453, #1789).
 */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import { FAMILIES, type FamilyName } from "../../lib/net/family.ts";
import type { SubnetFile } from "../../scripts/lab/container.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { ping } from "../../scripts/lab/measure.ts";
import type { StoreKind } from "../../scripts/lab/store.ts";
import {
  addressOf,
  DEVICES,
  FAMILY_SETS,
  IP_OPTION,
  leaseOf,
  overlayOf,
  startNetwork,
} from "./heal_network.ts";

/** How one host reaches another's subnet. */
type Path = "tunnel" | "direct";

interface Network {
  readonly name: string;
  readonly backend: JsonObject;
  readonly store: StoreKind;
  readonly segments: 1 | 2;
  pathBetween(from: Host, to: Host): Path;
}

const NETWORKS: readonly Network[] = [
  {
    name: "vxlan on etcd",
    backend: { Type: "vxlan" },
    store: "etcd",
    segments: 1,
    pathBetween: () => "tunnel",
  },
  {
    name: "vxlan with DirectRouting on two segments, on SQLite",
    backend: { Type: "vxlan", DirectRouting: true },
    store: "sqlite",
    segments: 2,
    pathBetween: (from, to) => from.segment === to.segment ? "direct" : "tunnel",
  },
  {
    name: "host-gw on etcd",
    backend: { Type: "host-gw" },
    store: "etcd",
    segments: 1,
    pathBetween: () => "direct",
  },
  {
    name: "host-gw on SQLite",
    backend: { Type: "host-gw" },
    store: "sqlite",
    segments: 1,
    pathBetween: () => "direct",
  },
];

const UNDERLAY_MTU = 1500;
/** What VXLAN takes: outer IP header, UDP, VXLAN, inner Ethernet header. */
const OVERHEAD: Readonly<Record<FamilyName, number>> = { ipv4: 50, ipv6: 70 };
/** IP and ICMP headers of a ping. */
const PING_HEADERS: Readonly<Record<FamilyName, number>> = { ipv4: 28, ipv6: 48 };

for (const network of NETWORKS) {
  for (const { name, families } of FAMILY_SETS) {
    labTest(`${network.name}, ${name}`, {
      families,
      store: network.store,
      segments: network.segments,
      config: networkConfig(families, network.backend),
      mtu: UNDERLAY_MTU,
    }, async (lab) => {
      await startNetwork(lab);
      const host = lab.host(1);
      const isVxlan = network.backend.Type === "vxlan";
      const file = await host.waitReady();
      const mtu = UNDERLAY_MTU - (isVxlan ? Math.max(...families.map((family) => OVERHEAD[family])) : 0);
      checkFile(file, families, mtu);
      await checkLease(host, file, isVxlan);
      for (const family of families) await checkEntries(lab, network, family);
      await checkPacketSize(lab, mtu);
      await checkRestart(lab, file);
    });
  }
}

/** The subnet file has the pair of each family, in the order of the contract. */
function checkFile(file: SubnetFile, families: readonly FamilyName[], mtu: number): void {
  const lines = [
    ...families.includes("ipv4")
      ? ["FLANNEL_NETWORK=10.5.0.0/16", `FLANNEL_SUBNET=${file.subnets.ipv4}`]
      : [],
    ...families.includes("ipv6")
      ? ["FLANNEL_IPV6_NETWORK=fc00::/48", `FLANNEL_IPV6_SUBNET=${file.subnets.ipv6}`]
      : [],
    `FLANNEL_MTU=${mtu}`,
    "FLANNEL_IPMASQ=false",
  ];
  assert.equal(file.text, `${lines.join("\n")}\n`);
  if (file.subnets.ipv4) assert.match(file.subnets.ipv4, /^10\.5\.\d+\.1\/24$/);
  if (file.subnets.ipv6) assert.match(file.subnets.ipv6, /^fc00:0:0:[0-9a-f]+::1\/64$/);
}

/** The subnet that a subnet file names: `10.5.88.1/24` → `10.5.88.0/24`. */
function subnetOf(address: string): string {
  return address.replace(/(\.|::)1\//, (_, mark) => mark === "." ? ".0/" : "::/");
}

/** Without IPv4 the original writes 0.0.0.0-0 and 0.0.0.0 in its place; so do we. */
async function checkLease(host: Host, file: SubnetFile, isVxlan: boolean): Promise<void> {
  const { key, value } = await leaseOf(host);
  const part = (subnet: string | undefined) => subnet && subnetOf(subnet).replace("/", "-");
  const ipv6 = part(file.subnets.ipv6);
  assert.equal(key, (part(file.subnets.ipv4) ?? "0.0.0.0-0") + (ipv6 ? `&${ipv6}` : ""));
  assert.equal(value.PublicIP, addressOf(host, "ipv4") ?? "0.0.0.0");
  assert.equal(value.PublicIPv6, addressOf(host, "ipv6") ?? null);
  assert.equal(value.BackendType, isVxlan ? "vxlan" : "host-gw");
  assert.equal("BackendData" in value, isVxlan && file.subnets.ipv4 !== undefined);
  assert.equal("BackendV6Data" in value, isVxlan && file.subnets.ipv6 !== undefined);
}

/** Each peer has exactly what its path needs: a route; in the tunnel also a neighbour and an fdb entry. */
async function checkEntries(lab: Lab, network: Network, family: FamilyName): Promise<void> {
  const [host, ...peers] = lab.hosts as [Host, ...Host[]];
  const device = DEVICES[family];
  const routes = await host.routes(IP_OPTION[family]);
  const neighbours = await host.neighbours(device), fdb = await host.fdb(device);
  let tunnels = 0;
  for (const peer of peers) {
    const subnet = subnetOf((await peer.waitReady()).subnets[family]!);
    const [route, ...more] = routes.filter((line) => line.startsWith(`${subnet} `));
    assert.deepEqual(more, [], "one route a peer");
    const path = network.pathBetween(host, peer);
    const tail = family === "ipv6" ? " metric 1024" : "";
    if (path === "direct") {
      assert.ok(
        route!.startsWith(`${subnet} via ${addressOf(peer, family)} dev eth0 proto 70${tail}`),
        route,
      );
      continue;
    }
    tunnels++;
    const gateway = subnet.split("/")[0]!;
    assert.ok(route!.startsWith(`${subnet} via ${gateway} dev ${device} proto 70${tail} onlink`), route);
    const mac = neighbours.find((line) => line.startsWith(`${gateway} lladdr `))?.split(" ")[2];
    assert.ok(fdb.includes(`${mac} dst ${addressOf(peer, family)} self permanent`), fdb.join("\n"));
  }
  assert.deepEqual([neighbours.length, fdb.length], [tunnels, tunnels], "no entry but those of peers");
}

/** A packet of the MTU passes, one byte more is refused at the source. */
async function checkPacketSize(lab: Lab, mtu: number): Promise<void> {
  for (const { name } of FAMILIES) {
    const { from, address } = lab.pairs().find((pair) =>
      pair.address.includes(name === "ipv6" ? ":" : ".")
    ) ?? {};
    if (!from || !address) continue;
    const size = mtu - PING_HEADERS[name];
    assert.equal((await ping(from, address, { size })).received, 1, `${name}: ${mtu} bytes pass`);
    assert.equal((await ping(from, address, { size: size + 1 })).received, 0, `${name}: a byte more doesn't`);
  }
}

/** kill -9 and a start: the same lease, file and entries, and pings answer all the while. */
async function checkRestart(lab: Lab, file: SubnetFile): Promise<void> {
  const host = lab.host(1);
  const before = await overlayOf(host);
  await host.daemon.kill();
  assert.equal((await host.startReady()).text, file.text);
  assert.deepEqual(await overlayOf(host), before);
  await lab.pingAll(500);
}

import assert from "node:assert/strict";
import { vxlan } from "../../backends/vxlan.ts";
import { hostGw } from "../../backends/host_gw.ts";
import { alloc } from "../../backends/alloc.ts";
import { findVtep } from "../../backends/vtep.ts";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import type { OpenContext } from "../../lib/backend/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { describeEntry } from "../../lib/kernel/entries.ts";
import { linkAlias } from "../../lib/kernel/own_links.ts";
import type { Link } from "../../lib/netlink/types.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { context, environment, external, link, NETWORK_ID, peer } from "./backend_fixtures.ts";

function vxlanLink(name: string, vni: number, port: number, alias?: string): Link {
  return link({
    index: 9,
    name,
    kind: "vxlan",
    mac: "3e:4b:bc:75:ce:43",
    ...(alias ? { alias } : {}),
    vxlan: { vni, port, local: parseIp("172.30.0.2"), learning: false, gbp: false },
  });
}

const OWN = { subnets: { ipv4: parsePrefix("10.5.72.0/24") } };
const PEER = peer("10.5.88.0-24", {
  PublicIP: "172.30.0.3",
  BackendType: "vxlan",
  BackendData: { VNI: 1, VtepMAC: "3E:4B:bc:75:ce:44" },
});

async function openVxlan(options: JsonObject = {}, changes: Partial<OpenContext> = {}) {
  const read = vxlan.parse(options, [IPV4]);
  assert.deepEqual(read.faults, []);
  return await vxlan.open(read.options, context(changes));
}

Deno.test("vxlan: a peer is a neighbour, an fdb entry and a route, the original's three", async () => {
  const plan = (await openVxlan()).plan(environment(), OWN);
  assert.deepEqual(plan.forPeer(PEER).entries.map(describeEntry), [
    "neighbour 10.5.88.0 lladdr 3e:4b:bc:75:ce:44 dev flannel.1",
    "fdb 3e:4b:bc:75:ce:44 dst 172.30.0.3 dev flannel.1",
    "route 10.5.88.0/24 via 10.5.88.0 dev flannel.1 onlink",
  ]);
  assert.equal(plan.forPeer(PEER).problem, undefined);
});

Deno.test("vxlan: DirectRouting takes the plain route only to peers on the same wire", async () => {
  const backend = await openVxlan({ directrouting: true });
  const direct = backend.plan(environment(["172.30.0.3"]), OWN);
  assert.deepEqual(direct.forPeer(PEER).entries.map(describeEntry), [
    "route 10.5.88.0/24 via 172.30.0.3 dev eth0",
  ]);
  assert.equal(backend.plan(environment(), OWN).forPeer(PEER).entries.length, 3);
});

Deno.test("vxlan: the MTU leaves room for the outer headers, 50 bytes over IPv4 and 70 over IPv6", async () => {
  const backend = await openVxlan();
  const own = { subnets: { ipv4: parsePrefix("10.5.72.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") } };
  const plan = backend.plan(environment(), own);
  assert.deepEqual(plan.links.map(({ name, mtu }) => [name, mtu]), [["flannel.1", 1450], [
    "flannel-v6.1",
    1430,
  ]]);
  assert.equal(plan.mtu, 1430);
  assert.equal((await openVxlan({ MTU: 1400 })).plan(environment(), own).mtu, 1400);
});

Deno.test("vxlan: a peer that can't be used is named with the reason, and gets no entries", async () => {
  const plan = (await openVxlan()).plan(environment(), OWN);
  const cases: [object, RegExp][] = [
    [{ PublicIP: "172.30.0.3", BackendType: "host-gw" }, /backend type "host-gw"/],
    [{ PublicIP: "172.30.0.3" }, /no backend type/],
    [{ PublicIP: "172.30.0.3", BackendType: "vxlan" }, /VtepMAC/],
    [{ PublicIP: "172.30.0.3", BackendType: "vxlan", BackendData: { VtepMAC: 5 } }, /VtepMAC/],
    [
      { PublicIP: "172.30.0.3", BackendType: "vxlan", BackendData: { VtepMAC: "ff:ff:ff:ff:ff:ff" } },
      /VtepMAC/,
    ],
    [{ PublicIPv6: "fd00::3", BackendType: "vxlan" }, /no public IPv4/],
  ];
  for (const [value, reason] of cases) {
    const broken = peer("10.5.88.0-24", value);
    assert.deepEqual(plan.forPeer(broken).entries, []);
    assert.match(plan.forPeer(broken).problem ?? "", reason);
  }
});

// A multicast address became the destination of an fdb entry: the tunnel's packets went to many.
Deno.test("a lease of this host's past, or of an address of no host, isn't a peer, behind -public-ip either", async () => {
  const publicIps = { ipv4: parseIp("203.0.113.7") };
  const now = environment(["172.30.0.2", "203.0.113.7"], { publicIps });
  const backends = [
    await openVxlan(),
    await openVxlan({ DirectRouting: true }),
    await hostGw.open(
      { mtu: undefined },
      context(),
    ),
  ];
  for (const backend of backends) {
    const { backendType } = backend.attributes;
    const own = "is this host's own address", none = "can't be a host's address";
    for (
      const [PublicIP, why] of [
        ["172.30.0.2", own],
        ["203.0.113.7", own],
        ...["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.1.2.3"].map((ip) => [ip, none] as const),
      ] as const
    ) {
      const past = peer("10.5.88.0-24", {
        PublicIP,
        BackendType: backendType,
        BackendData: { VNI: 1, VtepMAC: "3e:4b:bc:75:ce:44" },
      });
      const { entries, problem } = backend.plan(now, OWN).forPeer(past);
      assert.deepEqual(entries, []);
      assert.equal(problem, `${PublicIP} ${why}`);
    }
  }
});

Deno.test("vxlan: a lease with this host's own VtepMAC isn't a peer", async () => {
  const backend = await openVxlan();
  const past = peer("10.5.88.0-24", {
    PublicIP: "172.30.0.77",
    BackendType: "vxlan",
    BackendData: backend.attributes.backendData.ipv4!,
  });
  const { entries, problem } = backend.plan(environment(), OWN).forPeer(past);
  assert.deepEqual(entries, []);
  assert.match(problem ?? "", /is this host's own VtepMAC$/);
});

Deno.test("vxlan: what the lease says is the original's, byte for byte", async () => {
  const existing = vxlanLink("flannel.1", 1, 8472);
  const backend = await openVxlan({}, {
    config: parseNetworkConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'),
    links: [existing],
  });
  assert.equal(
    JSON.stringify(backend.attributes),
    '{"backendType":"vxlan","backendData":{"ipv4":{"VNI":1,"VtepMAC":"3e:4b:bc:75:ce:43"}}}',
  );
});

Deno.test("the VTEP's MAC is the existing device's, else one this host comes to again and no other does", () => {
  const options = { vni: 1, port: 0 };
  const adopted = findVtep(IPV4, options, context({ links: [vxlanLink("flannel.1", 1, 8472)] }));
  assert.deepEqual(adopted, { name: "flannel.1", mac: "3e:4b:bc:75:ce:43" });
  const { mac } = findVtep(IPV4, options, context());
  assert.match(mac, /^.[26ae]:/, "locally administered, unicast");
  // Recreated, it has the MAC that peers know from the lease, though the host's hardware is another.
  const [known, changed] = ["3e:4b:bc:75:ce:44", [
    link({ index: 2, name: "eth0", mac: "52:54:00:00:00:02" }),
  ]];
  const lease = (backendType: string) => ({
    publicIps: {},
    backendType,
    backendData: { ipv4: { VNI: 1, VtepMAC: known } },
  });
  const anew = context({ links: changed, ownLease: lease("vxlan") });
  assert.equal(findVtep(IPV4, options, anew).mac, known);
  assert.notEqual(findVtep(IPV6, options, anew).mac, known);
  assert.notEqual(findVtep(IPV4, options, context({ ownLease: lease("other") })).mac, known);
  assert.equal(findVtep(IPV4, options, context()).mac, mac);
  const others = [
    findVtep(IPV6, options, context()),
    findVtep(IPV4, { vni: 2, port: 0 }, context()),
    findVtep(IPV4, options, context({ machineId: "f".repeat(32) })),
    findVtep(IPV4, options, context({ networkId: "/other" })),
    findVtep(IPV4, options, context({ links: [link({ index: 2, name: "eth0", mac: "52:54:00:00:00:02" })] })),
  ];
  assert.equal(new Set([mac, ...others.map((vtep) => vtep.mac)]).size, 6);
});

Deno.test("a stranger's device of our name, VNI and port, or kind is refused and named", () => {
  const refused = (links: Link[], pattern: RegExp, options = { vni: 1, port: 0 }) =>
    assert.throws(() => findVtep(IPV4, options, context({ links })), {
      name: "LinkConflictError",
      message: pattern,
    });
  refused([link({ index: 5, name: "flannel.1", kind: "bridge" })], /flannel\.1.*kind bridge/);
  refused([vxlanLink("vx0", 1, 8472)], /vx0 already has VNI 1 on port 8472/);
  refused([vxlanLink("flannel.1", 1, 8472, linkAlias("/other"))], /marked "flanneld \/other"/);
  const beside = context({ links: [vxlanLink("vx0", 1, 4789), vxlanLink("vx1", 2, 8472)] });
  assert.equal(findVtep(IPV4, { vni: 1, port: 0 }, beside).name, "flannel.1");
});

Deno.test("two networks with one VNI on different ports get devices of their own, and find them again", () => {
  const first = vxlanLink("flannel.1", 1, 8472, linkAlias("/other"));
  const options = { vni: 1, port: 9999 };
  assert.equal(findVtep(IPV4, options, context({ links: [first] })).name, "fl.1.9999");
  const second = vxlanLink("fl.1.9999", 1, 9999, linkAlias(NETWORK_ID));
  assert.deepEqual(findVtep(IPV4, options, context({ links: [second] })), {
    name: "fl.1.9999",
    mac: second.mac,
  });
});

Deno.test("a VNI too long for a device name gets a shorter one", () => {
  assert.equal(findVtep(IPV4, { vni: 16777215, port: 0 }, context()).name, "fl.16777215");
  assert.equal(findVtep(IPV6, { vni: 16777215, port: 0 }, context()).name, "fl6.16777215");
});

Deno.test("host-gw: one plain route a peer, and a reason where the peer is behind a gateway", async () => {
  const backend = await hostGw.open(hostGw.parse({}, [IPV4]).options, context());
  const value = { PublicIP: "172.30.0.3", PublicIPv6: null, BackendType: "host-gw" };
  const near = backend.plan(environment(["172.30.0.3"]), OWN);
  assert.deepEqual(near.forPeer(peer("10.5.88.0-24", value)).entries.map(describeEntry), [
    "route 10.5.88.0/24 via 172.30.0.3 dev eth0",
  ]);
  assert.equal(near.mtu, 1500);
  const far = backend.plan(environment(), OWN);
  assert.deepEqual(far.forPeer(peer("10.5.88.0-24", value)).entries, []);
  assert.match(
    far.forPeer(peer("10.5.88.0-24", value)).problem ?? "",
    /172\.30\.0\.3 isn't reached through eth0/,
  );
});

Deno.test("a peer's subnet that holds an address of the underlay isn't a route: it would lead to containers", async () => {
  const gw = await hostGw.open(hostGw.parse({}, [IPV4]).options, context());
  const tunnel = await vxlan.open(vxlan.parse({}, [IPV4]).options, context());
  const data = { BackendData: { VNI: 1, VtepMAC: "3e:4b:bc:75:ce:44" } };
  for (const [backend, BackendType] of [[gw, "host-gw"], [tunnel, "vxlan"]] as const) {
    const plan = backend.plan(environment(["172.30.0.3", "172.31.0.3"]), OWN);
    const problemOf = (key: string, PublicIP: string) =>
      plan.forPeer(peer(key, { PublicIP, PublicIPv6: null, BackendType, ...data })).problem ?? "";
    assert.match(problemOf("172.30.0.0-24", "172.31.0.3"), /holds the underlay's address 172\.30\.0\.2/);
    assert.match(problemOf("172.31.0.0-24", "172.31.0.3"), /holds the underlay's address 172\.31\.0\.3/);
  }
});

Deno.test("host-gw refuses to start where the public address isn't the interface's", async () => {
  const publicIps = { ipv4: parseIp("203.0.113.7") };
  const changed = context({ external: external({ publicIps }) });
  await assert.rejects(
    hostGw.open({ mtu: undefined }, changed),
    /eth0 has 172\.30\.0\.2.*203\.0\.113\.7.*vxlan/,
  );
});

Deno.test("alloc: nothing but the MTU", async () => {
  const backend = await alloc.open(alloc.parse({}, [IPV4]).options, context());
  assert.deepEqual(backend.attributes, { backendData: {} });
  const plan = backend.plan(environment(), OWN);
  assert.deepEqual([plan.mtu, plan.links, plan.entries, plan.forPeer(PEER).entries], [1500, [], [], []]);
});

Deno.test("vxlan options: every one is checked, and named with its range", () => {
  const read = vxlan.parse(
    { VNI: 16777216, Port: 70000, GBP: "yes", TxChecksumOffload: "maybe" },
    [IPV4],
  );
  assert.deepEqual(read.faults.map(({ key }) => key), [
    "Backend.VNI",
    "Backend.Port",
    "Backend.GBP",
    "Backend.TxChecksumOffload",
  ]);
  assert.match(read.faults[0]!.message, /VNI 16777216.*between 0 and 16777215/);
});

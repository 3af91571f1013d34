import assert from "node:assert/strict";
import { udp } from "../../backends/udp/backend.ts";
import { tunName } from "../../backends/udp/control/device_name.ts";
import { parseUdpOptions } from "../../backends/udp/control/options.ts";
import { peerRoute, peerRoutes } from "../../backends/udp/control/peer_route.ts";
import { describeOffloads } from "../../backends/udp/control/report.ts";
import type { OpenContext } from "../../lib/backend/types.ts";
import { UDP_PORT } from "../../backends/udp/control/daemon_options.ts";
import { DeclaredOptions } from "../../lib/options/spec.ts";
import type { Json, JsonObject, NetworkConfig } from "../../lib/config/types.ts";
import { linkAlias } from "../../lib/kernel/own_links.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { FAMILIES, type Family, IPV4, IPV6, perFamily } from "../../lib/net/family.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";
import type { Link } from "../../lib/netlink/types.ts";
import { noMetrics, silentLog } from "../../lib/observe/types.ts";

function config(families = [IPV4]): NetworkConfig {
  return {
    families: families.map((family) => {
      const network = parsePrefix(family === IPV4 ? "10.5.0.0/16" : "fc00::/48");
      const subnetMin = { family, value: network.base };
      return { family, network, subnetLength: family === IPV4 ? 24 : 64, subnetMin, subnetMax: subnetMin };
    }),
    enableNFTables: false,
    peerFilter: false,
    backend: { type: "udp", options: {} },
  };
}

const parse = (options: JsonObject, families = [IPV4]) => parseUdpOptions(options, families);

const tun = (name: string, more: Partial<Link> = {}): Link => ({
  ...{ index: 5, name, flags: 0x10041, mtu: 1472, kind: "tun" },
  ...more,
});

const lease = (data?: Json, more: Partial<Lease["attributes"]> = {}): Lease => ({
  subnets: { ipv4: parsePrefix("10.5.7.0/24") },
  attributes: {
    publicIps: { ipv4: parseIp("172.30.0.7") },
    backendData: data === undefined ? {} : { ipv4: data },
    ...more,
  },
});

const OWN = { addresses: [parseIp("172.30.0.1")], port: 8285, linkIndex: 2 };

Deno.test("an empty Backend object gives port 8285, every offload and the full source check", () => {
  const { options, complete, faults, unknownKeys } = parse({});
  assert.deepEqual([faults, unknownKeys], [[], []]);
  assert.equal(options.port, 8285);
  assert.equal(options.mtu, undefined);
  assert.ok(Object.values(options.offloads).every(Boolean));
  assert.equal(options.sourceCheck, 2);
  assert.deepEqual(complete, {
    ...{ Port: 8285, Offload: true, TSO: true, USO: true, Merge: true },
    ...{ UDPSegment: true, UDPGRO: true, Batch: true, SourceCheck: true },
  });
});

Deno.test("Offload false switches everything off; finer keys switch single offloads, whatever their case", () => {
  assert.ok(Object.values(parse({ Offload: false }).options.offloads).every((on) => !on));
  const { offloads } = parse({ offload: false, udpgro: true, BATCH: true }).options;
  assert.deepEqual(Object.entries(offloads).filter(([, on]) => on).map(([name]) => name), ["gro", "batch"]);
  assert.equal(parse({ UDPSegment: false }).options.offloads.segment, false);
  assert.equal(parse({ USO: false }).options.offloads.mergeUdp, false);
  const merged = parse({ Merge: false }).options.offloads;
  assert.deepEqual([merged.mergeTcp, merged.mergeUdp, merged.uso], [false, false, true]);
});

Deno.test("without virtio headers there is nothing to merge into, whatever is asked for", () => {
  const { offloads } = parse({ TSO: false, USO: true, Merge: true }).options;
  assert.deepEqual([offloads.vnetHeader, offloads.uso, offloads.mergeTcp, offloads.mergeUdp], [
    false,
    false,
    false,
    false,
  ]);
});

Deno.test("SourceCheck is true, false or address", () => {
  assert.deepEqual(
    [true, false, "address", "Address"].map((v) => parse({ SourceCheck: v }).options.sourceCheck),
    [2, 0, 1, 1],
  );
  const { faults } = parse({ SourceCheck: "maybe" });
  assert.match(faults[0]!.message, /Backend\.SourceCheck "maybe": must be true, false or "address"/);
});

Deno.test("faults are named: ports, unknown keys, an MTU that IPv6 cannot have", () => {
  assert.deepEqual(parse({ Port: 65536, MTU: 20 }).faults.map(({ key }) => key), [
    "Backend.Port",
    "Backend.MTU",
  ]);
  assert.deepEqual(parse({ Prot: 1 }).unknownKeys, ["Prot"]);
  assert.deepEqual(parse({}, [IPV4, IPV6]).faults, [], "both families");
  assert.deepEqual(parse({ MTU: 1279 }).faults, []);
  assert.match(parse({ MTU: 1279 }, [IPV6]).faults[0]!.message, /Backend\.MTU 1279: must be .*1280/);
});

Deno.test("the device is the marked one, else the first free flannel%d", () => {
  const alias = linkAlias("/net");
  assert.equal(tunName([], "/net"), "flannel0");
  assert.equal(tunName([tun("flannel0", { alias: "flanneld /other" })], "/net"), "flannel1");
  assert.equal(
    tunName([tun("flannel0", { kind: "dummy" }), tun("flannel1", { alias: "x" })], "/net"),
    "flannel2",
  );
  assert.equal(
    tunName([tun("flannel0", { alias: "flanneld /other" }), tun("flannel3", { alias })], "/net"),
    "flannel3",
  );
  assert.equal(tunName([tun("flannel0")], "/net"), "flannel1", "another process is on it");
  assert.equal(tunName([tun("flannel0", { flags: 0x1 })], "/net"), "flannel0", "nobody is on it");
});

Deno.test("a peer is reached on its own port, or the config's", () => {
  const port = (data?: Json) => {
    const route = peerRoute(IPV4, lease(data), 8285, OWN);
    return typeof route === "string" ? route : new DataView(route.name.buffer).getUint16(2);
  };
  assert.equal(port(), 8285);
  assert.equal(port(null), 8285);
  assert.equal(port({}), 8285);
  assert.equal(port({ Port: 9000 }), 9000);
  for (const wrong of [0, 65536, 1.5, "8285", null]) {
    assert.equal(port({ Port: wrong }), "the Port in its lease isn't a port number");
  }
});

Deno.test("what a peer lacks is said, and both forms of its type are accepted", () => {
  const route = (peer: Lease) => peerRoute(IPV4, peer, 8285, OWN);
  assert.deepEqual(route(lease(undefined, { backendType: "udp" })), {
    subnet: parsePrefix("10.5.7.0/24"),
    name: new Uint8Array([2, 0, 8285 >>> 8, 8285 & 255, 172, 30, 0, 7, ...new Uint8Array(8)]),
  });
  assert.equal(
    route(lease(undefined, { backendType: "vxlan" })),
    'its lease has backend type "vxlan", not udp',
  );
  assert.equal(route(lease(undefined, { publicIps: {} })), "it has no public IPv4 address");
  assert.equal(route({ ...lease(), subnets: {} }), "it has no IPv4 subnet");
  const behindNat = lease({ Port: 8286 }, { publicIps: { ipv4: OWN.addresses[0]! } });
  assert.equal(typeof route(behindNat), "object", "same address, another port");
  assert.match(String(route(lease({ Port: 8285 }, { publicIps: { ipv4: OWN.addresses[0]! } }))), /own$/);
});

// Datagrams for such a peer went to this host itself, to many, or nowhere.
Deno.test("udp: a peer whose address can't be a host's is refused", () => {
  const subnets = { ipv4: parsePrefix("10.5.7.0/24"), ipv6: parsePrefix("fc00:0:0:7::/64") };
  for (const text of ["127.0.0.1", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1"]) {
    const ip = parseIp(text);
    const peer: Lease = { subnets, attributes: { publicIps: { [ip.family.name]: ip }, backendData: {} } };
    assert.equal(peerRoute(ip.family, peer, 8285, OWN), `${text} can't be a host's address`);
  }
});

Deno.test("each family of a peer travels over its own public address", () => {
  const dual: Lease = {
    subnets: { ipv4: parsePrefix("10.5.7.0/24"), ipv6: parsePrefix("fc00:0:0:7::/64") },
    attributes: {
      publicIps: { ipv4: parseIp("172.30.0.7"), ipv6: parseIp("fd30::7") },
      backendData: { ipv4: { Port: 9000 }, ipv6: { Port: 9006 } },
    },
  };
  const routes = peerRoutes(FAMILIES, dual, 8285, OWN);
  assert.deepEqual([...routes.ipv4!.name.slice(0, 8)], [2, 0, 9000 >>> 8, 9000 & 255, 172, 30, 0, 7]);
  const name = [10, 0, 9006 >>> 8, 9006 & 255, 0, 0, 0, 0, 0xfd, 0x30, ...new Uint8Array(13), 7, 0, 0, 0, 0];
  assert.deepEqual([...routes.ipv6!.name], name);
  const only4 = { ...dual, attributes: { ...dual.attributes, publicIps: { ipv4: parseIp("172.30.0.7") } } };
  assert.equal(peerRoute(IPV6, only4, 8285, OWN), "it has no public IPv6 address");
  assert.deepEqual(Object.keys(peerRoutes(FAMILIES, only4, 8285, OWN)), ["ipv4"]);
  const linkLocal = { ...dual, attributes: { ...dual.attributes, publicIps: { ipv6: parseIp("fe80::7") } } };
  const scoped = peerRoutes([IPV6], linkLocal, 8285, OWN).ipv6!;
  assert.equal(
    new DataView(scoped.name.buffer).getUint32(24, true),
    OWN.linkIndex,
    "link-local: on the wire",
  );
});

function context(more: Partial<OpenContext> = {}): OpenContext {
  const addresses = { ipv4: parseIp("172.30.0.1") };
  return {
    ...{ config: config(), networkId: "/net", links: [], machineId: "", options: new DeclaredOptions() },
    external: { name: "eth0", index: 2, mtu: 1500, addresses, publicIps: addresses },
    ...{ log: silentLog, metrics: noMetrics, signal: new AbortController().signal },
    ...more,
  };
}

Deno.test("the plan is a TUN with the subnet's address and the route of the whole network", async () => {
  const lab = context();
  const backend = await udp.open(parse({}).options, lab);
  assert.deepEqual(backend.attributes, { backendData: {} }, "the original publishes nothing");
  const plan = backend.plan({ external: lab.external, isOnLink: () => true }, {
    subnets: { ipv4: parsePrefix("10.5.72.0/24") },
  });
  assert.equal(plan.mtu, 1472);
  const [link] = plan.links;
  assert.deepEqual([link!.kind, link!.name, link!.mtu], ["tun", "flannel0", 1472]);
  assert.deepEqual(link!.addresses.map(({ ip, prefixLength }) => `${formatIp(ip)}/${prefixLength}`), [
    "10.5.72.0/32",
  ]);
  const [entry] = plan.entries;
  assert.ok(entry?.kind === "route" && entry.gateway === undefined);
  assert.equal(formatPrefix(entry.destination), "10.5.0.0/16");
  assert.deepEqual(plan.forPeer(lease()).entries, []);
  assert.equal(plan.forPeer(lease()).problem, undefined);
  assert.match(plan.forPeer(lease({ Port: "x" })).problem!, /isn't a port number/);
});

/** A host of a network with these families. */
function planOf(families: readonly Family[], mtu: number) {
  const addresses = perFamily(families, ({ name }) => parseIp(name === "ipv4" ? "172.30.0.1" : "fd30::1"));
  const external = { name: "eth0", index: 2, mtu, addresses, publicIps: addresses };
  const lab = context({ config: config([...families]), external });
  const subnets = perFamily(
    families,
    ({ name }) => parsePrefix(name === "ipv4" ? "10.5.72.0/24" : "fc00:0:0:72::/64"),
  );
  return udp.open(parse({}, [...families]).options, lab).then((backend) => ({
    backend,
    plan: backend.plan({ external, isOnLink: () => true }, { subnets }),
  }));
}

Deno.test("with IPv6 the device has both families' addresses and routes, and the smaller MTU", async () => {
  const dual = (await planOf([IPV4, IPV6], 1500)).plan;
  assert.equal(dual.mtu, 1452);
  const addresses = dual.links[0]!.addresses.map(({ ip, prefixLength }) => `${formatIp(ip)}/${prefixLength}`);
  assert.deepEqual(addresses, ["10.5.72.0/32", "fc00:0:0:72::/128"]);
  const networks = dual.entries.map((entry) => entry.kind === "route" && formatPrefix(entry.destination));
  assert.deepEqual(networks, ["10.5.0.0/16", "fc00::/48"]);
  assert.match(dual.forPeer(lease()).problem!, /^it has no IPv6 subnet$/);
  const six = await planOf([IPV6], 9000);
  assert.equal(six.plan.mtu, 8952);
  assert.deepEqual(six.backend.attributes, { backendData: {} });
});

Deno.test("an interface that is too narrow for IPv6 inside is named, with what would do", async () => {
  const message = "The MTU 1300 of eth0 leaves 1252 bytes for packets in the tunnel, and IPv6 needs 1280: " +
    "raise it to 1328, or set Backend.MTU to 1280 to have outer packets fragmented";
  await assert.rejects(async () => await planOf([IPV4, IPV6], 1300), { message });
});

Deno.test("MTU from the config, and a port of the host's own is published", async () => {
  const lab = context({ options: new DeclaredOptions(new Map([[UDP_PORT, 8299]])) });
  const backend = await udp.open(parse({ MTU: 1400 }).options, lab);
  assert.deepEqual(backend.attributes, { backendData: { ipv4: { Port: 8299 } } });
  const plan = backend.plan({ external: lab.external, isOnLink: () => true }, {
    subnets: { ipv4: parsePrefix("10.5.72.0/24") },
  });
  assert.equal(plan.mtu, 1400);
});

Deno.test("the log line names what is in force and what isn't", () => {
  assert.match(
    describeOffloads(parse({}).options.offloads),
    /^TSO, USO, UDP_SEGMENT, UDP_GRO, merging of TCP/,
  );
  assert.match(describeOffloads(parse({ UDPGRO: false }).options.offloads), /; without UDP_GRO$/);
  assert.equal(describeOffloads(parse({ Offload: false }).options.offloads), "none: one packet a call");
});

/** Our devices: compared in every attribute that keeps packets from passing, found under any name. */
import assert from "node:assert/strict";
import type { DesiredTun, DesiredVxlan } from "../../lib/kernel/desired_link.ts";
import { ensureLinks, type LinkKeeperOptions, removeOtherLinks } from "../../lib/kernel/link_keeper.ts";
import { linkAlias } from "../../lib/kernel/own_links.ts";
import { findLink } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { noMetrics, noProblems, silentLog } from "../../lib/observe/types.ts";
import { ip } from "./kernel_host.ts";
import { namespaceTest, run } from "./netns.ts";

const MAC = "3e:4b:bc:75:ce:43";
const VXLAN: DesiredVxlan = {
  kind: "vxlan",
  name: "flannel.1",
  mac: MAC,
  vni: 1,
  local: parseIp("172.30.0.1"),
  underlay: "eth0",
  port: 0,
  learning: false,
  gbp: false,
  txChecksum: "auto",
  mtu: 1450,
  addresses: [{ ip: parseIp("10.5.72.0"), prefixLength: 32 }],
};
const VXLAN6: DesiredVxlan = {
  ...VXLAN,
  name: "flannel-v6.1",
  local: parseIp("fd00:30::1"),
  mtu: 1430,
  addresses: [{ ip: parseIp("fc00:0:0:72::"), prefixLength: 128 }],
};

/** An underlay with an address of each family; gives what devices are made with. */
function setUp(socket: NetlinkSocket): LinkKeeperOptions {
  ip("link set lo up");
  ip("link add eth0 type bridge");
  ip("link set eth0 up");
  ip("address add 172.30.0.1/24 dev eth0");
  ip("address add fd00:30::1/64 dev eth0 nodad");
  return {
    socket,
    networks: [parsePrefix("10.5.0.0/16"), parsePrefix("fc00::/48")],
    networkId: "/test",
    log: silentLog,
    metrics: noMetrics,
    problems: noProblems,
  };
}

/** What `ip -d link` says of a device, without what a device made again has anew, and its addresses. */
function detailsOf(device: string): string {
  const lines = [...ip(`-d link show ${device}`), ...ip(`address show ${device}`)];
  return lines.join("\n").replaceAll(/^\d+: /gm, "").replace(/ group default| qlen \d+/g, "");
}

/** Options of `ip link add type vxlan` that no device of ours has. */
const SPECIALS: readonly string[] = [
  "ttl 1",
  "ttl inherit",
  "df set",
  "remote 172.30.0.9",
  "group 239.1.1.1",
  "l2miss",
  "l3miss",
  "proxy",
  "rsc",
  "maxaddress 3",
];

for (const special of SPECIALS) {
  namespaceTest(import.meta, `a device with "${special}" is recreated without it`, () => {
    using socket = NetlinkSocket.open();
    const options = setUp(socket);
    ensureLinks([VXLAN], options);
    const wanted = detailsOf("flannel.1");
    ip("link del flannel.1");
    const usual = "id 1 local 172.30.0.1 dev eth0 dstport 8472 nolearning";
    ip(`link add flannel.1 address ${MAC} mtu 1450 type vxlan ${usual} ${special}`);
    assert.ok(ensureLinks([VXLAN], options).changed);
    assert.equal(detailsOf("flannel.1"), wanted);
    assert.ok(!ensureLinks([VXLAN], options).changed, "and then left alone");
  });
}

namespaceTest(import.meta, "the kernel's link-local address goes, and how it came", () => {
  using socket = NetlinkSocket.open();
  const options = setUp(socket);
  ensureLinks([VXLAN], options);
  const wanted = detailsOf("flannel.1");
  const { index } = findLink(socket, "flannel.1")!;
  ip("link set flannel.1 down");
  ip("link set flannel.1 addrgenmode eui64");
  ip("link set flannel.1 up");
  assert.match(detailsOf("flannel.1"), /fe80::/);
  ensureLinks([VXLAN], options);
  assert.equal(detailsOf("flannel.1"), wanted);
  assert.equal(findLink(socket, "flannel.1")!.index, index, "the device is still the same");
});

namespaceTest(
  import.meta,
  "renamed devices of both families are renamed back, with all that is on them",
  () => {
    using socket = NetlinkSocket.open();
    const options = setUp(socket);
    const wanted = [VXLAN, VXLAN6];
    const { own } = ensureLinks(wanted, options);
    ip("route add 10.5.7.0/24 via 10.5.7.0 dev flannel.1 onlink proto 70");
    const before = wanted.map(({ name }) => detailsOf(name));
    // Names crossed: the mark alone doesn't say which is which.
    ip("link set flannel.1 name other6");
    ip("link set flannel-v6.1 name other4");
    assert.equal(removeOtherLinks(wanted, options), 0, "a renamed device is still wanted");
    assert.deepEqual(ensureLinks(wanted, options).own, own, "the same names with the same indexes");
    assert.deepEqual(wanted.map(({ name }) => detailsOf(name)), before);
    assert.equal(
      ip("route show 10.5.7.0/24").length,
      1,
      "no route is lost where the kernel can rename a link that is up",
    );
    assert.ok(!ensureLinks(wanted, options).changed);
  },
);

namespaceTest(import.meta, "another network's device, or an unmarked one, is nobody's renamed device", () => {
  using socket = NetlinkSocket.open();
  const options = setUp(socket);
  ip("link add other type vxlan id 1 local 172.30.0.1 dev eth0 dstport 4789");
  ip(`link set other alias ${linkAlias("/elsewhere").replaceAll(" ", "_")}`);
  ip("link add another type vxlan id 1 local 172.30.0.1 dev eth0 dstport 4790");
  ensureLinks([VXLAN], options);
  const names = ip("-o link show type vxlan").map((line) => /^\d+: ([^:]+):/.exec(line)![1]);
  assert.deepEqual(names.sort(), ["another", "flannel.1", "other"]);
});

namespaceTest(
  import.meta,
  "a TUN device's queues are read by netlink, not from the /sys of another namespace",
  () => {
    using socket = NetlinkSocket.open();
    const options = setUp(socket);
    // This process has the /sys of the namespace it came from.
    assert.throws(() => Deno.statSync("/sys/class/net/flannel0"), Deno.errors.NotFound);
    const tun: DesiredTun = {
      kind: "tun",
      name: "flannel0",
      mtu: 1472,
      vnetHeader: false,
      multiQueue: false,
      addresses: [{ ip: parseIp("10.5.72.0"), prefixLength: 32 }],
    };
    const [first] = ensureLinks([tun], options).own;
    assert.deepEqual(findLink(socket, "flannel0")!.tun, { multiQueue: false, persistent: true });
    assert.deepEqual(ensureLinks([tun], options), { own: [first], changed: false });
    ip("link set flannel0 name renamed0");
    assert.deepEqual(ensureLinks([tun], options).own, [first]);
    const [second] = ensureLinks([{ ...tun, multiQueue: true }], options).own;
    assert.notEqual(second!.index, first!.index, "the number of queues is fixed when the device is made");
    assert.deepEqual(findLink(socket, "flannel0")!.tun, { multiQueue: true, persistent: true });
    run("ip", "link", "del", "flannel0");
  },
);

import assert from "node:assert/strict";
import { closeFd, O_RDONLY, openFd } from "../../lib/ffi/fd.ts";
import { listAddresses } from "../../lib/netlink/address.ts";
import { IFF_UP } from "../../lib/netlink/constants.ts";
import { NetlinkError } from "../../lib/netlink/error.ts";
import { getTxChecksum, setTxChecksum } from "../../lib/netlink/ethtool.ts";
import { changeLink, createLink, deleteLink, findLink, listLinks } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import type { LinkSpec } from "../../lib/netlink/types.ts";
import { IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { namespaceTest, run } from "./netns.ts";

const mac = "3e:4b:bc:75:ce:43";

namespaceTest(import.meta, "netlink: makes, finds, changes and deletes a link", () => {
  using socket = NetlinkSocket.open();
  assert.deepEqual(listLinks(socket).map(({ name }) => name), ["lo"]);
  const made = createLink(socket, { name: "br0", kind: "bridge", mac, mtu: 1400 });
  assert.deepEqual(made, {
    index: made.index,
    name: "br0",
    kind: "bridge",
    mac,
    mtu: 1400,
    flags: made.flags,
    // Present on kernels with IPv6: from the MAC (EUI-64).
    ...made.addressGeneration === undefined ? {} : { addressGeneration: 0 },
  });
  assert.equal(made.flags & IFF_UP, 0);
  assert.deepEqual(findLink(socket, "br0"), made);
  assert.deepEqual(findLink(socket, made.index), made);
  changeLink(socket, made.index, { up: true, mtu: 1300, mac: "02:00:00:00:00:09" });
  const changed = findLink(socket, "br0");
  assert.ok(changed);
  assert.deepEqual([changed.mtu, changed.mac, changed.flags & IFF_UP], [1300, "02:00:00:00:00:09", IFF_UP]);
  changeLink(socket, made.index, { up: false });
  assert.equal(findLink(socket, "br0")!.flags & IFF_UP, 0);
  deleteLink(socket, made.index);
  assert.equal(findLink(socket, "br0"), undefined);
  assert.equal(findLink(socket, made.index), undefined);
});

namespaceTest(import.meta, "netlink: a VXLAN device is what was asked for, over either family", () => {
  using socket = NetlinkSocket.open();
  const underlay = createLink(socket, { name: "eth0", kind: "bridge" });
  const specs: LinkSpec[] = ["172.30.0.2", "fd00::2"].map((local, i) => ({
    name: `flannel.${i + 1}`,
    kind: "vxlan",
    mac,
    mtu: 1350 - i,
    vxlan: {
      vni: i === 0 ? 1 : 0xffffff,
      local: parseIp(local),
      linkIndex: underlay.index,
      port: i === 0 ? 8472 : 4789,
      learning: i === 1,
      gbp: i === 0,
    },
  }));
  for (const spec of specs) {
    const link = createLink(socket, spec);
    assert.deepEqual([link.kind, link.mac, link.mtu, link.vxlan], ["vxlan", mac, spec.mtu, spec.vxlan]);
    assert.deepEqual(listLinks(socket).find(({ name }) => name === spec.name), link);
  }
  // The same as iproute2 sees it: nothing is set that wasn't asked for.
  const shown = run("ip", "-d", "link", "show", "flannel.1");
  assert.match(shown, /vxlan id 1 local 172\.30\.0\.2 dev eth0 srcport 0 0 dstport 8472 nolearning/);
  assert.match(shown, /noudp6zerocsumtx noudp6zerocsumrx.* gbp/);
});

namespaceTest(import.meta, "netlink: port 0 is the kernel's default port", () => {
  using socket = NetlinkSocket.open();
  const vxlan = { vni: 1, port: 0, learning: false, gbp: false };
  assert.equal(createLink(socket, { name: "flannel.1", kind: "vxlan", vxlan }).vxlan?.port, 8472);
});

namespaceTest(import.meta, "netlink: noLinkLocal keeps IPv6 addresses off a link that goes up", () => {
  using socket = NetlinkSocket.open();
  for (const noLinkLocal of [true, false]) {
    const vxlan = { vni: noLinkLocal ? 1 : 2, port: 0, learning: false, gbp: false };
    const { index } = createLink(socket, { name: `v${vxlan.vni}`, kind: "vxlan", noLinkLocal, vxlan });
    changeLink(socket, index, { up: true });
    const addresses = listAddresses(socket, { family: IPV6, linkIndex: index });
    assert.equal(addresses.length, noLinkLocal ? 0 : 1);
  }
});

namespaceTest(import.meta, "netlink: noLinkLocal is no error on a link too small for IPv6", () => {
  using socket = NetlinkSocket.open();
  const vxlan = { vni: 1, port: 0, learning: false, gbp: false };
  const spec = { name: "small", kind: "vxlan", mtu: 1200, noLinkLocal: true, vxlan } as const;
  const { index } = createLink(socket, spec);
  changeLink(socket, index, { up: true });
  assert.deepEqual(listAddresses(socket, { family: IPV6, linkIndex: index }), []);
});

namespaceTest(import.meta, "netlink: enslaves a link and releases it", () => {
  using socket = NetlinkSocket.open();
  const bridge = createLink(socket, { name: "br0", kind: "bridge" });
  const port = createLink(socket, { name: "veth0", kind: "veth", peer: { name: "veth1" } });
  assert.equal(port.kind, "veth");
  assert.equal(findLink(socket, "veth1")?.kind, "veth");
  changeLink(socket, port.index, { master: bridge.index });
  assert.equal(findLink(socket, "veth0")?.master, bridge.index);
  changeLink(socket, port.index, { master: 0 });
  assert.equal(findLink(socket, "veth0")?.master, undefined);
});

namespaceTest(import.meta, "netlink: puts a veth's other end into another namespace", async () => {
  await using child = new Deno.Command("unshare", {
    args: ["--net", "sh", "-c", "echo ready; exec cat"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await child.stdout.getReader().read();
  const netnsFd = openFd(`/proc/${child.pid}/ns/net`, O_RDONLY);
  try {
    using socket = NetlinkSocket.open();
    createLink(socket, { name: "veth0", kind: "veth", peer: { name: "eth0", netnsFd } });
    assert.equal(findLink(socket, "eth0"), undefined);
    assert.match(run("nsenter", `--net=/proc/${child.pid}/ns/net`, "ip", "link", "show"), /eth0@/);
  } finally {
    closeFd(netnsFd);
    await child.stdin.close();
  }
});

namespaceTest(import.meta, "netlink: what can't be a link is refused with the reason", () => {
  using socket = NetlinkSocket.open();
  for (const name of ["", "a".repeat(16), "é".repeat(8), "a/b", "a b", "a:b", "flannel%d", ".", ".."]) {
    assert.throws(() => createLink(socket, { name, kind: "bridge" }), RangeError, name);
    assert.equal(findLink(socket, name), undefined);
  }
  createLink(socket, { name: "a".repeat(15), kind: "bridge" });
  assert.throws(
    () => createLink(socket, { name: "a".repeat(15), kind: "bridge" }),
    (error) =>
      error instanceof NetlinkError && error.code === "EEXIST" &&
      /make the bridge link a+/.test(error.message),
  );
  assert.throws(
    () => changeLink(socket, findLink(socket, "a".repeat(15))!.index, { mtu: 70_000 }),
    { name: "NetlinkError", code: "EINVAL", kernelMessage: "mtu greater than device maximum" },
  );
  assert.throws(() => deleteLink(socket, 4711), { code: "ENODEV" });
});

namespaceTest(import.meta, "netlink: a VXLAN device whose VNI and port are taken is refused in words", () => {
  using socket = NetlinkSocket.open();
  const vxlan = { vni: 7, port: 0, learning: false, gbp: false };
  createLink(socket, { name: "foreign", kind: "vxlan", vxlan });
  assert.throws(() => createLink(socket, { name: "flannel.7", kind: "vxlan", vxlan }), {
    code: "EEXIST",
    kernelMessage: "A VXLAN device with the specified VNI already exists",
  });
});

namespaceTest(import.meta, "ethtool: turns the transmit checksum off and on", () => {
  using socket = NetlinkSocket.open();
  createLink(socket, { name: "v1", kind: "vxlan", vxlan: { vni: 1, port: 0, learning: false, gbp: false } });
  assert.equal(getTxChecksum("v1"), true);
  setTxChecksum("v1", false);
  assert.equal(getTxChecksum("v1"), false);
  setTxChecksum("v1", true);
  assert.equal(getTxChecksum("v1"), true);
  assert.throws(() => getTxChecksum("v2"), { name: "SystemError", code: "ENODEV" });
  assert.throws(() => setTxChecksum("lo", false), { name: "SystemError", code: "EOPNOTSUPP" });
});

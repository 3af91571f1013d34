import assert from "node:assert/strict";
import { closeFd } from "../../lib/ffi/fd.ts";
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TUN,
  IFF_VNET_HDR,
  openTun,
  setTunPersist,
  tunFlags,
} from "../../lib/ffi/tun.ts";
import { ensureTun } from "../../lib/kernel/tun_keeper.ts";
import { findLink } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { namespaceTest } from "./netns.ts";

/** The flags that are chosen, without those that show states. */
const CHOSEN = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR;

namespaceTest(import.meta, "tun: a device has the options asked for and a name of the kernel's", () => {
  for (const vnetHeader of [false, true]) {
    for (const multiQueue of [false, true]) {
      const { fd, name } = openTun({ name: "flannel%d", vnetHeader, multiQueue });
      const options = (vnetHeader ? IFF_VNET_HDR : 0) | (multiQueue ? IFF_MULTI_QUEUE : 0);
      assert.equal(tunFlags(fd) & CHOSEN, IFF_TUN | IFF_NO_PI | options);
      assert.equal(name, "flannel0");
      closeFd(fd);
    }
  }
});

namespaceTest(import.meta, "tun: a device goes with its last queue unless it is persistent", () => {
  using socket = NetlinkSocket.open();
  const options = { name: "flannel0", vnetHeader: true, multiQueue: true };
  const first = openTun(options), second = openTun(options);
  assert.equal(findLink(socket, "flannel0")?.kind, "tun");
  assert.equal(findLink(socket, "flannel0")?.mac, undefined);
  closeFd(first.fd);
  assert.ok(findLink(socket, "flannel0"));
  setTunPersist(second.fd, true);
  closeFd(second.fd);
  assert.ok(findLink(socket, "flannel0"));
  const third = openTun(options);
  setTunPersist(third.fd, false);
  closeFd(third.fd);
  assert.equal(findLink(socket, "flannel0"), undefined);
});

namespaceTest(import.meta, "tun: what can't be opened is named", () => {
  const { fd } = openTun({ name: "flannel0", vnetHeader: false, multiQueue: false });
  assert.throws(() => openTun({ name: "flannel0", vnetHeader: false, multiQueue: false }), {
    message: "Cannot open the TUN device flannel0: Device or resource busy (EBUSY)",
  });
  assert.throws(() => openTun({ name: "flannel0", vnetHeader: false, multiQueue: true }), { code: "EINVAL" });
  assert.throws(() => openTun({ name: "a".repeat(16), vnetHeader: false, multiQueue: false }), RangeError);
  closeFd(fd);
});

namespaceTest(
  import.meta,
  "tun: the number of queues is asked of the kernel, since /sys may show another namespace",
  () => {
    using socket = NetlinkSocket.open();
    const desired = { kind: "tun", name: "flannel0", mtu: 1472, vnetHeader: true, addresses: [] } as const;
    const keep = (multiQueue: boolean) =>
      ensureTun({ ...desired, multiQueue }, findLink(socket, "flannel0"), { socket, log: silentLog });
    // /sys here is that of the namespace outside, which has no flannel0.
    assert.throws(() => Deno.statSync("/sys/class/net/flannel0"), Deno.errors.NotFound);
    const made = keep(false);
    assert.equal(made.created, true);
    assert.deepEqual(made.link.tun, { multiQueue: false, persistent: true });
    assert.deepEqual(keep(false), { link: made.link, created: false });
    const other = keep(true);
    assert.equal(other.created, true);
    assert.deepEqual(other.link.tun, { multiQueue: true, persistent: true });
  },
);

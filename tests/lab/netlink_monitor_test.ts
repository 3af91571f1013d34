import assert from "node:assert/strict";
import { addressRequest } from "../../lib/netlink/address.ts";
import { changeLink, createLink, deleteLink, findLink } from "../../lib/netlink/link.ts";
import { NetlinkMonitor, type NetlinkNotification } from "../../lib/netlink/monitor.ts";
import { fdbRequest, neighbourRequest } from "../../lib/netlink/neighbour.ts";
import { nexthopRequest } from "../../lib/netlink/nexthop.ts";
import { routeRequest } from "../../lib/netlink/route.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { namespaceTest, run } from "./netns.ts";

const mac = "3e:4b:bc:75:ce:43";
const protocol = 99;

/** Reads up to and with the first notification that `isLast` finds. */
async function readUntil(
  monitor: NetlinkMonitor,
  isLast: (notification: NetlinkNotification) => boolean,
): Promise<NetlinkNotification[]> {
  const seen: NetlinkNotification[] = [];
  for await (const notification of monitor) {
    seen.push(notification);
    if (isLast(notification)) break;
  }
  return seen;
}

/** A bridge with the given name is announced: the sign that all that happened before has been read. */
function isLink(name: string) {
  return (n: NetlinkNotification) => n.kind === "link" && n.change === "new" && n.value.name === name;
}

function setUp(socket: NetlinkSocket): number {
  changeLink(socket, findLink(socket, "lo")!.index, { up: true });
  const vxlan = { vni: 1, port: 0, learning: false, gbp: false };
  const { index } = createLink(socket, { name: "flannel.1", kind: "vxlan", noLinkLocal: true, vxlan });
  changeLink(socket, index, { up: true });
  return index;
}

namespaceTest(import.meta, "netlink monitor: reports others' changes of every kind", async () => {
  using socket = NetlinkSocket.open();
  const linkIndex = setUp(socket);
  await using monitor = NetlinkMonitor.open({
    groups: ["link", "ipv4-address", "ipv6-address", "ipv4-route", "ipv6-route", "neighbour", "nexthop"],
  });
  const ip = parseIp("10.5.1.0");
  run("ip", "addr", "add", "10.5.0.0/32", "dev", "flannel.1");
  run("ip", "addr", "add", "fd00::2/64", "dev", "flannel.1", "nodad");
  run("ip", "route", "add", "10.5.1.0/24", "via", "10.5.1.0", "dev", "flannel.1", "onlink", "proto", "99");
  run("ip", "-6", "route", "add", "blackhole", "fc00:1::/64", "proto", "99");
  run("ip", "neigh", "add", "10.5.1.0", "lladdr", mac, "dev", "flannel.1");
  run("bridge", "fdb", "add", mac, "dst", "172.30.0.3", "dev", "flannel.1", "self", "permanent");
  run("ip", "nexthop", "add", "id", "7", "via", "10.5.1.0", "dev", "flannel.1", "onlink");
  run("bridge", "fdb", "del", mac, "dst", "172.30.0.3", "dev", "flannel.1", "self");
  run("ip", "link", "del", "flannel.1");
  const seen = await readUntil(monitor, (n) => n.kind === "link" && n.change === "delete");
  const has = (wanted: (n: NetlinkNotification) => boolean | undefined) =>
    assert.ok(seen.some(wanted), `${wanted}`);
  has((n) => n.kind === "address" && n.change === "new" && n.value.ip.value === 0x0a050000n);
  has((n) => n.kind === "address" && n.change === "new" && n.value.ip.family.name === "ipv6");
  has((n) => n.kind === "route" && n.value.protocol === protocol && n.value.gateway?.value === ip.value);
  has((n) => n.kind === "route" && n.value.protocol === protocol && n.value.family.name === "ipv6");
  has((n) => n.kind === "neighbour" && n.change === "new" && n.value.mac === mac);
  has((n) => n.kind === "neighbour" && n.change === "delete" && n.value.linkIndex === linkIndex);
  has((n) => n.kind === "fdb" && n.change === "new" && n.value.mac === mac);
  has((n) => n.kind === "fdb" && n.change === "delete" && n.value.mac === mac);
  has((n) => n.kind === "nexthop" && n.change === "new" && n.value.id === 7);
  assert.deepEqual(seen.at(-1)?.kind === "link" && seen.at(-1), {
    kind: "link",
    change: "delete",
    value: (seen.at(-1) as Extract<NetlinkNotification, { kind: "link" }>).value,
  });
});

namespaceTest(
  import.meta,
  "netlink monitor: what our own sockets set wakes nobody, others' changes come",
  async () => {
    using mine = NetlinkSocket.open();
    using other = NetlinkSocket.open();
    const linkIndex = setUp(mine);
    await using monitor = NetlinkMonitor.open({
      groups: ["ipv4-route", "neighbour", "nexthop", "link"],
      ignorePortIds: [mine.portId, 4711],
      ignoreNewFdb: true,
    });
    const changes = (from: number) =>
      Array.from({ length: 100 }, (_, i) => {
        const id = from + i;
        const ip = { family: IPV4, value: 0x0a000000n + BigInt(id) * 256n };
        return [
          neighbourRequest("replace", { linkIndex, ip, mac }),
          nexthopRequest("create", { id, family: IPV4, linkIndex, gateway: ip, onlink: true, protocol }),
          routeRequest("add", {
            destination: { family: IPV4, base: ip.value, length: 24 },
            nexthopId: id,
            protocol,
          }),
        ];
      }).flat();
    assert.deepEqual(mine.batch(changes(1)), []);
    const remote = parseIp("172.30.0.3");
    mine.execute(fdbRequest("replace", { linkIndex, mac, remote }));
    // What our own requests take away isn't announced either, but for neighbours and fdb entries.
    mine.execute(routeRequest("delete", { destination: parsePrefix("10.0.1.0/24"), nexthopId: 1, protocol }));
    mine.execute(nexthopRequest("delete", { id: 1 }));
    createLink(other, { name: "mark1", kind: "bridge" });
    const fromMine = await readUntil(monitor, isLink("mark1"));
    assert.deepEqual(fromMine.map(({ kind }) => kind), ["link"]);

    assert.deepEqual(other.batch(changes(1001)), []);
    other.execute(fdbRequest("delete", { linkIndex, mac, remote }));
    createLink(other, { name: "mark2", kind: "bridge" });
    const fromOther = await readUntil(monitor, isLink("mark2"));
    const count = (kind: string) => fromOther.filter((n) => n.kind === kind).length;
    assert.deepEqual(["neighbour", "nexthop", "route", "fdb"].map(count), [100, 100, 100, 1]);
  },
);

namespaceTest(import.meta, "netlink monitor: reports lost notifications and reads on", async () => {
  using socket = NetlinkSocket.open();
  setUp(socket);
  await using monitor = NetlinkMonitor.open({ groups: ["ipv4-route", "link"], receiveBufferBytes: 4096 });
  const routes = Array.from({ length: 500 }, (_, i) => {
    const destination = { family: IPV4, base: 0x0a000000n + BigInt(i) * 256n, length: 24 };
    return routeRequest("add", { destination, linkIndex: 1, protocol });
  });
  assert.deepEqual(socket.batch(routes), []);
  const seen = await readUntil(monitor, (n) => n.kind === "overrun");
  assert.ok(seen.length < routes.length);
  // The few that fitted come after the news of the loss; then whatever happens next.
  const rest = readUntil(monitor, isLink("after"));
  const timer = setInterval(
    () => findLink(socket, "after") ?? createLink(socket, { name: "after", kind: "bridge" }),
    5,
  );
  assert.ok((await rest).length > 0);
  clearInterval(timer);
});

namespaceTest(import.meta, "netlink monitor: ends when it is disposed while it waits", async () => {
  const monitor = NetlinkMonitor.open({ groups: ["link"] });
  const ended = readUntil(monitor, () => false);
  await new Promise((resolve) => setTimeout(resolve));
  await monitor[Symbol.asyncDispose]();
  assert.deepEqual(await ended, []);
  await monitor[Symbol.asyncDispose]();
});

namespaceTest(import.meta, "netlink monitor: ends by its signal", async () => {
  const controller = new AbortController();
  const monitor = NetlinkMonitor.open({ groups: ["link"], signal: controller.signal });
  const ended = readUntil(monitor, () => false);
  await new Promise((resolve) => setTimeout(resolve));
  controller.abort();
  assert.deepEqual(await ended, []);
  assert.throws(() => NetlinkMonitor.open({ groups: ["link"], signal: controller.signal }), {
    name: "AbortError",
  });
});

namespaceTest(
  import.meta,
  "netlink monitor: a bridge's own view of its ports isn't taken for the ports' end",
  async () => {
    using socket = NetlinkSocket.open();
    const { index: master } = createLink(socket, { name: "br0", kind: "bridge" });
    const { index: port } = createLink(socket, { name: "port", kind: "veth", peer: { name: "peer" } });
    await using monitor = NetlinkMonitor.open({ groups: ["link"] });
    changeLink(socket, port, { master });
    changeLink(socket, port, { master: 0 });
    socket.execute(addressRequest("replace", { linkIndex: port, ip: parseIp("10.0.0.1"), prefixLength: 24 }));
    createLink(socket, { name: "mark", kind: "bridge" });
    const seen = await readUntil(monitor, isLink("mark"));
    assert.ok(seen.length > 1);
    assert.ok(seen.every((n) => n.kind === "link" && n.change === "new"));
    deleteLink(socket, port);
    await readUntil(monitor, (n) => n.kind === "link" && n.change === "delete" && n.value.index === port);
  },
);

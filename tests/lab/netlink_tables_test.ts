import assert from "node:assert/strict";
import { addressRequest, listAddresses } from "../../lib/netlink/address.ts";
import { NUD_PERMANENT, RTN_BLACKHOLE, RTN_LOCAL, RTN_UNICAST } from "../../lib/netlink/constants.ts";
import { changeLink, createLink, findLink } from "../../lib/netlink/link.ts";
import { fdbRequest, listFdb, listNeighbours, neighbourRequest } from "../../lib/netlink/neighbour.ts";
import { listNexthops, nexthopRequest, nexthopsSupported } from "../../lib/netlink/nexthop.ts";
import { listRoutes, lookupRoute, routeRequest, type RouteSpec } from "../../lib/netlink/route.ts";
import { type NetlinkRequest, NetlinkSocket } from "../../lib/netlink/socket.ts";
import { type Family, IPV4, IPV6 } from "../../lib/net/family.ts";
import { formatIp, type Ip, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { until } from "../../scripts/lab/process.ts";
import { namespaceTest } from "./netns.ts";

const protocol = 99;

/** What the two families' cases differ in. */
const CASES: readonly {
  family: Family;
  underlay: string;
  subnets: string[];
  length: number;
  remotes: string[];
}[] = [
  {
    family: IPV4,
    underlay: "172.30.0.2/16",
    subnets: ["10.5.1.0", "10.5.2.0", "10.5.3.0"],
    length: 24,
    remotes: ["172.30.0.3", "172.30.0.4"],
  },
  {
    family: IPV6,
    underlay: "fd00::2/64",
    subnets: ["fc00:0:0:1::", "fc00:0:0:2::", "fc00:0:0:3::"],
    length: 64,
    remotes: ["fd00::3", "fd00::4"],
  },
];

for (const { family, underlay, subnets, length, remotes } of CASES) {
  const [first, second, third] = subnets.map(parseIp) as [Ip, Ip, Ip];
  const destinations = subnets.map((subnet) => parsePrefix(`${subnet}/${length}`));
  const [local, localLength] = underlay.split("/") as [string, string];

  /** An underlay with an address and a VXLAN device upon it, both up. */
  const setUp = (socket: NetlinkSocket) => {
    changeLink(socket, findLink(socket, "lo")!.index, { up: true });
    const { index: eth0 } = createLink(socket, { name: "eth0", kind: "bridge", noLinkLocal: true });
    changeLink(socket, eth0, { up: true });
    const prefixLength = Number(localLength);
    socket.execute(addressRequest("replace", { linkIndex: eth0, ip: parseIp(local), prefixLength }));
    const vxlan = { vni: 1, local: parseIp(local), linkIndex: eth0, port: 0, learning: false, gbp: false };
    const { index: vtep } = createLink(socket, {
      name: "flannel.1",
      kind: "vxlan",
      noLinkLocal: true,
      vxlan,
    });
    changeLink(socket, vtep, { up: true });
    return { eth0, vtep };
  };

  namespaceTest(import.meta, `netlink: ${family.label} addresses are set once, listed and removed`, () => {
    using socket = NetlinkSocket.open();
    const { vtep } = setUp(socket);
    const address = { linkIndex: vtep, ip: first, prefixLength: family.bits };
    socket.execute(addressRequest("replace", address));
    socket.execute(addressRequest("replace", address));
    const [found, ...others] = listAddresses(socket, { family, linkIndex: vtep });
    assert.deepEqual(others, []);
    assert.deepEqual([found?.ip, found?.prefixLength, found?.scope], [first, family.bits, 0]);
    assert.deepEqual(
      listAddresses(socket, { family }).map(({ ip }) => formatIp(ip)),
      [family === IPV4 ? "127.0.0.1" : "::1", local, subnets[0]],
    );
    socket.execute(addressRequest("delete", address));
    assert.deepEqual(listAddresses(socket, { family, linkIndex: vtep }), []);
    assert.throws(() => socket.execute(addressRequest("delete", address)), { code: "EADDRNOTAVAIL" });
  });

  namespaceTest(
    import.meta,
    `netlink: ${family.label} neighbours are replaced, listed by link and removed`,
    () => {
      using socket = NetlinkSocket.open();
      const { eth0, vtep } = setUp(socket);
      const other = { linkIndex: eth0, ip: parseIp(remotes[0]!), mac: "02:00:00:00:00:09" };
      const neighbour = { linkIndex: vtep, ip: first, mac: "3e:4b:bc:75:ce:43" };
      socket.execute(neighbourRequest("replace", other));
      socket.execute(neighbourRequest("replace", neighbour));
      socket.execute(neighbourRequest("replace", { ...neighbour, mac: "3e:4b:bc:75:ce:44" }));
      const expected = { ...neighbour, mac: "3e:4b:bc:75:ce:44", state: NUD_PERMANENT, flags: 0 };
      assert.deepEqual(permanent(listNeighbours(socket, { family, linkIndex: vtep })), [expected]);
      assert.equal(permanent(listNeighbours(socket, { family })).length, 2);
      assert.deepEqual(listNeighbours(socket, { family, linkIndex: 4711 }), []);
      socket.execute(neighbourRequest("delete", neighbour));
      assert.deepEqual(permanent(listNeighbours(socket, { family, linkIndex: vtep })), []);
    },
  );

  namespaceTest(
    import.meta,
    `netlink: a forwarding entry over ${family.label} is replaced, not added to`,
    () => {
      using socket = NetlinkSocket.open();
      const { eth0, vtep } = setUp(socket);
      // A second device with entries of its own, and a bridge with some: neither is in the list of the first.
      const vxlan = { vni: 2, port: 4789, learning: false, gbp: false, local: parseIp(local) };
      const { index: foreign } = createLink(socket, { name: "foreign", kind: "vxlan", vxlan });
      const mac = "3e:4b:bc:75:ce:43";
      const [before, after] = remotes.map(parseIp) as [Ip, Ip];
      socket.execute(fdbRequest("replace", { linkIndex: foreign, mac, remote: before }));
      socket.execute(fdbRequest("replace", { linkIndex: vtep, mac, remote: before }));
      socket.execute(fdbRequest("replace", { linkIndex: vtep, mac, remote: after }));
      const [found, ...others] = listFdb(socket, vtep);
      assert.deepEqual(others, []);
      assert.deepEqual([found?.linkIndex, found?.mac, found?.remote, found?.state], [
        vtep,
        mac,
        after,
        NUD_PERMANENT,
      ]);
      assert.equal(listFdb(socket, foreign).length, 1);
      assert.ok(listFdb(socket, eth0).length > 0);
      assert.deepEqual(listFdb(socket, 4711), []);
      socket.execute(fdbRequest("delete", { linkIndex: vtep, mac, remote: after }));
      assert.deepEqual(listFdb(socket, vtep), []);
      assert.throws(() => socket.execute(fdbRequest("delete", { linkIndex: vtep, mac })), { code: "ENOENT" });
    },
  );

  namespaceTest(import.meta, `netlink: ${family.label} routes of every kind`, () => {
    using socket = NetlinkSocket.open();
    const { eth0, vtep } = setUp(socket);
    const [viaVtep, viaNexthop, nowhere] = destinations as [Prefix, Prefix, Prefix];
    const onlink: RouteSpec = {
      destination: viaVtep,
      linkIndex: vtep,
      gateway: first,
      onlink: true,
      protocol,
    };
    const requests: NetlinkRequest[] = [
      routeRequest("add", onlink),
      nexthopRequest("create", { id: 7, family, linkIndex: vtep, gateway: second, onlink: true, protocol }),
      routeRequest("add", { destination: viaNexthop, nexthopId: 7, protocol }),
      routeRequest("add", { destination: nowhere, type: RTN_BLACKHOLE, protocol }),
      routeRequest("add", {
        destination: nowhere,
        linkIndex: eth0,
        metric: 2000,
        table: 1000,
        protocol: 100,
      }),
    ];
    assert.deepEqual(socket.batch(requests), []);
    const routes = listRoutes(socket, { family, protocol });
    assert.deepEqual(
      routes.map((r) => [formatPrefix(r.destination), r.type, r.linkIndex, r.gateway, r.onlink, r.nexthopId]),
      [
        [formatPrefix(viaVtep), RTN_UNICAST, vtep, first, true, undefined],
        [formatPrefix(viaNexthop), RTN_UNICAST, vtep, second, true, 7],
        [formatPrefix(nowhere), RTN_BLACKHOLE, undefined, undefined, false, undefined],
      ],
    );
    assert.deepEqual(
      listRoutes(socket, { family, table: 1000 }).map((r) => [r.linkIndex, r.metric, r.table, r.protocol]),
      [[eth0, 2000, 1000, 100]],
    );
    assert.equal(listRoutes(socket, { family, protocol, linkIndex: vtep }).length, 2);
    assert.deepEqual(listRoutes(socket, { family, protocol, linkIndex: 4711 }), []);
    assert.deepEqual(listRoutes(socket, { family, table: 4711 }), []);
    // The whole main table has the route to the underlay too.
    assert.equal(listRoutes(socket, { family }).length, 4);

    assert.throws(() => socket.execute(routeRequest("add", onlink)), { code: "EEXIST" });
    socket.execute(routeRequest("replace", { ...onlink, gateway: third }));
    assert.deepEqual(listRoutes(socket, { family, protocol })[0]?.gateway, third);
    const deletes = [
      routeRequest("delete", { ...onlink, gateway: third }),
      routeRequest("delete", { destination: viaNexthop, nexthopId: 7, protocol }),
      routeRequest("delete", { destination: nowhere, type: RTN_BLACKHOLE, protocol }),
    ];
    assert.deepEqual(socket.batch(deletes), []);
    assert.deepEqual(listRoutes(socket, { family, protocol }), []);
    assert.throws(() => socket.execute(deletes[0]!), { code: "ESRCH" });
  });

  namespaceTest(
    import.meta,
    `netlink: ${family.label} next hops are made, replaced, filtered and removed`,
    () => {
      using socket = NetlinkSocket.open();
      const { vtep, eth0 } = setUp(socket);
      assert.equal(nexthopsSupported(socket), true);
      const nexthop = { id: 0xffff_fff0, family, linkIndex: vtep, gateway: first, onlink: true, protocol };
      socket.execute(nexthopRequest("create", nexthop));
      assert.throws(() => socket.execute(nexthopRequest("create", nexthop)), { code: "EEXIST" });
      socket.execute(nexthopRequest("replace", { ...nexthop, gateway: second }));
      socket.execute(nexthopRequest("create", { id: 8, family, linkIndex: eth0, protocol: 100 }));
      assert.deepEqual(listNexthops(socket, { protocol }), [{ ...nexthop, gateway: second }]);
      assert.deepEqual(listNexthops(socket, { linkIndex: eth0 }).map(({ id }) => id), [8]);
      assert.equal(listNexthops(socket).length, 2);
      socket.execute(nexthopRequest("delete", { id: nexthop.id }));
      assert.deepEqual(listNexthops(socket, { protocol }), []);
      assert.throws(() => socket.execute(nexthopRequest("delete", { id: nexthop.id })), { code: "ENOENT" });
    },
  );

  namespaceTest(import.meta, `netlink: looks up the way to ${family.label} addresses`, async () => {
    using socket = NetlinkSocket.open();
    const { vtep, eth0 } = setUp(socket);
    const [viaVtep, nowhere] = destinations as [Prefix, Prefix];
    const neighbour = parseIp(remotes[0]!);
    const source = parseIp(local);
    assert.equal(lookupRoute(socket, third), undefined, "no route");
    socket.execute(
      routeRequest("add", { destination: viaVtep, linkIndex: vtep, gateway: first, onlink: true, protocol }),
    );
    socket.execute(routeRequest("add", { destination: nowhere, type: RTN_BLACKHOLE, protocol }));
    assert.deepEqual(lookupRoute(socket, first), {
      type: RTN_UNICAST,
      linkIndex: vtep,
      gateway: first,
      source,
    });
    assert.equal(lookupRoute(socket, second), undefined, "a blackhole");
    assert.deepEqual(lookupRoute(socket, neighbour), { type: RTN_UNICAST, linkIndex: eth0, source });
    assert.deepEqual(lookupRoute(socket, neighbour, { linkIndex: eth0 })?.linkIndex, eth0);
    // The kernel makes the local route of an IPv6 address a moment after the address (addrconf_dad_work).
    await until("the own address to be local", () => {
      return Promise.resolve(lookupRoute(socket, source)?.type === RTN_LOCAL);
    }, 5_000);
  });
}

/** Without the multicast neighbours that the kernel makes by itself. */
function permanent<T extends { readonly state: number }>(neighbours: readonly T[]): T[] {
  return neighbours.filter(({ state }) => state & NUD_PERMANENT);
}

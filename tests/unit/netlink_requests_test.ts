/**
 * The bytes of requests against those that iproute2 6.1 sends for the same (strace -e write=3).
 */
import assert from "node:assert/strict";
import { addressRequest } from "../../lib/netlink/address.ts";
import { NLM_F_ACK, NLM_F_REQUEST } from "../../lib/netlink/constants.ts";
import { fdbRequest, neighbourRequest } from "../../lib/netlink/neighbour.ts";
import { nexthopRequest } from "../../lib/netlink/nexthop.ts";
import { routeRequest } from "../../lib/netlink/route.ts";
import type { NetlinkRequest } from "../../lib/netlink/socket.ts";
import { MessageWriter } from "../../lib/netlink/writer.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";

const mac = "3e:4b:bc:75:ce:43";
const linkIndex = 2;
const protocol = 99;

/** Command of iproute2, our request for the same, its bytes with the sequence number 0x6b014533. */
const GOLDEN: readonly (readonly [command: string, request: NetlinkRequest, bytes: string])[] = [
  [
    "ip addr replace 172.30.0.2/16 dev v0",
    addressRequest("replace", { linkIndex, ip: parseIp("172.30.0.2"), prefixLength: 16 }),
    `28 00 00 00 14 00 05 05  33 45 01 6b 00 00 00 00
     02 10 00 00 02 00 00 00  08 00 02 00 ac 1e 00 02
     08 00 01 00 ac 1e 00 02`,
  ],
  [
    "ip addr replace fd00::2/64 dev v0 nodad",
    addressRequest("replace", { linkIndex, ip: parseIp("fd00::2"), prefixLength: 64 }),
    `40 00 00 00 14 00 05 05  33 45 01 6b 00 00 00 00
     0a 40 02 00 02 00 00 00  14 00 02 00 fd 00 00 00
     00 00 00 00 00 00 00 00  00 00 00 02 14 00 01 00
     fd 00 00 00 00 00 00 00  00 00 00 00 00 00 00 02`,
  ],
  [
    "ip neigh replace 10.5.1.0 lladdr 3e:4b:bc:75:ce:43 nud permanent dev v0",
    neighbourRequest("replace", { linkIndex, ip: parseIp("10.5.1.0"), mac }),
    `30 00 00 00 1c 00 05 05  33 45 01 6b 00 00 00 00
     02 00 00 00 02 00 00 00  80 00 00 00 08 00 01 00
     0a 05 01 00 0a 00 02 00  3e 4b bc 75 ce 43 00 00`,
  ],
  [
    "ip neigh replace fc00:0:0:1:: lladdr 3e:4b:bc:75:ce:43 nud permanent dev v0",
    neighbourRequest("replace", { linkIndex, ip: parseIp("fc00:0:0:1::"), mac }),
    `3c 00 00 00 1c 00 05 05  33 45 01 6b 00 00 00 00
     0a 00 00 00 02 00 00 00  80 00 00 00 14 00 01 00
     fc 00 00 00 00 00 00 01  00 00 00 00 00 00 00 00
     0a 00 02 00 3e 4b bc 75  ce 43 00 00`,
  ],
  [
    "ip neigh del 10.5.1.0 dev v0",
    neighbourRequest("delete", { linkIndex, ip: parseIp("10.5.1.0") }),
    `24 00 00 00 1d 00 05 00  33 45 01 6b 00 00 00 00
     02 00 00 00 02 00 00 00  80 00 00 00 08 00 01 00
     0a 05 01 00`,
  ],
  [
    // bridge sets NUD_NOARP (0x40) as well; the original and we don't.
    "bridge fdb replace 3e:4b:bc:75:ce:43 dst 172.30.0.3 dev v0 self permanent",
    fdbRequest("replace", { linkIndex, mac, remote: parseIp("172.30.0.3") }),
    `30 00 00 00 1c 00 05 05  33 45 01 6b 00 00 00 00
     07 00 00 00 02 00 00 00  80 00 02 00 0a 00 02 00
     3e 4b bc 75 ce 43 00 00  08 00 01 00 ac 1e 00 03`,
  ],
  [
    "bridge fdb del 3e:4b:bc:75:ce:43 dst 172.30.0.3 dev v0 self permanent",
    fdbRequest("delete", { linkIndex, mac, remote: parseIp("172.30.0.3") }),
    `30 00 00 00 1d 00 05 00  33 45 01 6b 00 00 00 00
     07 00 00 00 02 00 00 00  80 00 02 00 0a 00 02 00
     3e 4b bc 75 ce 43 00 00  08 00 01 00 ac 1e 00 03`,
  ],
  [
    "ip route replace 10.5.1.0/24 via 10.5.1.0 dev v0 onlink proto 99",
    routeRequest("replace", {
      destination: parsePrefix("10.5.1.0/24"),
      gateway: parseIp("10.5.1.0"),
      linkIndex,
      onlink: true,
      protocol,
    }),
    `34 00 00 00 18 00 05 05  33 45 01 6b 00 00 00 00
     02 18 00 00 fe 63 00 01  04 00 00 00 08 00 01 00
     0a 05 01 00 08 00 05 00  0a 05 01 00 08 00 04 00
     02 00 00 00`,
  ],
  [
    "ip -6 route replace fc00:0:0:1::/64 via fc00:0:0:1:: dev v0 onlink proto 99",
    routeRequest("replace", {
      destination: parsePrefix("fc00:0:0:1::/64"),
      gateway: parseIp("fc00:0:0:1::"),
      linkIndex,
      onlink: true,
      protocol,
    }),
    `4c 00 00 00 18 00 05 05  33 45 01 6b 00 00 00 00
     0a 40 00 00 fe 63 00 01  04 00 00 00 14 00 01 00
     fc 00 00 00 00 00 00 01  00 00 00 00 00 00 00 00
     14 00 05 00 fc 00 00 00  00 00 00 01 00 00 00 00
     00 00 00 00 08 00 04 00  02 00 00 00`,
  ],
  [
    "ip route add blackhole 10.5.9.0/24 proto 99",
    routeRequest("add", { destination: parsePrefix("10.5.9.0/24"), type: 6, protocol }),
    `24 00 00 00 18 00 05 06  33 45 01 6b 00 00 00 00
     02 18 00 00 fe 63 00 06  00 00 00 00 08 00 01 00
     0a 05 09 00`,
  ],
  [
    "ip route del unicast 10.5.1.0/24 via 10.5.1.0 dev v0 proto 99",
    routeRequest("delete", {
      destination: parsePrefix("10.5.1.0/24"),
      gateway: parseIp("10.5.1.0"),
      linkIndex,
      protocol,
    }),
    `34 00 00 00 19 00 05 00  33 45 01 6b 00 00 00 00
     02 18 00 00 fe 63 ff 01  00 00 00 00 08 00 01 00
     0a 05 01 00 08 00 05 00  0a 05 01 00 08 00 04 00
     02 00 00 00`,
  ],
  [
    "ip route replace 10.99.0.0/16 dev v0 proto 99 table 1000",
    routeRequest("replace", { destination: parsePrefix("10.99.0.0/16"), linkIndex, protocol, table: 1000 }),
    `34 00 00 00 18 00 05 05  33 45 01 6b 00 00 00 00
     02 10 00 00 00 63 fd 01  00 00 00 00 08 00 01 00
     0a 63 00 00 08 00 0f 00  e8 03 00 00 08 00 04 00
     02 00 00 00`,
  ],
  [
    "ip nexthop add id 77 via 10.5.3.0 dev v0 onlink proto 99",
    nexthopRequest("create", {
      id: 77,
      family: IPV4,
      gateway: parseIp("10.5.3.0"),
      linkIndex,
      onlink: true,
      protocol,
    }),
    `30 00 00 00 68 00 05 06  33 45 01 6b 00 00 00 00
     02 00 63 00 04 00 00 00  08 00 01 00 4d 00 00 00
     08 00 06 00 0a 05 03 00  08 00 05 00 02 00 00 00`,
  ],
  [
    "ip route replace 10.5.3.0/24 nhid 77 proto 99",
    routeRequest("replace", { destination: parsePrefix("10.5.3.0/24"), nexthopId: 77, protocol }),
    `2c 00 00 00 18 00 05 05  33 45 01 6b 00 00 00 00
     02 18 00 00 fe 63 00 01  00 00 00 00 08 00 01 00
     0a 05 03 00 08 00 1e 00  4d 00 00 00`,
  ],
  [
    "ip nexthop del id 77",
    nexthopRequest("delete", { id: 77 }),
    `20 00 00 00 69 00 05 00  33 45 01 6b 00 00 00 00
     00 00 00 00 00 00 00 00  08 00 01 00 4d 00 00 00`,
  ],
];

for (const [command, request, bytes] of GOLDEN) {
  Deno.test(`netlink: the bytes of "${command}"`, () => {
    const writer = new MessageWriter(16);
    writer.begin(request.type, request.flags | NLM_F_REQUEST | NLM_F_ACK, 0x6b014533);
    request.encode(writer);
    writer.end();
    assert.equal(writer.written().toHex().match(/../g)?.join(" "), bytes.trim().split(/\s+/).join(" "));
  });
}

Deno.test("netlink: a request says in words what it is about", () => {
  const texts = GOLDEN.map(([, request]) => request.describe());
  assert.equal(texts[0], "replace the address 172.30.0.2/16 of link 2");
  assert.equal(texts[2], "replace the neighbour 10.5.1.0 (3e:4b:bc:75:ce:43) on link 2");
  assert.equal(texts[4], "delete the neighbour 10.5.1.0 on link 2");
  assert.equal(texts[5], "replace the forwarding entry 3e:4b:bc:75:ce:43 to 172.30.0.3 on link 2");
  assert.equal(texts[7], "replace the route 10.5.1.0/24 via 10.5.1.0 on link 2");
  assert.equal(texts[12], "create the next hop 77 via 10.5.3.0 on link 2");
  assert.equal(texts[13], "replace the route 10.5.3.0/24 by next hop 77");
  assert.equal(texts[14], "delete the next hop 77");
});

/**
 * Messages as Linux 6.18 sent them, after iproute2 had made what they show.
 */
import assert from "node:assert/strict";
import { decodeAddress } from "../../lib/netlink/address.ts";
import { NetlinkError, readAck } from "../../lib/netlink/error.ts";
import { decodeLink } from "../../lib/netlink/link.ts";
import { decodeFdb, decodeNeighbour } from "../../lib/netlink/neighbour.ts";
import { decodeNexthop } from "../../lib/netlink/nexthop.ts";
import { MalformedMessageError, type Message, readMessages } from "../../lib/netlink/reader.ts";
import { decodeRoute } from "../../lib/netlink/route.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** What is shown, the decoder, the message, and what it says. */
const ANSWERS: readonly (readonly [string, (message: Message) => unknown, string, unknown])[] = [
  [
    // Statistics and what else nobody reads is left out of the message.
    "a VXLAN link over IPv4",
    decodeLink,
    `480100001000000009000000dd53000000000100030000004310010000000000
     0e000300666c616e6e656c2e3100000008000400aa050000
     0a0001003e4bbc75ce4300000a000200ffffffffffff0000ec001200
     0a00010076786c616e000000dc00020008000100010000000800030002000000
     08000400ac1e0002050005000000000005001c00000000000500060000000000
     05001d000000000008001a000000000008002000000000000500070000000000
     05000b000000000005000c000000000005000d000000000005000e0000000000
     0500190000000000080008002c010000080009000000000006000f0021180000
     0500120001000000050013000000000005001400000000000500150000000000
     050016000000000005001f000100000008000a0000000000040017000c002100
     77000000000000ff0c0006006e6f717565756500`,
    {
      index: 3,
      name: "flannel.1",
      flags: 0x11043,
      mtu: 1450,
      mac: "3e:4b:bc:75:ce:43",
      kind: "vxlan",
      vxlan: { vni: 1, local: parseIp("172.30.0.2"), linkIndex: 2, port: 8472, learning: false, gbp: true },
    },
  ],
  [
    "a VXLAN link over IPv6",
    decodeLink,
    `740000001000000009000000dd53000000000100040000004310010000000000
     11000300666c616e6e656c2d76362e3100000000400012000a00010076786c61
     6e000000300002000800010001000000080003000200000014001100fd000000
     0000000000000000000000020500070001000000`,
    {
      index: 4,
      name: "flannel-v6.1",
      flags: 0x11043,
      mtu: 0,
      kind: "vxlan",
      vxlan: { vni: 1, local: parseIp("fd00::2"), linkIndex: 2, port: 0, learning: true, gbp: false },
    },
  ],
  [
    "an IPv4 address",
    decodeAddress,
    `4c0000001400220009000000dd530000021080000200000008000100ac1e0002
     08000200ac1e00020800030062723000080008008000000014000600ffffffff
     ffffffff5483040054830400`,
    { linkIndex: 2, ip: parseIp("172.30.0.2"), prefixLength: 16, scope: 0, flags: 0x80 },
  ],
  [
    "an IPv6 address",
    decodeAddress,
    `480000001400220009000000dd5300000a4082000200000014000100fd000000
     00000000000000000000000214000600ffffffffffffffff5483040054830400
     0800080082000000`,
    { linkIndex: 2, ip: parseIp("fd00::2"), prefixLength: 64, scope: 0, flags: 0x82 },
  ],
  [
    "a route via an onlink gateway",
    decodeRoute,
    `3c0000001800220009000000dd53000002180000fe6300010400000008000f00
     fe000000080001000a050100080005000a0501000800040003000000`,
    {
      family: IPV4,
      destination: parsePrefix("10.5.1.0/24"),
      type: 1,
      protocol: 99,
      scope: 0,
      table: 254,
      metric: 0,
      linkIndex: 3,
      gateway: parseIp("10.5.1.0"),
      onlink: true,
      multipath: false,
    },
  ],
  [
    "a route by a next-hop object",
    decodeRoute,
    `440000001800220009000000dd53000002180000fe6300010400000008000f00
     fe000000080001000a05030008001e004d000000080005000a05030008000400
     03000000`,
    {
      family: IPV4,
      destination: parsePrefix("10.5.3.0/24"),
      type: 1,
      protocol: 99,
      scope: 0,
      table: 254,
      metric: 0,
      linkIndex: 3,
      gateway: parseIp("10.5.3.0"),
      onlink: true,
      nexthopId: 77,
      multipath: false,
    },
  ],
  [
    "a multipath route with metric and source",
    decodeRoute,
    `600000001800220009000000dd53000002100000fe6300011000000008000f00
     fe000000080001000a060000080006000700000008000700ac1e000224000900
     100010000200000008000500ac1e0008100010000200000008000500ac1e0009`,
    {
      family: IPV4,
      destination: parsePrefix("10.6.0.0/16"),
      type: 1,
      protocol: 99,
      scope: 0,
      table: 254,
      metric: 7,
      preferredSource: parseIp("172.30.0.2"),
      onlink: false,
      multipath: true,
    },
  ],
  [
    "an IPv6 blackhole, which the kernel shows on lo",
    decodeRoute,
    `740000001800220009000000dd5300000a400000fe6300060000000008000f00
     fe00000014000100fc0000000000000900000000000000000800060000040000
     080004000100000024000c000000000000000000000000000000000000000000
     0000000000000000000000000500140000000000`,
    {
      family: IPV6,
      destination: parsePrefix("fc00:0:0:9::/64"),
      type: 6,
      protocol: 99,
      scope: 0,
      table: 254,
      metric: 1024,
      onlink: false,
      multipath: false,
    },
  ],
  [
    "a neighbour",
    decodeNeighbour,
    `4c0000001c00220009000000dd53000002000000030000008000000108000100
     0a0501000a0002003e4bbc75ce45000008000400000000001400030001000000
     010000000100000000000000`,
    { linkIndex: 3, ip: parseIp("10.5.1.0"), mac: "3e:4b:bc:75:ce:45", state: 0x80, flags: 0 },
  ],
  [
    "a forwarding entry",
    decodeFdb,
    `440000001c00020009000000dd5300000700000003000000c00002010a000200
     3e4bbc75ce45000008000100ac1e000314000300000000000100000001000000
     00000000`,
    { linkIndex: 3, mac: "3e:4b:bc:75:ce:45", remote: parseIp("172.30.0.3"), state: 0xc0, flags: 2 },
  ],
  [
    "a next hop",
    decodeNexthop,
    `300000006800020009000000dd53000002fd630004000000080001004d000000
     0800050003000000080006000a050300`,
    { id: 77, family: IPV4, gateway: parseIp("10.5.3.0"), linkIndex: 3, protocol: 99, onlink: true },
  ],
  [
    "a refusal with the kernel's words",
    readAck,
    `440000000200000309000000dd5300009bffffff340000001800050609000000
     00000000200001004e657874686f702068617320696e76616c69642067617465
     77617900`,
    { errno: 101, text: "Nexthop has invalid gateway" },
  ],
  [
    "a refusal that points at an attribute",
    readAck,
    `680000000200000309000000dd530000deffffff4c0000001200050009000000
     0000000027000100417474726962757465206661696c656420706f6c69637920
     76616c69646174696f6e0000080002002800000014000480080007000f000000
     080001000b000000`,
    { errno: 34, text: "Attribute failed policy validation", offset: 40 },
  ],
];

for (const [what, decode, hex, expected] of ANSWERS) {
  Deno.test(`netlink: reads ${what}`, () => {
    assert.deepEqual(readOne(bytesOf(hex), decode), expected);
  });
}

Deno.test("netlink: a message cut short is read as far as it goes or refused, never beyond its end", () => {
  for (const [what, decode, hex] of ANSWERS) {
    const whole = bytesOf(hex);
    for (let length = 16; length < whole.length; length++) {
      // What lies behind the cut would be seen if it were read: a buffer ends where the message ends.
      const cut = whole.slice(0, length);
      new DataView(cut.buffer).setUint32(0, length, true);
      readOrRefuse(cut, decode, `${what} cut to ${length} bytes`);
    }
  }
});

Deno.test("netlink: whatever the bytes are, they are read or refused", () => {
  const random = randomSource(20260101);
  for (let round = 0; round < 20_000; round++) {
    const [what, decode, hex] = ANSWERS[round % ANSWERS.length]!;
    const bytes = bytesOf(hex);
    for (let changes = 1 + random.below(6); changes > 0; changes--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    if (random.below(4) > 0) new DataView(bytes.buffer).setUint32(0, bytes.length, true);
    readOrRefuse(bytes, decode, `${what}, round ${round}: ${bytes.toHex()}`);
  }
});

Deno.test("netlink: an error says operation, the kernel's words and the errno's name", () => {
  const error = new NetlinkError("add the route 10.5.1.0/24", {
    errno: 101,
    text: "Nexthop has invalid gateway",
  });
  assert.equal(error.message, "Cannot add the route 10.5.1.0/24: Nexthop has invalid gateway (ENETUNREACH)");
  assert.equal(error.code, "ENETUNREACH");
  assert.equal(error.kernelMessage, "Nexthop has invalid gateway");
  const plain = new NetlinkError("delete the link 7", { errno: 19, offset: 20 });
  assert.equal(plain.message, "Cannot delete the link 7: No such device (ENODEV)");
  assert.equal(plain.kernelMessage, undefined);
  assert.equal(plain.offset, 20);
});

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(hex.replace(/\s/g, ""));
}

function readOne(bytes: Uint8Array<ArrayBuffer>, decode: (message: Message) => unknown): unknown {
  const results: unknown[] = [];
  readMessages(new DataView(bytes.buffer), bytes.length, (message) => results.push(decode(message)));
  assert.equal(results.length, 1);
  return results[0];
}

function readOrRefuse(bytes: Uint8Array<ArrayBuffer>, decode: (message: Message) => unknown, what: string) {
  try {
    readMessages(new DataView(bytes.buffer), bytes.length, decode);
  } catch (error) {
    assert.ok(error instanceof MalformedMessageError, `${what}: ${error}`);
  }
}

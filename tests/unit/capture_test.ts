/**
 * What a capture takes and writes: filters run in a small interpreter of classic BPF, blocks read back by their rules.
 */
import assert from "node:assert/strict";
import {
  compile,
  type LinkHeader,
  ofThisHost,
  outerClauses,
  subnetClauses,
} from "../../lib/capture/filter.ts";
import {
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  sectionHeader,
} from "../../lib/capture/pcapng.ts";
import { FAMILIES, IPV4, IPV6 } from "../../lib/net/family.ts";
import { ipToBytes, parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";

/** Where the kernel gives the packet's type (SKF_AD_OFF + SKF_AD_PKTTYPE). */
const PACKET_TYPE = 0xffff_f004;

/** Runs a program as the kernel does. @param type A PACKET_ number of linux/if_packet.h. @returns Whether it passes. */
function passes(program: Uint8Array<ArrayBuffer>, packet: readonly number[], type = 0): boolean {
  const code = new DataView(program.buffer);
  const view = new DataView(Uint8Array.from(packet).buffer);
  let a = 0;
  for (let pc = 0; pc * 8 < program.length; pc++) {
    const at = pc * 8;
    const [op, yes, no, k] = [
      code.getUint16(at, true),
      code.getUint8(at + 2),
      code.getUint8(at + 3),
      code.getUint32(at + 4, true),
    ];
    const size = { 0x20: 4, 0x28: 2, 0x30: 1 }[op];
    if (size !== undefined) {
      if (k === PACKET_TYPE) {
        a = type;
        continue;
      }
      // A load beyond the packet ends the program.
      if (k + size > packet.length) return false;
      a = size === 4 ? view.getUint32(k) : size === 2 ? view.getUint16(k) : view.getUint8(k);
    } else if (op === 0x54) a = (a & k) >>> 0;
    else if (op === 0x15) pc += a === k ? yes : no;
    else if (op === 0x45) pc += (a & k) !== 0 ? yes : no;
    else if (op === 0x06) return k !== 0;
    else throw new Error(`instruction ${op.toString(16)}`);
  }
  throw new Error("the program has no end");
}

const word = (value: number) => [value >>> 8, value & 255];

function ip(protocol: number, from: string, to: string, payload: readonly number[], fragment = 0): number[] {
  const [source, destination] = [parseIp(from), parseIp(to)];
  if (source.family === IPV4) {
    return [
      ...[0x45, 0, ...word(20 + payload.length), 0, 0, ...word(fragment), 64, protocol, 0, 0],
      ...ipToBytes(source),
      ...ipToBytes(destination),
      ...payload,
    ];
  }
  const head = [0x60, 0, 0, 0, ...word(payload.length), protocol, 64];
  return [...head, ...ipToBytes(source), ...ipToBytes(destination), ...payload];
}

function udp(port: number, payload: readonly number[], sourcePort = 40_000): number[] {
  return [...word(sourcePort), ...word(port), ...word(8 + payload.length), 0, 0, ...payload];
}

const vxlan = (vni: number, inner: readonly number[] = []) => [8, 0, 0, 0, 0, ...word(vni), 0, ...inner];

/** As a frame of an interface with, or without, Ethernet headers. */
function frame(header: LinkHeader, packet: readonly number[]): number[] {
  if (header === 0) return [...packet];
  const type = packet[0]! >>> 4 === 4 ? [0x08, 0x00] : [0x86, 0xdd];
  return [...Array(12).fill(2), ...type, ...packet];
}

const A = { ipv4: "192.0.2.1", ipv6: "2001:db8::1" }, B = { ipv4: "192.0.2.2", ipv6: "2001:db8::2" };
const C = { ipv4: "192.0.2.3", ipv6: "2001:db8::3" };
const TUNNEL = { udpPorts: [8472], vni: 1 };

for (const header of [14, 0] as const) {
  Deno.test(`filter: a peer's tunnel packets, link header of ${header} bytes`, () => {
    for (const { name } of FAMILIES) {
      const [a, b, c] = [A[name], B[name], C[name]];
      const icmp = name === "ipv4" ? 1 : 58;
      const peers = [parseIp(B.ipv4), parseIp(B.ipv6)];
      const program = compile(outerClauses(header, { tunnel: TUNNEL, families: FAMILIES, peers }), 65_535);
      const take = (packet: readonly number[]) => passes(program, frame(header, packet));
      const outer = udp(8472, vxlan(1));
      assert(take(ip(17, a, b, outer)), "outgoing");
      assert(take(ip(17, b, a, outer)), "incoming");
      assert(!take(ip(17, a, c, outer)), "another peer's");
      assert(!take(ip(17, a, b, udp(53, vxlan(1)))), "another port");
      assert(!take(ip(17, a, b, udp(8472, vxlan(2)))), "another VNI");
      assert(!take(ip(6, a, b, outer)), "TCP");
      assert(!take(ip(icmp, a, b, [8, 0, 0, 0, 0, 0, 0, 0])), "ping beside the tunnel");
      const unreachable = name === "ipv4" ? [3, 3] : [1, 4];
      const error = (quoted: readonly number[]) => [...unreachable, 0, 0, 0, 0, 0, 0, ...quoted];
      assert(take(ip(icmp, b, a, error(ip(17, a, b, outer)))), "an error about a tunnel packet");
      assert(take(ip(icmp, c, a, error(ip(17, a, b, outer)))), "an error that a router sends");
      assert(!take(ip(icmp, b, a, error(ip(17, a, b, udp(53, []))))), "an error about something else");
      assert(!take(ip(icmp, b, a, error(ip(17, a, c, outer)))), "an error about another peer");
      if (name === "ipv4") assert(take(ip(17, a, b, [1, 2, 3], 0x00b9)), "a later fragment");
      else assert(take(ip(44, a, b, [17, 0, 0, 1, 0, 0, 0, 1, 1, 2])), "a fragment");
    }
  });

  Deno.test(`filter: packets of a subnet, link header of ${header} bytes`, () => {
    const program = compile(
      subnetClauses(header, [parsePrefix("10.5.9.0/24"), parsePrefix("fc00:0:0:9::/64")]),
      65_535,
    );
    const take = (from: string, to: string) => passes(program, frame(header, ip(6, from, to, [0, 0])));
    assert(take("10.5.9.7", "10.5.1.2"));
    assert(take("10.5.1.2", "10.5.9.255"));
    assert(!take("10.5.1.2", "10.5.8.9"));
    assert(take("fc00:0:0:9::5", "fc00:0:0:1::5"));
    assert(take("fc00:0:0:1::5", "fc00:0:0:9:ffff::5"));
    assert(!take("fc00:0:0:1::5", "fc00:0:0:8::5"));
  });
}

Deno.test("filter: without a peer all of the tunnel's packets, and only those", () => {
  const program = compile(outerClauses(14, { tunnel: TUNNEL, families: [IPV4, IPV6] }), 65_535);
  const take = (packet: readonly number[]) => passes(program, frame(14, packet));
  assert(take(ip(17, A.ipv4, C.ipv4, udp(8472, vxlan(1)))));
  assert(!take(ip(17, A.ipv4, C.ipv4, udp(8472, vxlan(7)))));
  assert(!take(ip(17, A.ipv4, C.ipv4, udp(53, [1, 2, 3, 4, 5, 6, 7, 8]))));
  const ipip = compile(outerClauses(14, { tunnel: { ipProtocol: 4 }, families: [IPV4] }), 65_535);
  assert(passes(ipip, frame(14, ip(4, A.ipv4, B.ipv4, [0x45]))));
  assert(!passes(ipip, frame(14, ip(47, A.ipv4, B.ipv4, [0x45]))));
  assert(passes(compile([], 65_535), []), "no clauses take everything");
});

Deno.test("filter: packets between other hosts, which a switch floods, are none of this host's", () => {
  const clauses = outerClauses(14, { tunnel: TUNNEL, families: FAMILIES, peers: [parseIp(B.ipv4)] });
  const packet = frame(14, ip(17, C.ipv4, B.ipv4, udp(8472, vxlan(1))));
  const taken = [0, 1, 2, 3, 4].filter((type) => passes(compile(ofThisHost(clauses), 65_535), packet, type));
  assert.deepEqual(taken, [0, 1, 2, 4]);
});

/** Reads a block: its type, its body, its options by code. */
function readBlock(bytes: Uint8Array<ArrayBuffer>, bodyBytes: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  assert.equal(bytes.length % 4, 0);
  assert.equal(view.getUint32(4, true), bytes.length);
  assert.equal(view.getUint32(bytes.length - 4, true), bytes.length);
  const options = new Map<number, Uint8Array>();
  let at = 8 + bodyBytes;
  for (;;) {
    const [code, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (code === 0) break;
    options.set(code, bytes.subarray(at + 4, at + 4 + length));
    at += 4 + ((length + 3) & ~3);
  }
  assert.equal(at + 8, bytes.length);
  return { type: view.getUint32(0, true), body: view, options };
}

Deno.test("pcapng: blocks have their lengths twice, options are padded and ended", () => {
  const text = new TextDecoder();
  const section = readBlock(sectionHeader({ application: "flanneld 1", os: "Linux", comment: "why" }), 16);
  assert.equal(section.type, 0x0a0d0d0a);
  assert.equal(section.body.getUint32(8, true), 0x1a2b3c4d);
  assert.deepEqual([...section.options].map(([code, value]) => [code, text.decode(value)]), [
    [1, "why"],
    [3, "Linux"],
    [4, "flanneld 1"],
  ]);
  const description = readBlock(
    interfaceDescription({ name: "eth0", description: "outer", linkType: 1, snapLength: 65_536 }),
    8,
  );
  assert.equal(text.decode(description.options.get(2)), "eth0");
  assert.deepEqual([...description.options.get(9)!], [9]);
  const at = 1_763_740_000_123_456_789n;
  for (let length = 0; length < 9; length++) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    const block = enhancedPacket({
      interfaceId: 3,
      at,
      bytes,
      length: 99,
      isOutgoing: length % 2 === 0,
      reception: 0,
    });
    const { type, body, options } = readBlock(block, 20 + ((length + 3) & ~3));
    assert.equal(type, 6);
    assert.equal((BigInt(body.getUint32(12, true)) << 32n) | BigInt(body.getUint32(16, true)), at);
    assert.deepEqual([8, 20, 24].map((offset) => body.getUint32(offset, true)), [3, length, 99]);
    assert.deepEqual([...block.subarray(28, 28 + length)], [...bytes]);
    assert.equal(options.get(2)![0], length % 2 === 0 ? 2 : 1);
  }
  const statistics = readBlock(
    interfaceStatistics({ interfaceId: 1, start: at, end: at, received: 7, dropped: 2 }),
    12,
  );
  assert.equal(new DataView(Uint8Array.from(statistics.options.get(5)!).buffer).getBigUint64(0, true), 2n);
});

import assert from "node:assert/strict";
import { makeIcmpError, MAX_ICMP_ERROR } from "../../lib/packet/icmp.ts";
import { NO_ROUTE, TIME_EXCEEDED, TOO_BIG } from "../../lib/packet/icmp_kinds.ts";
import { findUpperLayer } from "../../lib/packet/ipv6_extensions.ts";
import { allocatePacketMemory } from "../../lib/packet/memory.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { buildPacket, randomPacket, slowChecksum } from "./udp_reference.ts";
import { ip } from "./udp_packets.ts";

const memory = allocatePacketMemory(1 << 17);
const AT = 70_000;
const FROM = ip("fc00:0:0:1::2"), TO = ip("fc00:0:0:2::2");
const OWN = Int32Array.from([0xfc000000, 1, 0, 0]);

/** An IPv6 packet of a container: next header, then what follows the header. */
function packet(next: number, rest: readonly number[], source = FROM, destination = TO): Uint8Array {
  const head = [0x60, 0, 0, 0, rest.length >>> 8, rest.length & 255, next, 64];
  return new Uint8Array([...head, ...source, ...destination, ...rest]);
}

/** The error about a packet; empty where there may be none. */
function errorAbout(bytes: Uint8Array, error: 0 | 1 | 2 = NO_ROUTE, mtu = 0): Uint8Array {
  memory.u8.set(bytes, AT);
  const length = makeIcmpError(memory, error, AT, bytes.length, 0, OWN, mtu);
  return memory.u8.slice(0, length);
}

const mayAnswer = (bytes: Uint8Array, error: 0 | 1 | 2 = NO_ROUTE): boolean =>
  errorAbout(bytes, error).length > 0;

Deno.test("ICMPv6 errors: type, code, MTU, addresses, checksum, and as much of the packet as 1280 bytes hold", () => {
  const udp = buildPacket({
    ...randomPacket(randomSource(61), 3000, { version: 6, protocol: "udp" }),
    ...{ source: FROM, destination: TO },
  });
  for (
    const [kind, type, code, mtu] of [[NO_ROUTE, 1, 0, 0], [TIME_EXCEEDED, 3, 0, 0], [
      TOO_BIG,
      2,
      0,
      1452,
    ]] as const
  ) {
    const error = errorAbout(udp, kind, mtu);
    assert.equal(error.length, 1280);
    assert.deepEqual([...error.slice(0, 8)], [0x60, 0, 0, 0, 1240 >>> 8, 1240 & 255, 58, 64]);
    assert.deepEqual([...error.slice(8, 40)], [...ip("fc00:0:0:1::"), ...FROM]);
    assert.deepEqual([...error.slice(40, 42), ...error.slice(44, 48)], [
      type,
      code,
      0,
      0,
      mtu >>> 8,
      mtu & 255,
    ]);
    const pseudo = [...error.slice(8, 40), 0, 0, 1240 >>> 8, 1240 & 255, 0, 0, 0, 58];
    assert.equal(slowChecksum([...pseudo, ...error.slice(40)]), 0);
    assert.deepEqual(error.slice(48), udp.slice(0, 1232));
  }
  assert.ok(MAX_ICMP_ERROR >= 1280);
});

Deno.test("ICMPv6 errors are never about errors, and echo requests are answered", () => {
  const icmp = (type: number) => packet(58, [type, 0, 0, 0, 0, 0, 0, 0]);
  for (const type of [1, 2, 3, 4, 100, 127, 137]) assert.equal(mayAnswer(icmp(type)), false, `type ${type}`);
  for (const type of [128, 129, 135]) assert.equal(mayAnswer(icmp(type)), true, `type ${type}`);
  assert.equal(mayAnswer(packet(58, [])), false, "a type that is cut off");
});

Deno.test("ICMPv6 errors behind extension headers are found, too", () => {
  const options = (next: number) => [next, 0, 1, 4, 0, 0, 0, 0];
  const icmp = (type: number) => [type, 0, 0, 0, 0, 0, 0, 0];
  const first = (next: number) => [next, 0, 0, 1, 0, 0, 0, 9],
    later = (next: number) => [next, 0, 0, 8, 0, 0, 0, 9];
  assert.equal(mayAnswer(packet(0, [...options(60), ...options(58), ...icmp(1)])), false);
  assert.equal(mayAnswer(packet(0, [...options(60), ...options(58), ...icmp(128)])), true);
  assert.equal(mayAnswer(packet(44, [...first(58), ...icmp(1)])), false);
  assert.equal(mayAnswer(packet(44, [...first(17), ...icmp(1)])), true);
  assert.equal(mayAnswer(packet(44, [...later(17), ...icmp(1)])), false, "it may be an error's second half");
  assert.equal(mayAnswer(packet(0, [58, 9, 0, 0])), false, "a header that is cut off");
});

Deno.test("ICMPv6 errors go to single hosts only, and about groups only that something is too big", () => {
  const udp = [0, 9, 0, 9, 0, 8, 0, 0];
  for (const source of ["::", "::1", "ff02::1", "fe80::1"]) {
    assert.equal(mayAnswer(packet(17, udp, ip(source))), false, source);
  }
  const group = packet(17, udp, FROM, ip("ff0e::1"));
  assert.equal(mayAnswer(group), false);
  assert.equal(mayAnswer(group, TIME_EXCEEDED), false);
  assert.equal(mayAnswer(group, TOO_BIG), true);
});

Deno.test("extension headers are passed over by their lengths", () => {
  const upper = (bytes: Uint8Array, length = bytes.length) => {
    memory.u8.set(bytes, AT);
    const { offset, protocol } = findUpperLayer(memory, AT, length);
    return [offset, protocol];
  };
  assert.deepEqual(upper(packet(6, [1, 2, 3])), [40, 6]);
  assert.deepEqual(upper(packet(59, [])), [40, 59]);
  const routing = [51, 2, ...new Array(22).fill(0)], authentication = [17, 4, ...new Array(22).fill(0)];
  assert.deepEqual(upper(packet(43, [...routing, ...authentication, 1, 2])), [88, 17]);
  assert.deepEqual(upper(packet(43, routing.slice(0, 7))), [-1, 0]);
  assert.deepEqual(upper(packet(43, routing)), [-1, 0], "the header behind it is missing");
});

Deno.test("random packets never make a long or crashing error", () => {
  const random = randomSource(62);
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from({ length: random.below(200) }, () => random.below(256));
    if (bytes.length > 0 && random.below(4) > 0) {
      bytes[0] = (bytes[0]! & 15) | (random.below(2) === 0 ? 0x40 : 0x60);
    }
    if (bytes.length > 6) bytes[6] = [0, 43, 44, 51, 60, 58, 17][random.below(7)]!;
    const error = errorAbout(bytes, random.below(3) as 0 | 1 | 2);
    assert.ok(error.length <= bytes.length + 48);
  }
});

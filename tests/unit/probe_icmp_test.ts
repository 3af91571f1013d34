/**
 * ICMP and ICMPv6 as probes speak them: bytes against RFC 792 and RFC 4443.
 */
import assert from "node:assert/strict";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { formatIp, ipToBytes, parseIp } from "../../lib/net/ip.ts";
import { decodeIcmp, encodeEchoRequest } from "../../lib/probe/icmp.ts";

const COOKIE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

/** An IPv4 header without options before `payload`. */
function ipv4(protocol: number, destination: string, payload: readonly number[]): number[] {
  const total = 20 + payload.length;
  return [
    ...[0x45, 0, total >>> 8, total & 255, 0, 0, 0x40, 0, 64, protocol, 0, 0],
    ...ipToBytes(parseIp("192.0.2.1")),
    ...ipToBytes(parseIp(destination)),
    ...payload,
  ];
}

function ipv6(nextHeader: number, destination: string, payload: readonly number[]): number[] {
  return [
    ...[0x60, 0, 0, 0, payload.length >>> 8, payload.length & 255, nextHeader, 64],
    ...ipToBytes(parseIp("2001:db8::1")),
    ...ipToBytes(parseIp(destination)),
    ...payload,
  ];
}

Deno.test("icmp: an echo request of IPv4 has its checksum, of IPv6 leaves it to the kernel", () => {
  const v4 = encodeEchoRequest(IPV4, { id: 0x1234, sequence: 7, cookie: COOKIE, packetBytes: 36 });
  // 0x0800 + 0x1234 + 0x0007 + 0x0102 + 0x0304 + 0x0506 + 0x0708 = 0x2a4f
  assert.deepEqual([...v4], [8, 0, 0xd5, 0xb0, 0x12, 0x34, 0, 7, ...COOKIE]);
  const v6 = encodeEchoRequest(IPV6, { id: 0x1234, sequence: 7, cookie: COOKIE, packetBytes: 56 });
  assert.deepEqual([...v6], [128, 0, 0, 0, 0x12, 0x34, 0, 7, ...COOKIE]);
});

Deno.test("icmp: an echo request has the asked length, and refuses lengths that no packet has", () => {
  const request = (packetBytes: number) =>
    encodeEchoRequest(IPV4, { id: 1, sequence: 1, cookie: COOKIE, packetBytes });
  assert.equal(request(1450).length, 1430);
  assert.throws(() => request(35), RangeError);
  assert.throws(() => request(65_536), RangeError);
});

Deno.test("icmp: an echo reply is read with its identifier, number and payload", () => {
  const v4 = decodeIcmp(IPV4, Uint8Array.from(ipv4(1, "192.0.2.1", [0, 0, 0, 0, 0x12, 0x34, 0, 9, 1, 2])));
  assert.deepEqual(v4, { kind: "reply", id: 0x1234, sequence: 9, payload: Uint8Array.of(1, 2) });
  const v6 = decodeIcmp(IPV6, Uint8Array.of(129, 0, 0, 0, 0x12, 0x34, 0, 9, 1, 2));
  assert.deepEqual(v6, { kind: "reply", id: 0x1234, sequence: 9, payload: Uint8Array.of(1, 2) });
});

Deno.test("icmp: errors say why, and which packet they are about", () => {
  const echo = [8, 0, 0, 0, 0x12, 0x34, 0, 9];
  const echo6 = [128, 0, 0, 0, 0x12, 0x34, 0, 9];
  const udp = [0x80, 0, 0x21, 0x18, 0, 8, 0, 0];
  const read4 = (type: number, code: number, rest: readonly number[], quoted: readonly number[]) =>
    decodeIcmp(IPV4, Uint8Array.from(ipv4(1, "192.0.2.1", [type, code, 0, 0, ...rest, ...quoted])));
  const read6 = (type: number, code: number, rest: readonly number[], quoted: readonly number[]) =>
    decodeIcmp(IPV6, Uint8Array.from([type, code, 0, 0, ...rest, ...quoted]));
  const tooBig = read4(3, 4, [0, 0, 5, 0x14], ipv4(1, "10.5.9.0", echo));
  assert(tooBig?.kind === "error" && tooBig.reason === "too big");
  assert.deepEqual([tooBig.mtu, tooBig.id, tooBig.sequence], [1300, 0x1234, 9]);
  assert.equal(formatIp(tooBig.destination), "10.5.9.0");
  const tooBig6 = read6(2, 0, [0, 0, 5, 0x14], ipv6(58, "fc00::9", echo6));
  assert(tooBig6?.kind === "error" && tooBig6.reason === "too big");
  assert.deepEqual([tooBig6.mtu, tooBig6.id, tooBig6.sequence], [1300, 0x1234, 9]);
  for (
    const [type, code, reason] of [
      [3, 0, "host unreachable"],
      [3, 1, "host unreachable"],
      [3, 2, "protocol unreachable"],
      [3, 3, "port unreachable"],
      [3, 10, "prohibited"],
      [3, 13, "prohibited"],
      [11, 0, "time exceeded"],
    ] as const
  ) {
    const error = read4(type, code, [0, 0, 0, 0], ipv4(17, "192.0.2.2", udp));
    assert(error?.kind === "error", `${type}/${code}`);
    assert.deepEqual([error.reason, error.protocol, error.destinationPort, error.id], [
      reason,
      17,
      8472,
      undefined,
    ]);
  }
  for (
    const [type, code, reason] of [[1, 0, "host unreachable"], [1, 1, "prohibited"], [
      1,
      4,
      "port unreachable",
    ]]
  ) {
    const error = read6(Number(type), Number(code), [0, 0, 0, 0], ipv6(17, "2001:db8::2", udp));
    assert(error?.kind === "error" && error.reason === reason, `${type}/${code}`);
  }
});

Deno.test("icmp: what is cut off, malformed or of no interest is skipped", () => {
  const whole = ipv4(1, "192.0.2.1", [
    3,
    4,
    0,
    0,
    0,
    0,
    5,
    0x14,
    ...ipv4(1, "10.5.9.0", [8, 0, 0, 0, 1, 1, 0, 9]),
  ]);
  for (let length = 0; length < 48; length++) {
    assert.equal(decodeIcmp(IPV4, Uint8Array.from(whole.slice(0, length))), undefined, `${length} bytes`);
  }
  assert.equal(decodeIcmp(IPV4, Uint8Array.from(ipv4(1, "192.0.2.1", [8, 0, 0, 0, 1, 1, 0, 9]))), undefined);
  for (let i = 0; i < 2000; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(i % 90));
    decodeIcmp(IPV4, bytes);
    decodeIcmp(IPV6, bytes);
  }
});

import assert from "node:assert/strict";
import { decrementTtl, finishChecksum, TTL_DECREMENTED, TTL_EXPIRED } from "../../lib/packet/checksum.ts";
import { allocatePacketMemory, PacketMemory } from "../../lib/packet/memory.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { buildPacket, checksumsHold, randomPacket, slowChecksum } from "./udp_reference.ts";

const SIMD = allocatePacketMemory(1 << 18);
const PLAIN = new PacketMemory(new ArrayBuffer(1 << 18));

Deno.test("the sum is RFC 1071's, at every alignment and length, with and without SIMD", () => {
  assert.equal(SIMD.simd, true);
  const random = randomSource(1);
  for (const memory of [SIMD, PLAIN]) {
    for (let i = 0; i < memory.size; i++) memory.u8[i] = random.below(256);
    for (let offset = 60; offset < 68; offset++) {
      for (let length = 0; length < 80; length++) {
        const bytes = [...memory.u8.subarray(offset, offset + length)];
        assert.equal(memory.sum(offset, length), 0xffff - slowChecksum(bytes), `${offset}+${length}`);
      }
    }
    for (const length of [1499, 9000, 65535, 65536]) {
      const bytes = [...memory.u8.subarray(33, 33 + length)];
      assert.equal(memory.sum(33, length), 0xffff - slowChecksum(bytes));
    }
  }
});

Deno.test("64 KiB of ones don't overflow the sum", () => {
  for (const memory of [SIMD, PLAIN]) {
    memory.u8.fill(255);
    assert.equal(memory.sum(0, 65536), 0xffff);
    assert.equal(memory.sum(1, 65535), 0xffff - slowChecksum(new Array(65535).fill(255)));
  }
});

Deno.test("the sum reads up to the memory's last byte and no further", () => {
  for (const memory of [SIMD, PLAIN]) {
    memory.u8.fill(1);
    assert.equal(memory.sum(memory.size - 5, 5), 0x0303 - 1);
    assert.equal(memory.sum(memory.size, 0), 0);
  }
});

Deno.test("a TTL is decremented and the header's checksum stays right, for every TTL and checksum", () => {
  const random = randomSource(2);
  for (let i = 0; i < 2000; i++) {
    const bytes = buildPacket({ ...randomPacket(random, 10, { version: 4 }), ttl: 2 + (i % 254) });
    PLAIN.u8.set(bytes, 8);
    assert.equal(decrementTtl(PLAIN, 8, 4), TTL_DECREMENTED);
    const header = PLAIN.u8.slice(8, 28);
    assert.equal(header[8], bytes[8]! - 1);
    assert.equal(slowChecksum([...header]), 0);
  }
});

Deno.test("of an IPv6 packet nothing but the hop limit changes", () => {
  const packet = { ...randomPacket(randomSource(7), 10, { version: 6 }), ttl: 64 };
  PLAIN.u8.set(buildPacket(packet), 3);
  assert.equal(decrementTtl(PLAIN, 3, 6), TTL_DECREMENTED);
  const wanted = buildPacket({ ...packet, ttl: 63 });
  assert.deepEqual(PLAIN.u8.slice(3, 3 + wanted.length), wanted);
});

Deno.test("a TTL of 0 or 1 is used up, and nothing changes", () => {
  for (const ttl of [0, 1]) {
    for (const version of [4, 6] as const) {
      const bytes = buildPacket({ ...randomPacket(randomSource(3), 10, { version }), ttl });
      PLAIN.u8.set(bytes, 0);
      assert.equal(decrementTtl(PLAIN, 0, version), TTL_EXPIRED);
      assert.deepEqual(PLAIN.u8.slice(0, bytes.length), bytes);
    }
  }
});

Deno.test("a wrong header checksum stays wrong", () => {
  const bytes = buildPacket(randomPacket(randomSource(4), 10, { version: 4 }));
  bytes[10]! ^= 0x55;
  PLAIN.u8.set(bytes, 0);
  decrementTtl(PLAIN, 0, 4);
  assert.notEqual(slowChecksum([...PLAIN.u8.slice(0, 20)]), 0);
});

Deno.test("a checksum that was left to the hardware is finished", () => {
  const random = randomSource(5);
  for (let i = 0; i < 300; i++) {
    const packet = randomPacket(random, 1 + random.below(1400));
    const bytes = buildPacket(packet);
    const start = packet.version === 4 ? 20 : 40, field = packet.protocol === "tcp" ? 16 : 6;
    // What the kernel leaves in the field: the pseudo-header's sum, not complemented.
    const length = bytes.length - start;
    const pseudo = 0xffff - slowChecksum([
      ...packet.source,
      ...packet.destination,
      ...[0, 0, length >>> 8, length & 255, 0, 0, 0, packet.protocol === "tcp" ? 6 : 17],
    ]);
    const partial = bytes.slice();
    partial.set([pseudo >>> 8, pseudo & 255], start + field);
    SIMD.u8.set(partial, 100);
    assert.equal(finishChecksum(SIMD, 100, bytes.length, start, field), true);
    assert.equal(checksumsHold(SIMD.u8.slice(100, 100 + bytes.length)), true);
  }
});

Deno.test("a UDP checksum that comes out as 0 is sent as 0xffff", () => {
  // The payload is chosen so that everything sums to 0xffff.
  const packet = randomPacket(randomSource(6), 2, { version: 4, protocol: "udp" });
  const v4 = {
    ...packet,
    source: new Uint8Array([10, 0, 0, 1]),
    destination: new Uint8Array([10, 0, 0, 2]),
    options: new Uint8Array(),
  };
  const bytes = buildPacket({ ...v4, payload: new Uint8Array([0, 0]) });
  const checksum = (bytes[26]! << 8) | bytes[27]!;
  const zero = buildPacket({ ...v4, payload: new Uint8Array([checksum >>> 8, checksum & 255]) });
  assert.deepEqual([...zero.slice(26, 28)], [0xff, 0xff]);
  const pseudo = 0xffff - slowChecksum([10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 10]);
  SIMD.u8.set(zero, 0);
  SIMD.u8.set([pseudo >>> 8, pseudo & 255], 26);
  finishChecksum(SIMD, 0, zero.length, 20, 6);
  assert.deepEqual([...SIMD.u8.slice(26, 28)], [0xff, 0xff]);
});

Deno.test("a checksum field outside the packet is refused and nothing is written", () => {
  PLAIN.u8.fill(7);
  for (const [start, field] of [[20, 19], [39, 0], [65535, 65535], [40, 0]] as const) {
    assert.equal(finishChecksum(PLAIN, 0, 40, start, field), false);
  }
  assert.ok(PLAIN.u8.every((byte) => byte === 7));
});

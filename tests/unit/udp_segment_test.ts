import assert from "node:assert/strict";
import { allocatePacketMemory, type PacketMemory } from "../../lib/packet/memory.ts";
import { MAX_HEADERS, Segmenter } from "../../lib/packet/segment.ts";
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHeader } from "../../lib/packet/virtio.ts";
import { type RandomSource, randomSource } from "../../scripts/lab/random.ts";
import {
  buildPacket,
  checksumsHold,
  type FlowPacket,
  randomPacket,
  slowChecksum,
  slowSegments,
} from "./udp_reference.ts";

const HEADERS = 0, PACKET = 1024;

/** What the kernel says of a super-packet. */
function vnetOf(packet: FlowPacket, gsoSize: number): VnetHeader {
  const vnet = new VnetHeader();
  vnet.flags = NEEDS_CSUM;
  vnet.gsoType = packet.protocol === "udp" ? GSO_UDP_L4 : packet.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
  vnet.gsoSize = gsoSize;
  vnet.checksumStart = packet.version === 4 ? 20 : 40;
  vnet.checksumOffset = packet.protocol === "tcp" ? 16 : 6;
  // A hint that mustn't be trusted.
  vnet.headerLength = 1;
  return vnet;
}

/** Segments as whole packets. */
function segmentsOf(memory: PacketMemory, segmenter: Segmenter): Uint8Array[] {
  return Array.from({ length: segmenter.count }, (_, i) => {
    const length = segmenter.header(i, HEADERS);
    const from = segmenter.payload + i * segmenter.gsoSize;
    const bytes = [
      ...memory.u8.subarray(HEADERS, HEADERS + segmenter.headerLength),
      ...memory.u8.subarray(from, from + segmenter.payloadLength(i)),
    ];
    assert.equal(bytes.length, length);
    return new Uint8Array(bytes);
  });
}

/** A super-packet of any flow, with the flags that only some segments may carry. */
function randomSuperPacket(random: RandomSource): { packet: FlowPacket; size: number } {
  const size = 1 + random.below(random.below(2) === 0 ? 20 : 1460);
  const length = 1 + random.below(Math.min(size * 40, 60000));
  const flags = 0x10 | [0, 0x08, 0x09, 0x80, 0x89, 0xc8][random.below(6)]!;
  return { packet: { ...randomPacket(random, length), flags, urgent: random.below(65536) }, size };
}

Deno.test("segments are those of the book, checksums included, for random flows", () => {
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  const random = randomSource(11);
  for (let round = 0; round < 250; round++) {
    const { packet, size } = randomSuperPacket(random);
    const bytes = buildPacket(packet);
    const at = PACKET + random.below(8);
    memory.u8.set(bytes, at);
    assert.equal(segmenter.begin(at, bytes.length, vnetOf(packet, size)), true);
    const expected = slowSegments(packet, size).map(buildPacket);
    const actual = segmentsOf(memory, segmenter);
    assert.equal(actual.length, expected.length);
    for (const [i, segment] of actual.entries()) {
      assert.deepEqual(segment, new Uint8Array(expected[i]!), `round ${round}, segment ${i}`);
    }
    assert.ok(checksumsHold(actual.at(-1)!));
  }
});

Deno.test("IPv6 extension headers go with each segment, and a routing header's last destination counts", () => {
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  for (const protocol of ["tcp", "udp"] as const) {
    const packet = randomPacket(randomSource(16), 3500, { version: 6, protocol });
    // Segment routing (RFC 8754): 24 bytes with one segment; the header's destination is not the last one.
    const next = protocol === "tcp" ? 6 : 17;
    const routing = [next, 2, 4, 1, 0, 0, 0, 0, ...packet.destination];
    const extended = (inner: Uint8Array): Uint8Array => {
      const bytes = [...inner.slice(0, 24), ...new Uint8Array(16).fill(7), ...routing, ...inner.slice(40)];
      const length = bytes.length - 40;
      bytes.splice(4, 3, length >>> 8, length & 255, 43);
      return new Uint8Array(bytes);
    };
    const bytes = extended(buildPacket(packet));
    const vnet = vnetOf(packet, 1000);
    vnet.checksumStart = 64;
    // What the kernel leaves there: the sum of the pseudo-header with the last destination and the whole length.
    const length = bytes.length - 64;
    const pseudo = 0xffff - slowChecksum([
      ...[...packet.source, ...packet.destination, 0, 0, length >>> 8, length & 255, 0, 0, 0, next],
    ]);
    bytes.set([pseudo >>> 8, pseudo & 255], 64 + vnet.checksumOffset);
    memory.u8.set(bytes, PACKET);
    assert.equal(segmenter.begin(PACKET, bytes.length, vnet), true);
    const wanted = slowSegments(packet, 1000).map((segment) => extended(buildPacket(segment)));
    assert.deepEqual(segmentsOf(memory, segmenter), wanted);
  }
});

Deno.test("sequence numbers and IDs wrap around", () => {
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  const packet = {
    ...randomPacket(randomSource(12), 5000, { version: 4, protocol: "tcp" }),
    sequence: 0xfffffff0,
    id: 0xfffe,
  };
  const bytes = buildPacket(packet);
  memory.u8.set(bytes, PACKET);
  segmenter.begin(PACKET, bytes.length, vnetOf(packet, 1000));
  assert.deepEqual(
    segmentsOf(memory, segmenter),
    slowSegments(packet, 1000).map((s) => new Uint8Array(buildPacket(s))),
  );
});

Deno.test("only the last segment is shorter, and a payload of whole segments has no shorter one", () => {
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  for (
    const [length, counts] of [[3000, [1000, 1000, 1000]], [3001, [1000, 1000, 1000, 1]], [1, [1]]] as const
  ) {
    const packet = randomPacket(randomSource(13), length, { version: 4, protocol: "udp" });
    memory.u8.set(buildPacket(packet), PACKET);
    segmenter.begin(PACKET, 28 + length, vnetOf(packet, 1000));
    const payloads = Array.from({ length: segmenter.count }, (_, i) => segmenter.payloadLength(i));
    assert.deepEqual(payloads, [...counts]);
  }
});

Deno.test("a virtio header that contradicts the packet is refused", () => {
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  const packet = randomPacket(randomSource(14), 3000, { version: 4, protocol: "tcp" });
  const bytes = buildPacket(packet);
  memory.u8.set(bytes, PACKET);
  const refused = (change: Partial<VnetHeader>, length = bytes.length) => {
    const vnet = Object.assign(vnetOf(packet, 1000), change);
    assert.equal(segmenter.begin(PACKET, length, vnet), false, JSON.stringify(change));
  };
  assert.equal(segmenter.begin(PACKET, bytes.length, vnetOf(packet, 1000)), true);
  refused({ gsoSize: 0 });
  refused({ flags: 0 });
  refused({ gsoType: GSO_TCPV6 });
  refused({ gsoType: GSO_UDP_L4 });
  refused({ gsoType: 3 });
  refused({ checksumStart: 24 });
  refused({ checksumStart: 65535 });
  refused({ checksumOffset: 6 });
  refused({}, bytes.length - 1);
  refused({}, 20);
  refused({}, 0);
  memory.u8[PACKET + 20 + 12] = 0x40;
  refused({});
  memory.u8[PACKET + 20 + 12] = 0xf0;
  memory.u8.set([0, 60], PACKET + 2);
  refused({}, 60);
});

Deno.test("random and mutated super-packets never crash, and write nothing outside the header's room", () => {
  const rounds = Number(Deno.env.get("FLANNEL_FUZZ_ROUNDS") ?? 20_000);
  const memory = allocatePacketMemory(1 << 17);
  const segmenter = new Segmenter(memory);
  const random = randomSource(15);
  const vnet = new VnetHeader();
  const guard = new Uint8Array(PACKET - MAX_HEADERS).fill(0xa5);
  for (let round = 0; round < rounds; round++) {
    const packet = randomPacket(random, 1 + random.below(100));
    const bytes = buildPacket(packet);
    for (let n = random.below(6); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    const length = random.below(4) === 0 ? random.below(bytes.length + 1) : bytes.length;
    memory.u8.set(guard, MAX_HEADERS);
    memory.u8.set(bytes, PACKET);
    Object.assign(vnet, vnetOf(packet, 1 + random.below(60)));
    if (random.below(3) === 0) vnet.checksumStart = random.below(120);
    if (random.below(3) === 0) vnet.gsoType = random.below(7);
    if (!segmenter.begin(PACKET, length, vnet)) continue;
    let payload = 0;
    for (let i = 0; i < segmenter.count; i++) {
      segmenter.header(i, HEADERS);
      payload += segmenter.payloadLength(i);
    }
    assert.equal(payload + segmenter.headerLength, length);
    if (round % 64 === 0) assert.deepEqual(memory.u8.slice(MAX_HEADERS, PACKET), guard);
  }
  assert.deepEqual(memory.u8.slice(MAX_HEADERS, PACKET), guard);
});

import assert from "node:assert/strict";
import { allocatePacketMemory, PacketMemory } from "../../lib/packet/memory.ts";
import { MAX_CHAIN, MAX_CHAIN_PIECES, Merger } from "../../lib/packet/merge.ts";
import { IOVEC, PieceList } from "../../lib/packet/pieces.ts";
import { Segmenter } from "../../lib/packet/segment.ts";
import { GSO_NONE, GSO_TCPV4, VnetHeader } from "../../lib/packet/virtio.ts";
import { type RandomSource, randomSource } from "../../scripts/lab/random.ts";
import { buildPacket, type FlowPacket, randomPacket, slowSegments } from "./udp_reference.ts";

/** Places in the memory: pieces, virtio header, headers of segments, the super-packet put together, packets. */
const PIECES = 0, VNET = 4096, HEADERS = 4160, WHOLE = 8192, PACKETS = 80 * 1024;

/** What is written to the TUN. */
interface Written {
  readonly vnet: { readonly gsoType: number; readonly gsoSize: number; readonly flags: number };
  readonly bytes: Uint8Array;
}

class Bench {
  readonly memory: PacketMemory = allocatePacketMemory(1 << 20);
  readonly merger: Merger;
  readonly pieces = new PieceList(this.memory, PIECES, MAX_CHAIN_PIECES, 0);
  #end = PACKETS;

  constructor(kinds = { tcp: true, udp: true }, capacity = 512) {
    this.merger = new Merger(this.memory, capacity, kinds);
  }

  /** Receives packets, as they would lie in one buffer: one behind the other, at any alignment. */
  receive(packets: readonly Uint8Array[]): void {
    for (const bytes of packets) {
      this.memory.u8.set(bytes, this.#end);
      this.merger.add(this.#end, bytes.length);
      this.#end += bytes.length;
    }
  }

  /** Writes everything. */
  write(): Written[] {
    const written: Written[] = [];
    const vnet = new VnetHeader();
    for (let chain = 0; chain < this.merger.chains; chain++) {
      this.pieces.count = 0;
      this.merger.build(chain, vnet, VNET, this.pieces);
      const { gsoType, gsoSize, flags } = vnet;
      written.push({ vnet: { gsoType, gsoSize, flags }, bytes: this.#whole() });
    }
    this.merger.clear();
    this.#end = PACKETS;
    return written;
  }

  #whole(): Uint8Array {
    const bytes: number[] = [];
    for (let i = 1; i < this.pieces.count; i++) {
      const at = this.pieces.offset(i);
      for (const byte of this.memory.u8.subarray(at, at + this.pieces.length(i))) bytes.push(byte);
    }
    return new Uint8Array(bytes);
  }

  /** What the kernel makes of what was written: super-packets are cut up again. */
  segmentAgain(written: readonly Written[]): Uint8Array[] {
    const segmenter = new Segmenter(this.memory);
    const vnet = new VnetHeader();
    return written.flatMap(({ vnet: { gsoType, gsoSize, flags }, bytes }) => {
      if (gsoType === GSO_NONE) return [bytes];
      const l4 = bytes[0]! >>> 4 === 4 ? 20 : 40;
      const isTcp = (l4 === 20 ? bytes[9] : bytes[6]) === 6;
      Object.assign(vnet, { gsoType, gsoSize, flags, checksumStart: l4, checksumOffset: isTcp ? 16 : 6 });
      this.memory.u8.set(bytes, WHOLE);
      assert.equal(segmenter.begin(WHOLE, bytes.length, vnet), true);
      return Array.from({ length: segmenter.count }, (_, i) => {
        segmenter.header(i, HEADERS);
        const from = segmenter.payload + i * gsoSize;
        const head = this.memory.u8.slice(HEADERS, HEADERS + segmenter.headerLength);
        const payload = this.memory.u8.slice(from, from + segmenter.payloadLength(i));
        return new Uint8Array([...head, ...payload]);
      });
    });
  }
}

/** Ports, to see the order within each flow. */
function flowKey(bytes: Uint8Array): string {
  const v4 = bytes[0]! >>> 4 === 4;
  const l4 = v4 ? (bytes[0]! & 15) * 4 : 40;
  return [v4 ? bytes.slice(12, 20) : bytes.slice(8, 40), bytes.slice(l4, l4 + 4)].join();
}

function byFlow(packets: readonly Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>();
  for (const bytes of packets) {
    const key = flowKey(bytes);
    flows.set(key, [...flows.get(key) ?? [], bytes.join()]);
  }
  return flows;
}

/** A burst of one flow: segments of one super-packet, so that they may be merged. */
function burst(random: RandomSource, size = 1 + random.below(400)): FlowPacket[] {
  const count = 1 + random.below(12);
  const length = size * (count - 1) + 1 + random.below(size);
  return slowSegments(randomPacket(random, length), size);
}

const tcp = (change: Partial<FlowPacket> = {}, length = 300): FlowPacket => ({
  ...randomPacket(randomSource(21), length, { version: 4, protocol: "tcp" }),
  ...{ flags: 0x10, options: new Uint8Array(), dontFragment: true, ttl: 60, ...change },
});

/** How many packets each write holds, for packets in a row. */
function chainsOf(packets: readonly FlowPacket[], kinds?: { tcp: boolean; udp: boolean }): number[] {
  const bench = new Bench(kinds);
  bench.receive(packets.map(buildPacket));
  const counts = Array.from({ length: bench.merger.chains }, (_, chain) => bench.merger.packetsOf(chain));
  assert.equal(bench.segmentAgain(bench.write()).length, packets.length);
  return counts;
}

/** Three packets of 100 bytes in a row, the second one changed. */
function three(change: Partial<FlowPacket>, base: FlowPacket = tcp()): number[] {
  const segments = slowSegments(base, 100);
  segments[1] = { ...segments[1]!, ...change };
  return chainsOf(segments);
}

Deno.test("what is segmented and merged again equals the input, for random flows in between each other", () => {
  const random = randomSource(22);
  const bench = new Bench();
  let merged = 0;
  for (let round = 0; round < 150; round++) {
    const bursts = Array.from({ length: 1 + random.below(5) }, () => burst(random));
    const packets: Uint8Array[] = [];
    while (bursts.some((one) => one.length > 0)) {
      const one = bursts[random.below(bursts.length)]!;
      for (let n = 1 + random.below(4); n > 0 && one.length > 0; n--) packets.push(buildPacket(one.shift()!));
    }
    bench.receive(packets);
    const written = bench.write();
    merged += packets.length - written.length;
    assert.deepEqual(byFlow(bench.segmentAgain(written)), byFlow(packets), `round ${round}`);
  }
  assert.ok(merged > 1000, `only ${merged} packets were merged`);
});

Deno.test("a burst becomes one super-packet with the fields that the kernel needs", () => {
  const bench = new Bench();
  const segments = slowSegments(tcp({ flags: 0x18 }, 2500), 1000);
  bench.receive(segments.map(buildPacket));
  const [written, ...rest] = bench.write();
  assert.equal(rest.length, 0);
  assert.deepEqual(written!.vnet, { gsoType: GSO_TCPV4, gsoSize: 1000, flags: 1 });
  assert.equal(written!.bytes.length, 40 + 2500);
  assert.equal(written!.bytes[33], 0x18, "PSH of the last packet is the super-packet's");
});

Deno.test("a chain of one is written as it came", () => {
  const bench = new Bench();
  const bytes = buildPacket(tcp({ flags: 0x02, options: new Uint8Array(8) }, 0));
  bench.receive([bytes]);
  assert.deepEqual(bench.write(), [{
    vnet: { gsoType: 0, gsoSize: 0, flags: 0 },
    bytes: new Uint8Array(bytes),
  }]);
});

Deno.test("what differs between segments keeps them apart", () => {
  assert.deepEqual(three({}), [3]);
  assert.deepEqual(three({ tos: 1 }), [1, 1, 1], "ECN");
  assert.deepEqual(three({ ttl: 9 }), [1, 1, 1]);
  assert.deepEqual(three({ dontFragment: false }), [1, 1, 1]);
  assert.deepEqual(three({ ack: 7 }), [1, 1, 1]);
  assert.deepEqual(three({ window: 7 }), [1, 1, 1]);
  assert.deepEqual(three({ urgent: 7 }), [1, 1, 1]);
  assert.deepEqual(three({ sourcePort: 7 }), [1, 1, 1]);
  assert.deepEqual(three({ sequence: 7 }), [1, 1, 1]);
  assert.deepEqual(three({ options: new Uint8Array([1, 1, 1, 1]) }), [1, 1, 1]);
  const six = { ...randomPacket(randomSource(27), 300, { version: 6, protocol: "tcp" }), flags: 0x10 };
  assert.deepEqual(three({}, six), [3]);
  for (const change of [{ tos: six.tos ^ 1 }, { ttl: 1 }, { ack: 7 }, { destination: new Uint8Array(16) }]) {
    assert.deepEqual(three(change, six), [1, 1, 1], `IPv6 ${Object.keys(change)}`);
  }
  const stamped = tcp({ options: new Uint8Array([1, 1, 1, 1]) });
  assert.deepEqual(three({}, stamped), [3]);
  assert.deepEqual(three({ options: new Uint8Array([1, 1, 1, 0]) }, stamped), [1, 1, 1]);
});

Deno.test("flags other than ACK and PSH are never merged and seal their flow", () => {
  for (const flags of [0x02, 0x11, 0x14, 0x12, 0x30, 0x50, 0x90, 0x00, 0x08]) {
    assert.deepEqual(three({ flags }), [1, 1, 1], `flags ${flags}`);
  }
});

Deno.test("PSH ends a chain, a shorter packet closes it, a longer one never joins", () => {
  assert.deepEqual(three({ flags: 0x18 }), [2, 1]);
  const [first, second, third] = slowSegments(tcp(), 100);
  const short = { ...second!, payload: second!.payload.slice(0, 50) };
  assert.deepEqual(chainsOf([first!, short, { ...third!, sequence: (short.sequence + 50) >>> 0 }]), [2, 1]);
  const long = { ...second!, payload: new Uint8Array(101) };
  assert.deepEqual(chainsOf([first!, long]), [1, 1]);
});

Deno.test("without DF the IDs must follow each other, with DF they mean nothing", () => {
  assert.deepEqual(three({ id: 7 }), [3]);
  assert.deepEqual(three({}, tcp({ dontFragment: false, id: 0xffff })), [3]);
  assert.deepEqual(three({ id: 7 }, tcp({ dontFragment: false })), [1, 1, 1]);
});

Deno.test("at most 64 packets and 65,535 bytes make one super-packet", () => {
  assert.deepEqual(chainsOf(slowSegments(tcp({}, 10 * 150), 10)), [MAX_CHAIN, MAX_CHAIN, 22]);
  const counts = chainsOf(slowSegments(tcp({}, 1448 * 50), 1448));
  assert.deepEqual(counts, [45, 5]);
});

Deno.test("corrupt packets are never merged, so that the kernel sees their checksums", () => {
  const segments = slowSegments(tcp({}, 300), 100).map(buildPacket);
  for (const at of [10, 36, 60, 119]) {
    const bench = new Bench();
    const damaged = segments.map((bytes) => bytes.slice());
    damaged[1]![at]! ^= 0x10;
    bench.receive(damaged);
    const written = bench.write();
    assert.deepEqual(written.map(({ vnet }) => vnet.gsoType), [0, 0, 0], `byte ${at}`);
    assert.deepEqual(written.map(({ bytes }) => bytes), damaged.map((bytes) => new Uint8Array(bytes)));
  }
});

Deno.test("a corrupt first packet stays alone, and those behind it are merged", () => {
  const bench = new Bench();
  const segments = slowSegments(tcp({}, 300), 100).map((segment) => buildPacket(segment));
  segments[0]![60]! ^= 0x10;
  bench.receive(segments);
  assert.equal(bench.merger.packetsOf(0), 1);
  assert.equal(bench.merger.packetsOf(1), 2);
});

Deno.test("flows that differ in the source port alone are merged side by side", () => {
  const flows = Array.from({ length: 8 }, (_, i) => slowSegments(tcp({ sourcePort: 40000 + i }), 100));
  const bench = new Bench();
  for (const nth of [0, 1, 2]) bench.receive(flows.map((segments) => buildPacket(segments[nth]!)));
  // Some share a slot; all of them shared one.
  assert.ok(bench.merger.chains < 14, `${bench.merger.chains} chains of 8 flows`);
});

Deno.test("packets that nothing joins aren't summed", () => {
  const sums: number[] = [];
  const slow = new PacketMemory(new ArrayBuffer(1 << 16));
  const memory = new PacketMemory(slow.u8.buffer, (at, length) => (sums.push(length), slow.sum(at, length)));
  const merger = new Merger(memory, 16, { tcp: true, udp: true });
  const [first, second, third] = slowSegments(tcp({}, 300), 100).map(buildPacket);
  let at = 0;
  const receive = (bytes: Uint8Array) => {
    memory.u8.set(bytes, at);
    merger.add(at, bytes.length);
    at += bytes.length;
  };
  receive(first!);
  receive(buildPacket(tcp({ sourcePort: 4321 }, 100)));
  assert.deepEqual(sums, []);
  receive(second!);
  assert.equal(sums.length, 4, "IP header and L4 of both");
  receive(third!);
  assert.equal(sums.length, 6);
  assert.equal(merger.packetsOf(0), 3);
});

Deno.test("UDP without a checksum is never merged", () => {
  const bench = new Bench();
  const base = randomPacket(randomSource(23), 300, { version: 4, protocol: "udp" });
  const segments = slowSegments({ ...base, dontFragment: true }, 100).map(buildPacket);
  for (const bytes of segments) bytes.set([0, 0], 26);
  bench.receive(segments);
  assert.equal(bench.merger.chains, 3);
});

Deno.test("each kind is merged only where it is allowed", () => {
  const udp = slowSegments({
    ...randomPacket(randomSource(24), 300, { version: 4, protocol: "udp" }),
    dontFragment: true,
  }, 100);
  const packets = slowSegments(tcp(), 100);
  assert.deepEqual(chainsOf(udp), [3]);
  assert.deepEqual(chainsOf(udp, { tcp: true, udp: false }), [1, 1, 1]);
  assert.deepEqual(chainsOf(packets, { tcp: false, udp: true }), [1, 1, 1]);
});

Deno.test("a fragment, an unknown protocol and IPv4 options seal everything that came before", () => {
  const segments = slowSegments(tcp(), 100).map(buildPacket);
  const fragment = segments[2]!.slice();
  fragment[6] = 0x20;
  const tunnel = segments[2]!.slice();
  tunnel[9] = 4;
  const garbage = new Uint8Array([0x45, 0, 0]);
  for (const stranger of [fragment, tunnel, garbage]) {
    const bench = new Bench();
    bench.receive([segments[0]!, stranger, segments[1]!]);
    assert.deepEqual(bench.write().map(({ bytes }) => bytes.length), [140, stranger.length, 140]);
  }
});

Deno.test("another flow's pure ACKs don't seal a chain", () => {
  const segments = slowSegments(tcp(), 100);
  const ack = tcp({ sourcePort: 1, destinationPort: 2 }, 0);
  assert.deepEqual(chainsOf([segments[0]!, ack, segments[1]!, ack, segments[2]!]), [3, 1, 1]);
});

Deno.test("a refused super-packet is restored to the packets that came", () => {
  const random = randomSource(25);
  for (let round = 0; round < 60; round++) {
    const bench = new Bench();
    const packets = burst(random).map(buildPacket);
    bench.receive(packets);
    const vnet = new VnetHeader();
    for (let chain = 0; chain < bench.merger.chains; chain++) {
      bench.pieces.count = 0;
      bench.merger.build(chain, vnet, VNET, bench.pieces);
      bench.merger.restore(chain);
    }
    const seen: Uint8Array[] = [];
    for (let chain = 0; chain < bench.merger.chains; chain++) {
      for (let p = bench.merger.firstPacket(chain); p >= 0; p = bench.merger.nextPacket(p)) {
        const at = bench.merger.offsetOf(p);
        seen.push(bench.memory.u8.slice(at, at + bench.merger.packetLength(p)));
      }
    }
    assert.deepEqual(seen, packets.map((bytes) => new Uint8Array(bytes)));
  }
});

Deno.test("random and mutated packets never crash, keep their order, and nothing else is written to", () => {
  const rounds = Number(Deno.env.get("FLANNEL_FUZZ_ROUNDS") ?? 20_000) / 8;
  const random = randomSource(26);
  const bench = new Bench();
  const guard = new Uint8Array(64).fill(0xa5);
  for (let round = 0; round < rounds; round++) {
    const packets = [...burst(random, 1 + random.below(40)), ...burst(random, 5)].slice(0, 8).map(
      buildPacket,
    );
    for (const bytes of packets) {
      for (let n = random.below(4); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    }
    if (random.below(4) === 0) packets[0] = packets[0]!.slice(0, random.below(packets[0]!.length));
    const end = PACKETS + packets.reduce((sum, bytes) => sum + bytes.length, 0);
    bench.memory.u8.set(guard, end);
    bench.memory.u8.set(guard, PACKETS - 64);
    bench.receive(packets);
    const written = bench.write();
    assert.deepEqual(bench.memory.u8.slice(end, end + 64), guard);
    assert.deepEqual(bench.memory.u8.slice(PACKETS - 64, PACKETS), guard);
    const total = bench.segmentAgain(written).reduce((sum, bytes) => sum + bytes.length, 0);
    assert.equal(total, end - PACKETS);
  }
});

Deno.test("pieces hold addresses, across a 4 GiB boundary too", () => {
  const memory = allocatePacketMemory(65536);
  const base = 0x7fff_ffff_0000 + 0xff00;
  const pieces = new PieceList(memory, 64, 2, base);
  pieces.add(0x80, 5);
  pieces.add(0x200, 6);
  const view = new DataView(memory.u8.buffer);
  assert.equal(view.getBigUint64(64, true), BigInt(base + 0x80));
  assert.equal(view.getBigUint64(64 + IOVEC, true), BigInt(base + 0x200));
  assert.equal(view.getBigUint64(64 + IOVEC + 8, true), 6n);
  assert.equal(pieces.offset(1), 0x200);
});

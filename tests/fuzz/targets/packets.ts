/**
 * IP packets in packet memory: headers, checksums, TTL, ICMP errors, segmenting, merging. Each input lies between
 * canaries, and so does whatever is written.
 *
 * @module
 */
import { decrementTtl, finishChecksum } from "../../../lib/packet/checksum.ts";
import { ICMPV6, IP_OK, IpHeader, pseudoHeaderSum } from "../../../lib/packet/headers.ts";
import { addSums } from "../../../lib/packet/sum.ts";
import { makeIcmpError, MAX_ICMP_ERROR } from "../../../lib/packet/icmp.ts";
import { NO_ROUTE, TIME_EXCEEDED, TOO_BIG } from "../../../lib/packet/icmp_kinds.ts";
import { findUpperLayer } from "../../../lib/packet/ipv6_extensions.ts";
import { allocatePacketMemory } from "../../../lib/packet/memory.ts";
import { MAX_CHAIN_PIECES, Merger } from "../../../lib/packet/merge.ts";
import { IOVEC, PieceList } from "../../../lib/packet/pieces.ts";
import { MAX_HEADERS, Segmenter } from "../../../lib/packet/segment.ts";
import { VNET_HEADER, VnetHeader } from "../../../lib/packet/virtio.ts";
import { type FuzzOne, type FuzzTarget, property } from "../target.ts";

/** Where things lie, with canaries before, between and behind. */
const PIECES = 1024, OUTPUT = 16384, PACKETS = 32768, MEMORY = 131072;
/** Bytes on each side of a range that must stay as they are. */
const GUARD = 256;
const CANARY = 0xa5;

const memory = allocatePacketMemory(MEMORY);
const { u8 } = memory;

/** IPv4 and IPv6 headers' beginnings, protocols, ports. */
const WORDS = ["E\0\0", "`\0\0\0", "\x11@", "\x06@", "\x01@", "\x10\0", "\x2c\0", "\0\0", "\x20\x5d"];

export const PACKET_TARGETS: readonly FuzzTarget[] = [
  {
    name: "ip-packet",
    what: "an IP packet: header, TTL, checksum, ICMP errors about it",
    errors: [],
    dictionary: WORDS,
    open: openPacket,
  },
  {
    name: "tun-packet",
    what: "a virtio header and a packet, as a TUN gives them, cut into segments",
    errors: [],
    dictionary: [...WORDS, "\x01\x01", "\x01\x04", "\x01\x05", "\x10\0", "\x06\0"],
    maxLength: 8192,
    cost: 2,
    open: openSegments,
  },
  {
    name: "merge",
    what: "a burst of packets that are merged where they may be: each packet with its length before it",
    errors: [],
    dictionary: WORDS,
    maxLength: 8192,
    cost: 2,
    open: openMerge,
  },
];

/** Puts bytes between canaries. */
function place(bytes: Uint8Array, at: number): void {
  u8.fill(CANARY, at - GUARD, at + bytes.length + GUARD);
  u8.set(bytes, at);
}

/** Whether the canaries around a range are alive. */
function checkGuards(at: number, length: number, what: string): void {
  const isAlive = (from: number) => u8.subarray(from, from + GUARD).every((byte) => byte === CANARY);
  property(isAlive(at - GUARD) && isAlive(at + length), `bytes beside ${what} changed`);
}

function openPacket(): FuzzOne {
  const header = new IpHeader(), source = new Int32Array([0x0a050100, 0, 0, 1]), vnet = new VnetHeader();
  return (input) => {
    const length = input.length;
    place(input, PACKETS);
    const fault = header.read(memory, PACKETS, length);
    if (fault === IP_OK) property(header.headerLength <= length, "a header that is longer than its packet");
    if (length >= 40 && u8[PACKETS]! >>> 4 === 6) {
      const { offset } = findUpperLayer(memory, PACKETS, length);
      property(
        offset === -1 || (offset >= 40 && offset <= length),
        `the upper layer at ${offset} of ${length}`,
      );
    }
    for (const error of [NO_ROUTE, TIME_EXCEEDED, TOO_BIG] as const) {
      u8.fill(CANARY, OUTPUT - GUARD, OUTPUT + MAX_ICMP_ERROR + GUARD);
      const made = makeIcmpError(memory, error, PACKETS, length, OUTPUT, source, 1280);
      property(made <= MAX_ICMP_ERROR, `an error of ${made} bytes`);
      if (made > 0) {
        checkGuards(OUTPUT, MAX_ICMP_ERROR, "an error");
        property(header.read(memory, OUTPUT, made) === IP_OK, "an error that isn't a packet");
        property(icmpHolds(made), "an error with a wrong checksum");
      }
    }
    property(
      u8.subarray(PACKETS, PACKETS + length).every((byte, i) => byte === input[i]),
      "reading changed the packet",
    );
    if (fault !== IP_OK) return;
    decrementTtl(memory, PACKETS, header.version);
    vnet.clear();
    vnet.checksumStart = input.length > 1 ? input[length - 1]! << 2 : 0;
    vnet.checksumOffset = input[length - 2] ?? 0;
    finishChecksum(memory, PACKETS, length, vnet.checksumStart, vnet.checksumOffset);
    checkGuards(PACKETS, length, "a packet");
  };
}

/** Whether the checksums of the error at {@link OUTPUT} hold. */
function icmpHolds(length: number): boolean {
  const isIpv4 = u8[OUTPUT]! >>> 4 === 4;
  if (isIpv4) return memory.sum(OUTPUT, 20) === 0xffff && memory.sum(OUTPUT + 20, length - 20) === 0xffff;
  const pseudo = pseudoHeaderSum(memory, OUTPUT, 6, ICMPV6, length - 40);
  return addSums(pseudo, memory.sum(OUTPUT + 40, length - 40)) === 0xffff;
}

function openSegments(): FuzzOne {
  const segmenter = new Segmenter(memory), vnet = new VnetHeader(), header = new IpHeader();
  return (input) => {
    if (input.length < VNET_HEADER) return;
    const length = input.length - VNET_HEADER, at = PACKETS + VNET_HEADER;
    place(input, PACKETS);
    vnet.read(memory, PACKETS);
    if (!segmenter.begin(at, length, vnet)) return;
    let total = 0;
    for (let i = 0; i < segmenter.count; i++) {
      u8.fill(CANARY, OUTPUT - GUARD, OUTPUT + MAX_HEADERS + GUARD);
      const made = segmenter.header(i, OUTPUT);
      const payload = segmenter.payloadLength(i), from = segmenter.payload + i * segmenter.gsoSize;
      checkGuards(OUTPUT, MAX_HEADERS, "a segment's headers");
      property(payload > 0 && payload <= segmenter.gsoSize, `a segment of ${payload} bytes`);
      property(from >= at && from + payload <= at + length, "a segment from outside of its packet");
      property(made === segmenter.headerLength + payload, "a segment's length isn't that of its parts");
      u8.copyWithin(OUTPUT + segmenter.headerLength, from, from + payload);
      property(header.read(memory, OUTPUT, made) === IP_OK, "a segment that isn't a packet");
      total += payload;
    }
    property(total === length - segmenter.headerLength, "the segments aren't the whole packet");
    const same = u8.subarray(PACKETS, PACKETS + input.length).every((byte, i) => byte === input[i]);
    property(same, "segmenting changed the packet");
    checkGuards(PACKETS, input.length, "a super-packet");
  };
}

/** What is merged, segmented again, is what was merged; undone, it is what came. */
function openMerge(): FuzzOne {
  const capacity = 128;
  const merger = new Merger(memory, capacity, { tcp: true, udp: true });
  const pieces = new PieceList(memory, PIECES, MAX_CHAIN_PIECES, 0),
    vnet = new VnetHeader(),
    ip = new IpHeader();
  return (input) => {
    merger.clear();
    place(input, PACKETS);
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    for (let at = 0; at + 2 <= input.length && !merger.full;) {
      const length = Math.min(view.getUint16(at), input.length - at - 2);
      if (length > 0) merger.add(PACKETS + at + 2, length);
      at += 2 + length;
    }
    let packets = 0;
    for (let chain = 0; chain < merger.chains; chain++) {
      u8.fill(CANARY, OUTPUT - GUARD, OUTPUT + VNET_HEADER + GUARD);
      u8.fill(CANARY, PIECES - GUARD, PIECES + MAX_CHAIN_PIECES * IOVEC + GUARD);
      pieces.count = 0;
      merger.build(chain, vnet, OUTPUT, pieces);
      checkGuards(OUTPUT, VNET_HEADER, "a virtio header");
      checkGuards(PIECES, MAX_CHAIN_PIECES * IOVEC, "the pieces");
      packets += merger.packetsOf(chain);
      if (merger.packetsOf(chain) > 1) checkChain(chain);
      merger.restore(chain);
    }
    property(packets === merger.packets, `${packets} packets in the chains, ${merger.packets} were added`);
    const same = u8.subarray(PACKETS, PACKETS + input.length).every((byte, i) => byte === input[i]);
    property(same, "merging and undoing it changed a packet");
    checkGuards(PACKETS, input.length, "a burst");
  };

  function checkChain(chain: number): void {
    let length = 0;
    for (let i = 1; i < pieces.count; i++) {
      const at = pieces.offset(i), size = pieces.length(i);
      property(at >= PACKETS && at + size <= PACKETS + 8192, "a piece from outside of the burst");
      length += size;
    }
    property(length <= 65535, `a super-packet of ${length} bytes`);
    // Its first piece is the whole first packet, with the lengths of all in its headers.
    property(ip.read(memory, pieces.offset(1), length) === IP_OK, `chain ${chain} isn't a packet`);
  }
}

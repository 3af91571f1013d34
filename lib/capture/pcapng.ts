/**
 * pcapng files (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html): blocks as bytes. Pure.
 *
 * One section; an interface description block for each interface; an enhanced packet block for each packet, with
 * times in nanoseconds and the packet's direction; interface statistics at the end. Little-endian throughout.
 *
 * @module
 */

/** Block types. */
const SECTION_HEADER = 0x0a0d0d0a, INTERFACE_DESCRIPTION = 1, ENHANCED_PACKET = 6, INTERFACE_STATISTICS = 5;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Options of any block, of the section header, of interfaces, of packets, of statistics. */
const OPT_END = 0, OPT_COMMENT = 1;
const SHB_OS = 3, SHB_APPLICATION = 4;
const IF_NAME = 2, IF_DESCRIPTION = 3, IF_TSRESOL = 9;
const EPB_FLAGS = 2;
const ISB_START = 2, ISB_END = 3, ISB_RECEIVED = 4, ISB_DROPPED = 5;
/** if_tsresol: 10 to the power of minus 9. */
const NANOSECONDS = 9;

/** Link types (https://www.tcpdump.org/linktypes.html). */
export const LINKTYPE_ETHERNET = 1, LINKTYPE_RAW = 101;

/** What the file says of itself. */
export interface SectionInfo {
  readonly application: string;
  readonly os: string;
  readonly comment: string;
}

/** An interface. Packets name it by its place in the file, counted from 0. */
export interface InterfaceInfo {
  readonly name: string;
  readonly description: string;
  readonly linkType: number;
  readonly snapLength: number;
}

/** A packet. */
export interface PacketInfo {
  readonly interfaceId: number;
  /** In nanoseconds since 1970. */
  readonly at: bigint;
  readonly bytes: Uint8Array;
  /** Its length on the wire. */
  readonly length: number;
  readonly isOutgoing: boolean;
  /** How it was received: 1 unicast, 2 multicast, 3 broadcast, 4 promiscuous, 0 not known. */
  readonly reception: number;
}

/** What an interface counted. */
export interface InterfaceCounts {
  readonly interfaceId: number;
  readonly start: bigint;
  readonly end: bigint;
  readonly received: number;
  readonly dropped: number;
}

/** An option: its code and value. */
type Option = readonly [code: number, value: Uint8Array];

/** The first block of a file. */
export function sectionHeader({ application, os, comment }: SectionInfo): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(16));
  body.setUint32(0, BYTE_ORDER_MAGIC, true);
  body.setUint16(4, 1, true);
  // Length of the section: not known.
  body.setBigInt64(8, -1n, true);
  const options: Option[] = [[OPT_COMMENT, utf8(comment)], [SHB_OS, utf8(os)], [
    SHB_APPLICATION,
    utf8(application),
  ]];
  return block(SECTION_HEADER, body, options);
}

/** An interface; before its first packet. */
export function interfaceDescription(info: InterfaceInfo): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(8));
  body.setUint16(0, info.linkType, true);
  body.setUint32(4, info.snapLength, true);
  return block(INTERFACE_DESCRIPTION, body, [
    [IF_NAME, utf8(info.name)],
    [IF_DESCRIPTION, utf8(info.description)],
    [IF_TSRESOL, Uint8Array.of(NANOSECONDS)],
  ]);
}

/** A packet's block: its header, the bytes padded to 32 bits, and its flags. */
export function enhancedPacket(packet: PacketInfo): Uint8Array<ArrayBuffer> {
  const { bytes, at } = packet;
  const padded = (bytes.length + 3) & ~3;
  const total = 8 + 20 + padded + 8 + 4 + 4;
  const result = new Uint8Array(new ArrayBuffer(total));
  const view = new DataView(result.buffer);
  view.setUint32(0, ENHANCED_PACKET, true);
  view.setUint32(4, total, true);
  view.setUint32(8, packet.interfaceId, true);
  view.setUint32(12, Number(at >> 32n), true);
  view.setUint32(16, Number(at & 0xffff_ffffn), true);
  view.setUint32(20, bytes.length, true);
  view.setUint32(24, packet.length, true);
  result.set(bytes, 28);
  const options = 28 + padded;
  view.setUint16(options, EPB_FLAGS, true);
  view.setUint16(options + 2, 4, true);
  // Bits 0 and 1: 1 inbound, 2 outbound; bits 2 to 4: how it was received.
  view.setUint32(options + 4, packet.isOutgoing ? 2 : 1 | packet.reception << 2, true);
  // Then the end of the options, which is zero, and the length again.
  view.setUint32(total - 4, total, true);
  return result;
}

/** What an interface counted; after its last packet. */
export function interfaceStatistics(counts: InterfaceCounts): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(12));
  body.setUint32(0, counts.interfaceId, true);
  setTime(body, 4, counts.end);
  return block(INTERFACE_STATISTICS, body, [
    [ISB_START, timeBytes(counts.start)],
    [ISB_END, timeBytes(counts.end)],
    [ISB_RECEIVED, u64(counts.received)],
    [ISB_DROPPED, u64(counts.dropped)],
  ]);
}

function block(type: number, body: DataView, options: readonly Option[]): Uint8Array<ArrayBuffer> {
  const all: Option[] = [...options.filter(([, value]) => value.length > 0), [OPT_END, new Uint8Array()]];
  const optionBytes = all.reduce((sum, [, value]) => sum + 4 + ((value.length + 3) & ~3), 0);
  const total = 12 + body.byteLength + optionBytes;
  const result = new Uint8Array(new ArrayBuffer(total));
  const view = new DataView(result.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  result.set(new Uint8Array(body.buffer), 8);
  let at = 8 + body.byteLength;
  for (const [code, value] of all) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    result.set(value, at + 4);
    at += 4 + ((value.length + 3) & ~3);
  }
  view.setUint32(total - 4, total, true);
  return result;
}

/** A time is two 32-bit words, the upper one first. */
function setTime(view: DataView, offset: number, at: bigint): void {
  view.setUint32(offset, Number(at >> 32n), true);
  view.setUint32(offset + 4, Number(at & 0xffff_ffffn), true);
}

function timeBytes(at: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  setTime(view, 0, at);
  return new Uint8Array(view.buffer);
}

function u64(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(view.buffer);
}

/** An option's text: at most 65,535 bytes, of which nobody writes that many. */
function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text).subarray(0, 65_535);
}

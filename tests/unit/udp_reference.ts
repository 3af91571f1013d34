/**
 * Packets by the book: an independent, slow and obviously right implementation of what lib/packet does fast. It
 * shares no code with it.
 *
 * @module
 */
import type { RandomSource } from "../../scripts/lab/random.ts";

/** A TCP or UDP packet in parts. */
export interface FlowPacket {
  readonly version: 4 | 6;
  readonly protocol: "tcp" | "udp";
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Type of service or traffic class, ECN included. */
  readonly tos: number;
  readonly ttl: number;
  readonly id: number;
  readonly dontFragment: boolean;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  /** TCP options, a multiple of 4 bytes. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** RFC 1071, word by word. */
export function slowChecksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)];

function l4Bytes(packet: FlowPacket): number[] {
  const { sourcePort, destinationPort, payload } = packet;
  const ports = [...be16(sourcePort), ...be16(destinationPort)];
  if (packet.protocol === "udp") return [...ports, ...be16(8 + payload.length), 0, 0, ...payload];
  const { sequence, ack, flags, window, urgent, options } = packet;
  const offset = (20 + options.length) / 4;
  return [
    ...ports,
    ...be32(sequence),
    ...be32(ack),
    offset << 4,
    flags,
    ...be16(window),
    ...[0, 0],
    ...be16(urgent),
    ...options,
    ...payload,
  ];
}

/** The packet's bytes with every checksum right. */
export function buildPacket(packet: FlowPacket): Uint8Array<ArrayBuffer> {
  const protocol = packet.protocol === "tcp" ? 6 : 17;
  const l4 = l4Bytes(packet);
  const pseudo = [...packet.source, ...packet.destination, ...be32(l4.length), 0, 0, 0, protocol];
  const field = packet.protocol === "tcp" ? 16 : 6;
  let checksum = slowChecksum([...pseudo, ...l4]);
  if (checksum === 0 && packet.protocol === "udp") checksum = 0xffff;
  l4.splice(field, 2, ...be16(checksum));
  if (packet.version === 6) {
    const first = 0x60000000 + packet.tos * 0x100000;
    const header = [...be32(first), ...be16(l4.length), protocol, packet.ttl];
    return new Uint8Array([...header, ...packet.source, ...packet.destination, ...l4]);
  }
  const header = [0x45, packet.tos, ...be16(20 + l4.length), ...be16(packet.id)];
  header.push(...be16(packet.dontFragment ? 0x4000 : 0), packet.ttl, protocol, 0, 0);
  header.push(...packet.source, ...packet.destination);
  header.splice(10, 2, ...be16(slowChecksum(header)));
  return new Uint8Array([...header, ...l4]);
}

/** Cuts a packet into segments of `size` payload bytes, one at a time. */
export function slowSegments(packet: FlowPacket, size: number): FlowPacket[] {
  const segments: FlowPacket[] = [];
  for (let at = 0; at < packet.payload.length; at += size) {
    const isFirst = at === 0, isLast = at + size >= packet.payload.length;
    let flags = packet.flags;
    if (!isLast) flags &= ~0x09;
    if (!isFirst) flags &= ~0x80;
    segments.push({
      ...packet,
      flags,
      id: (packet.id + segments.length) & 0xffff,
      sequence: (packet.sequence + at) >>> 0,
      payload: packet.payload.slice(at, at + size),
    });
  }
  return segments;
}

/** Whether IPv4 header and L4 checksum are right, by computing them anew. */
export function checksumsHold(bytes: Uint8Array): boolean {
  const version = bytes[0]! >>> 4;
  const header = version === 4 ? (bytes[0]! & 15) * 4 : 40;
  if (version === 4 && slowChecksum([...bytes.slice(0, header)]) !== 0) return false;
  const protocol = version === 4 ? bytes[9]! : bytes[6]!;
  const addresses = version === 4 ? bytes.slice(12, 20) : bytes.slice(8, 40);
  const l4 = [...bytes.slice(header)];
  return slowChecksum([...addresses, ...be32(l4.length), 0, 0, 0, protocol, ...l4]) === 0;
}

function randomBytes(random: RandomSource, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** A random flow's packet with `length` bytes of payload. */
export function randomPacket(
  random: RandomSource,
  length: number,
  kind: { readonly version?: 4 | 6; readonly protocol?: "tcp" | "udp" } = {},
): FlowPacket {
  const version = kind.version ?? (random.below(3) === 0 ? 6 : 4);
  const protocol = kind.protocol ?? (random.below(3) === 0 ? "udp" : "tcp");
  const addressBytes = version === 4 ? 4 : 16;
  return {
    version,
    protocol,
    source: randomBytes(random, addressBytes),
    destination: randomBytes(random, addressBytes),
    tos: random.below(256),
    ttl: 2 + random.below(254),
    id: random.below(65536),
    dontFragment: random.below(2) === 0,
    sourcePort: random.below(65536),
    destinationPort: random.below(65536),
    sequence: random.below(2 ** 32 - 1),
    ack: random.below(2 ** 32 - 1),
    flags: 0x10 | (random.below(2) * 0x08),
    window: random.below(65536),
    urgent: 0,
    options: protocol === "tcp" ? randomBytes(random, 4 * random.below(11)) : new Uint8Array(),
    payload: randomBytes(random, length),
  };
}

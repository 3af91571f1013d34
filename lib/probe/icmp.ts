/**
 * ICMP and ICMPv6 as far as probes speak them: echo requests out, replies and errors in (RFC 792, RFC 4443).
 * Bytes only; IPv4 and IPv6 differ by a table.
 *
 * @module
 */
import { type Family, IPV4 } from "../net/family.ts";
import { type Ip, ipFromBytes } from "../net/ip.ts";
import { fold } from "../packet/sum.ts";

/** What an error says of the packet that it quotes. */
export type IcmpReason =
  | "too big"
  | "time exceeded"
  | "port unreachable"
  | "protocol unreachable"
  | "prohibited"
  | "host unreachable";

/** An answer to an echo request. */
export interface EchoReply {
  readonly kind: "reply";
  readonly id: number;
  readonly sequence: number;
  /** What came after the ICMP header. */
  readonly payload: Uint8Array;
}

/** An error about a packet that this host sent. */
export interface IcmpErrorMessage {
  readonly kind: "error";
  readonly reason: IcmpReason;
  /** Only of "too big": the MTU of the link that the packet was too big for, 0 where the router doesn't say. */
  readonly mtu?: number;
  /** Where the quoted packet was going. */
  readonly destination: Ip;
  /** IANA number of the quoted packet's protocol. */
  readonly protocol: number;
  /** The quoted echo request's. */
  readonly id?: number;
  readonly sequence?: number;
  /** The quoted UDP or TCP packet's. */
  readonly destinationPort?: number;
}

/** What a received ICMP message is to a probe. */
export type IcmpMessage = EchoReply | IcmpErrorMessage;

/** Length of an echo message's header, and of an error's before the quoted packet. */
const ICMP_HEADER = 8;

/** Numbers of one family. */
interface IcmpKind {
  /** IANA protocol number. */
  readonly protocol: number;
  readonly echoRequest: number;
  readonly echoReply: number;
  /** Types whose messages are read; a socket's filter drops all others. */
  readonly types: readonly number[];
  reason(type: number, code: number): IcmpReason | undefined;
  /** Offset of the MTU in "too big", and its length in bytes. */
  readonly mtuAt: number;
}

const ICMPV4: IcmpKind = {
  protocol: 1,
  echoRequest: 8,
  echoReply: 0,
  types: [0, 3, 11],
  mtuAt: 6,
  reason(type, code) {
    if (type === 11) return "time exceeded";
    if (type !== 3) return undefined;
    // RFC 792; codes 9, 10 and 13: RFC 1812, 5.2.7.1
    const known: Readonly<Record<number, IcmpReason>> = {
      2: "protocol unreachable",
      3: "port unreachable",
      4: "too big",
      9: "prohibited",
      10: "prohibited",
      13: "prohibited",
    };
    return known[code] ?? "host unreachable";
  },
};

const ICMPV6: IcmpKind = {
  protocol: 58,
  echoRequest: 128,
  echoReply: 129,
  types: [1, 2, 3, 4, 129],
  mtuAt: 4,
  reason(type, code) {
    if (type === 2) return "too big";
    if (type === 3) return "time exceeded";
    // RFC 4443, 3.4: the next header isn't known.
    if (type === 4) return code === 1 ? "protocol unreachable" : undefined;
    if (type !== 1) return undefined;
    const known: Readonly<Record<number, IcmpReason>> = {
      1: "prohibited",
      4: "port unreachable",
      5: "prohibited",
      6: "prohibited",
    };
    return known[code] ?? "host unreachable";
  },
};

/** The numbers of `family`. */
export function icmpOf(family: Family): IcmpKind {
  return family === IPV4 ? ICMPV4 : ICMPV6;
}

/**
 * An echo request whose IP packet has `packetBytes` bytes, headers included. The payload begins with `cookie`.
 * ICMPv6's checksum is left to the kernel, which knows the addresses.
 *
 * @param packetBytes At least the IP header, the ICMP header and the cookie.
 * @throws {RangeError} If `packetBytes` is less than that or more than an IP packet can have.
 */
export function encodeEchoRequest(
  family: Family,
  { id, sequence, cookie, packetBytes }: {
    readonly id: number;
    readonly sequence: number;
    readonly cookie: Uint8Array;
    readonly packetBytes: number;
  },
): Uint8Array<ArrayBuffer> {
  const length = packetBytes - family.headerBytes;
  if (length < ICMP_HEADER + cookie.length || packetBytes > 65_535) {
    const least = family.headerBytes + ICMP_HEADER + cookie.length;
    throw new RangeError(`An ${family.label} echo request has ${least} to 65535 bytes: got ${packetBytes}`);
  }
  const bytes = new Uint8Array(new ArrayBuffer(length));
  const view = new DataView(bytes.buffer);
  view.setUint8(0, icmpOf(family).echoRequest);
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  bytes.set(cookie, ICMP_HEADER);
  if (family === IPV4) view.setUint16(2, ~sumOf(bytes) & 0xffff);
  return bytes;
}

/** The Internet checksum's sum (RFC 1071) of some bytes, not complemented. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  return fold(sum);
}

/**
 * Reads what a raw socket gave: for IPv4 a whole IP packet, for IPv6 the ICMPv6 message alone (RFC 3542, 3).
 * Undefined for what no probe waits for, and for what is cut off or malformed.
 */
export function decodeIcmp(family: Family, bytes: Uint8Array): IcmpMessage | undefined {
  const message = family === IPV4 ? afterIpv4(bytes) : bytes;
  if (!message || message.length < ICMP_HEADER) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const kind = icmpOf(family);
  const type = message[0]!;
  if (type === kind.echoReply) {
    return {
      kind: "reply",
      id: view.getUint16(4),
      sequence: view.getUint16(6),
      payload: message.subarray(ICMP_HEADER),
    };
  }
  const reason = kind.reason(type, message[1]!);
  if (!reason) return undefined;
  const quoted = readQuoted(family, message.subarray(ICMP_HEADER));
  if (!quoted) return undefined;
  const mtu = kind.mtuAt === 4 ? view.getUint32(4) : view.getUint16(6);
  return { kind: "error", reason, ...reason === "too big" ? { mtu } : {}, ...quoted };
}

/** What follows an IPv4 header; undefined if that isn't whole. */
function afterIpv4(packet: Uint8Array): Uint8Array | undefined {
  const header = ((packet[0] ?? 0) & 15) << 2;
  return header < IPV4.headerBytes || packet.length < header ? undefined : packet.subarray(header);
}

/** The packet that an error is about: the addresses, and the first 8 bytes after its IP header. */
function readQuoted(family: Family, packet: Uint8Array) {
  const isV4 = family === IPV4;
  const header = isV4 ? ((packet[0] ?? 0) & 15) << 2 : family.headerBytes;
  if (header < family.headerBytes || packet.length < header) return undefined;
  const destinationAt = isV4 ? 16 : 24;
  const destination = ipFromBytes(packet.subarray(destinationAt, destinationAt + family.bytes));
  const protocol = packet[isV4 ? 9 : 6]!;
  const upper = packet.subarray(header);
  if (upper.length < 8) return { destination, protocol };
  const view = new DataView(upper.buffer, upper.byteOffset, upper.length);
  const { protocol: icmp, echoRequest } = icmpOf(family);
  if (protocol === icmp && upper[0] === echoRequest) {
    return { destination, protocol, id: view.getUint16(4), sequence: view.getUint16(6) };
  }
  const hasPorts = protocol === 17 || protocol === 6;
  return { destination, protocol, ...hasPorts ? { destinationPort: view.getUint16(2) } : {} };
}

/**
 * IPv4, IPv6, TCP and UDP headers: where the fields are, and a reader that believes nothing it hasn't checked.
 *
 * Offsets count from the start of the header they belong to. Sources: RFC 791, 8200, 9293, 768.
 *
 * @module
 */
import type { PacketMemory } from "./memory.ts";

/** Protocol numbers (IANA): IPv4's protocol field and IPv6's next header. */
export const ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58;

/** Lengths in bytes of headers without options. */
export const IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20, UDP_HEADER = 8;

/** Fields of an IPv4 header. */
export const IPV4_TOS = 1, IPV4_LENGTH = 2, IPV4_ID = 4, IPV4_FRAGMENT = 6, IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9, IPV4_CHECKSUM = 10, IPV4_SOURCE = 12, IPV4_DESTINATION = 16;

/** Fields of an IPv6 header. */
export const IPV6_LENGTH = 4,
  IPV6_NEXT_HEADER = 6,
  IPV6_HOP_LIMIT = 7,
  IPV6_SOURCE = 8,
  IPV6_DESTINATION = 24;

/** Fields of a TCP header. */
export const TCP_SEQUENCE = 4, TCP_ACK = 8, TCP_DATA_OFFSET = 12, TCP_FLAGS = 13, TCP_CHECKSUM = 16;

/** Fields of a UDP header. */
export const UDP_LENGTH = 4, UDP_CHECKSUM = 6;

/** TCP flags (the header's byte 13). */
export const FIN = 0x01, PSH = 0x08, ACK = 0x10, CWR = 0x80;

/** IPv4's "more fragments" bit and offset, in the 16 bits at {@link IPV4_FRAGMENT}. */
const IPV4_MORE_AND_OFFSET = 0x3fff;

/** Where the addresses of an IP header are, in bytes. */
export interface IpAddresses {
  readonly source: number;
  readonly destination: number;
  /** Length of each in bytes. */
  readonly length: 4 | 16;
}

/** {@link IpAddresses} of both versions. */
export const IPV4_ADDRESSES: IpAddresses = { source: IPV4_SOURCE, destination: IPV4_DESTINATION, length: 4 };
export const IPV6_ADDRESSES: IpAddresses = { source: IPV6_SOURCE, destination: IPV6_DESTINATION, length: 16 };

/** The big-endian 16 bits at `at`. */
export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** The big-endian 32 bits at `at`, as a signed number: for comparing and for arithmetic modulo 2^32. */
export function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Stores 16 bits big-endian. */
export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Stores 32 bits big-endian. */
export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** What {@link IpHeader.read} found. */
export const IP_OK = 0;
/** Shorter than the header that it should have. */
export const IP_TRUNCATED = 1;
/** Neither IPv4 nor IPv6. */
export const IP_VERSION = 2;
/** IPv4's header length is below 20 or beyond the packet. */
const IP_HEADER_LENGTH = 3;
/** The header's length isn't the packet's. */
const IP_LENGTH = 4;

/** The outcome of reading an IP header. */
export type IpFault =
  | typeof IP_OK
  | typeof IP_TRUNCATED
  | typeof IP_VERSION
  | typeof IP_HEADER_LENGTH
  | typeof IP_LENGTH;

/** The fields of an IP header that decide what happens to the packet. One object serves for all packets. */
export class IpHeader {
  /** 4 or 6. */
  version = 0;
  /** Length of the IP header in bytes, IPv4 options included, IPv6 extension headers not. */
  headerLength = 0;
  /** IPv4 protocol or IPv6 next header. */
  protocol = 0;
  /** Whether this is an IPv4 fragment, the first one included. */
  fragment = false;

  /**
   * Reads the header of the packet of `length` bytes at `at` (the range must lie inside the memory). The packet
   * must be exactly as long as its header says. Where the result isn't {@link IP_OK} the fields mean nothing.
   */
  read(memory: PacketMemory, at: number, length: number): IpFault {
    if (length < IPV4_HEADER) return IP_TRUNCATED;
    const { u8 } = memory;
    const version = u8[at]! >>> 4;
    this.version = version;
    if (version === 4) {
      const headerLength = (u8[at]! & 15) << 2;
      if (headerLength < IPV4_HEADER || headerLength > length) return IP_HEADER_LENGTH;
      if (read16(u8, at + IPV4_LENGTH) !== length) return IP_LENGTH;
      this.headerLength = headerLength;
      this.protocol = u8[at + IPV4_PROTOCOL]!;
      this.fragment = (read16(u8, at + IPV4_FRAGMENT) & IPV4_MORE_AND_OFFSET) !== 0;
      return IP_OK;
    }
    if (version !== 6) return IP_VERSION;
    if (length < IPV6_HEADER) return IP_TRUNCATED;
    if (read16(u8, at + IPV6_LENGTH) + IPV6_HEADER !== length) return IP_LENGTH;
    this.headerLength = IPV6_HEADER;
    this.protocol = u8[at + IPV6_NEXT_HEADER]!;
    this.fragment = false;
    return IP_OK;
  }
}

/**
 * The sum of a TCP or UDP pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1): addresses, protocol and the length of
 * everything after the IP header. The same for both families, as the higher length bits are 0.
 */
export function pseudoHeaderSum(
  memory: PacketMemory,
  at: number,
  version: number,
  protocol: number,
  l4Length: number,
): number {
  const addresses = version === 4 ? memory.sum(at + IPV4_SOURCE, 8) : memory.sum(at + IPV6_SOURCE, 32);
  const sum = addresses + protocol + l4Length;
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

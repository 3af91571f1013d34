/**
 * ICMP errors (RFC 792, with the rules of RFC 1122, 3.2.2 and RFC 1812, 4.3.2).
 *
 * @module
 */
import * as h from "./headers.ts";
import type { PacketMemory } from "./memory.ts";

/** Kinds of ICMP errors, as type * 256 + code. */
export const NET_UNREACHABLE = 0x0300, TIME_EXCEEDED = 0x0b00;

/** An ICMP error that can be made here. */
export type IcmpError = typeof NET_UNREACHABLE | typeof TIME_EXCEEDED;

/** The longest error packet: RFC 1812 wants as much of the cause as fits into 576 bytes. */
export const MAX_ICMP_ERROR = 576;

const ICMP_HEADER = 8;
const ECHO_REQUEST = 8;
const INITIAL_TTL = 64;
/** Internetwork control: what RFC 1812, 4.3.2.5 has errors sent with. */
const TOS_CONTROL = 0xc0;

/**
 * Makes the error about the IPv4 packet of `length` bytes at `at`, addressed to its source. Both ranges must lie
 * inside the memory and mustn't overlap.
 *
 * @param to Where the error goes; {@link MAX_ICMP_ERROR} bytes must be free.
 * @param source The address it comes from, as a number.
 * @returns The error's length, or 0 if no error may be sent about this packet.
 */
export function makeIcmpError(
  memory: PacketMemory,
  error: IcmpError,
  at: number,
  length: number,
  to: number,
  source: number,
): number {
  if (!mayBeAnswered(memory, error, at, length)) return 0;
  const { u8 } = memory;
  const quoted = Math.min(length, MAX_ICMP_ERROR - h.IPV4_HEADER - ICMP_HEADER);
  const total = h.IPV4_HEADER + ICMP_HEADER + quoted;
  const icmp = to + h.IPV4_HEADER;
  u8.fill(0, to, icmp + ICMP_HEADER);
  u8[to] = 0x45;
  u8[to + h.IPV4_TOS] = TOS_CONTROL;
  h.write16(u8, to + h.IPV4_LENGTH, total);
  u8[to + h.IPV4_TTL] = INITIAL_TTL;
  u8[to + h.IPV4_PROTOCOL] = h.ICMP;
  h.write32(u8, to + h.IPV4_SOURCE, source);
  h.write32(u8, to + h.IPV4_DESTINATION, h.read32(u8, at + h.IPV4_SOURCE));
  h.write16(u8, to + h.IPV4_CHECKSUM, ~memory.sum(to, h.IPV4_HEADER));
  h.write16(u8, icmp, error);
  u8.copyWithin(icmp + ICMP_HEADER, at, at + quoted);
  h.write16(u8, icmp + 2, ~memory.sum(icmp, ICMP_HEADER + quoted));
  return total;
}

/** Never about ICMP errors, later fragments, or packets from or to what is no single host. */
function mayBeAnswered(memory: PacketMemory, error: IcmpError, at: number, length: number): boolean {
  const { u8 } = memory;
  if (length < h.IPV4_HEADER || u8[at]! >>> 4 !== 4) return false;
  const header = (u8[at]! & 15) << 2;
  if (header < h.IPV4_HEADER || header > length) return false;
  if ((h.read16(u8, at + h.IPV4_FRAGMENT) & 0x1fff) !== 0) return false;
  if (!isHost(u8[at + h.IPV4_SOURCE]!) || !isHost(u8[at + h.IPV4_DESTINATION]!)) return false;
  if (u8[at + h.IPV4_PROTOCOL] !== h.ICMP) return true;
  // Traceroutes that send echo requests need the answer; about a missing route the original keeps silent.
  return error === TIME_EXCEEDED && length > header && u8[at + header] === ECHO_REQUEST;
}

/** Whether an address with this first byte is a single host's: not 0/8, 127/8, multicast or above. */
function isHost(firstByte: number): boolean {
  return firstByte !== 0 && firstByte !== 127 && firstByte < 224;
}

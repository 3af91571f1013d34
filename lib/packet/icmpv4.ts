/**
 * ICMP errors about IPv4 packets.
 *
 * @module
 */
import * as h from "./headers.ts";
import { ICMP_HEADER, type IcmpError, INITIAL_TTL, MAX_ICMPV4_ERROR, TIME_EXCEEDED } from "./icmp_kinds.ts";
import type { PacketMemory } from "./memory.ts";

/** Type * 256 + code of each kind: net unreachable, time exceeded in transit, fragmentation needed. */
const TYPE_AND_CODE = [0x0300, 0x0b00, 0x0304] as const;

const ECHO_REQUEST = 8;
/** Internetwork control: what RFC 1812, 4.3.2.5 has errors sent with. */
const TOS_CONTROL = 0xc0;

/** {@link ./icmp.ts makeIcmpError} for IPv4. */
export function makeIcmpv4Error(
  memory: PacketMemory,
  error: IcmpError,
  at: number,
  length: number,
  to: number,
  source: Int32Array,
  mtu: number,
): number {
  if (!mayBeAnswered(memory, error, at, length)) return 0;
  const { u8 } = memory;
  const quoted = Math.min(length, MAX_ICMPV4_ERROR - h.IPV4_HEADER - ICMP_HEADER);
  const total = h.IPV4_HEADER + ICMP_HEADER + quoted;
  const icmp = to + h.IPV4_HEADER;
  u8.fill(0, to, icmp + ICMP_HEADER);
  u8[to] = 0x45;
  u8[to + h.IPV4_TOS] = TOS_CONTROL;
  h.write16(u8, to + h.IPV4_LENGTH, total);
  u8[to + h.IPV4_TTL] = INITIAL_TTL;
  u8[to + h.IPV4_PROTOCOL] = h.ICMP;
  h.write32(u8, to + h.IPV4_SOURCE, source[0]!);
  h.write32(u8, to + h.IPV4_DESTINATION, h.read32(u8, at + h.IPV4_SOURCE));
  h.write16(u8, to + h.IPV4_CHECKSUM, ~memory.sum(to, h.IPV4_HEADER));
  h.write16(u8, icmp, TYPE_AND_CODE[error]);
  // Only "fragmentation needed" has an MTU there (RFC 1191, 4).
  h.write16(u8, icmp + 6, mtu);
  u8.copyWithin(icmp + ICMP_HEADER, at, at + quoted);
  h.write16(u8, icmp + 2, ~memory.sum(icmp, ICMP_HEADER + quoted));
  return total;
}

/** Never about ICMP errors, later fragments, or packets from or to what isn't a single host. */
function mayBeAnswered(memory: PacketMemory, error: IcmpError, at: number, length: number): boolean {
  const { u8 } = memory;
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

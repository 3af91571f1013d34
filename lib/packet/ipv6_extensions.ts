/**
 * The way through IPv6 extension headers (RFC 8200, 4).
 *
 * @module
 */
import { IPV6_HEADER, IPV6_NEXT_HEADER } from "./headers.ts";
import type { PacketMemory } from "./memory.ts";

/** Next header values of the extension headers that routers and hosts add. */
const HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION_OPTIONS = 60;

/** Length of a fragment header in bytes, which has no length field. */
const FRAGMENT_HEADER = 8;

/** The header behind the extension headers. */
export interface UpperLayer {
  /** From the packet's first byte; -1: there is none in this packet (a later fragment, a header that is cut off). */
  readonly offset: number;
  /** Next header value of what stands there: TCP, UDP, ICMPv6, ESP, none (59) … */
  readonly protocol: number;
}

const ABSENT: UpperLayer = { offset: -1, protocol: 0 };

/** Finds the upper-layer header of the IPv6 packet of `length` bytes (at least 40) at `at`. */
export function findUpperLayer(memory: PacketMemory, at: number, length: number): UpperLayer {
  const { u8 } = memory;
  let protocol = u8[at + IPV6_NEXT_HEADER]!;
  let offset = IPV6_HEADER;
  while (isExtension(protocol)) {
    if (offset + 8 > length) return ABSENT;
    const next = u8[at + offset]!, units = u8[at + offset + 1]!;
    if (protocol === FRAGMENT) {
      // An offset other than 0: the upper-layer header is in the first fragment.
      if ((u8[at + offset + 2]! << 8 | u8[at + offset + 3]! & 0xf8) !== 0) return ABSENT;
      offset += FRAGMENT_HEADER;
    } else {
      // Units of 8 bytes without the first; of 4 without the first two in the authentication header (RFC 4302, 2.2).
      offset += protocol === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8;
    }
    protocol = next;
  }
  return offset > length ? ABSENT : { offset, protocol };
}

function isExtension(protocol: number): boolean {
  return protocol === HOP_BY_HOP || protocol === ROUTING || protocol === FRAGMENT ||
    protocol === AUTHENTICATION || protocol === DESTINATION_OPTIONS;
}

/**
 * Which received packets may be merged, and which of them belong together.
 *
 * Merging is invisible only between packets that the kernel, segmenting again, would make of one super-packet:
 * everything that isn't recomputed must be equal. What the kernel does recompute are the checksums, which is why
 * they are verified here: merging must not launder a corrupt packet.
 *
 * @module
 */
import { fold } from "./sum.ts";
import * as h from "./headers.ts";
import type { PacketMemory } from "./memory.ts";

/** What is merged. */
export interface MergeKinds {
  /** TCP into TSO super-packets. */
  tcp: boolean;
  /** UDP into USO super-packets (Linux 6.2). */
  udp: boolean;
}

/** Bits of {@link MergeCandidate.slot}. */
export const SLOT_BITS = 6;

/** Value of {@link MergeCandidate.slot} for a packet whose flow is unknown. */
export const NO_FLOW = -1;

const CORRECT = 0xffff;

/** What merging needs to know of a packet. One object serves for all packets. */
export class MergeCandidate {
  /** Hash of the flow (addresses, protocol, ports) of {@link SLOT_BITS} bits; or {@link NO_FLOW}. */
  slot = NO_FLOW;
  /** Whether it may be merged at all; if not, but it has a flow, it only seals that flow's chain. */
  mergeable = false;
  protocol = 0;
  /** Length of IP and L4 header in bytes. */
  headers = 0;
  /** Payload in bytes, above 0. */
  payload = 0;
  /** TCP sequence number, as a signed number. */
  sequence = 0;
  /** IPv4 identification. */
  id = 0;
  /** TCP's PSH: the chain ends with this packet. */
  push = false;

  readonly #memory: PacketMemory;
  readonly #ip = new h.IpHeader();

  constructor(memory: PacketMemory) {
    this.#memory = memory;
  }

  /** Reads the packet of `length` bytes at `at`. */
  read(at: number, length: number, kinds: MergeKinds): void {
    const { u8 } = this.#memory;
    const ip = this.#ip;
    this.slot = NO_FLOW;
    this.mergeable = this.push = false;
    if (ip.read(this.#memory, at, length) !== h.IP_OK || ip.fragment) return;
    const v4 = ip.version === 4;
    const l4 = ip.headerLength;
    const tcp = ip.protocol === h.TCP;
    if (!tcp && ip.protocol !== h.UDP) return;
    if (length - l4 < (tcp ? h.TCP_HEADER : h.UDP_HEADER)) return;
    // Same flow, same slot: the lower address bits and the ports distinguish flows well enough.
    const { view } = this.#memory;
    const addresses = v4
      ? view.getInt32(at + 12) ^ view.getInt32(at + 16)
      : view.getInt32(at + 20) ^ view.getInt32(at + 36);
    const mixed = Math.imul(addresses ^ view.getInt32(at + l4) ^ ip.protocol, 0x9e3779b1);
    // The highest bits of a product depend on all bits of its factors, those of the source port included.
    this.slot = mixed >>> 32 - SLOT_BITS;
    this.protocol = ip.protocol;
    this.id = v4 ? h.read16(u8, at + h.IPV4_ID) : 0;
    if (v4 && (l4 !== h.IPV4_HEADER || (u8[at + h.IPV4_FRAGMENT]! & 0x80) !== 0)) return;
    const fits = tcp
      ? kinds.tcp && this.#readTcp(at + l4, length - l4)
      : kinds.udp && this.#readUdp(at + l4, length - l4);
    if (!fits) return;
    this.headers += l4;
    this.mergeable = true;
  }

  #readTcp(l4: number, length: number): boolean {
    const { u8 } = this.#memory;
    const header = (u8[l4 + h.TCP_DATA_OFFSET]! >>> 4) << 2;
    const flags = u8[l4 + h.TCP_FLAGS]!;
    if (header < h.TCP_HEADER || header >= length) return false;
    // Only plain data: everything else (SYN, FIN, RST, URG, ECE, CWR, AccECN) means something per packet.
    if ((flags & ~h.PSH) !== h.ACK || (u8[l4 + h.TCP_DATA_OFFSET]! & 15) !== 0) return false;
    this.headers = header;
    this.payload = length - header;
    this.sequence = h.read32(u8, l4 + h.TCP_SEQUENCE);
    this.push = (flags & h.PSH) !== 0;
    return true;
  }

  #readUdp(l4: number, length: number): boolean {
    const { u8 } = this.#memory;
    if (h.read16(u8, l4 + h.UDP_LENGTH) !== length || length === h.UDP_HEADER) return false;
    // No checksum (IPv4): the kernel would give the segments one.
    if (h.read16(u8, l4 + h.UDP_CHECKSUM) === 0) return false;
    this.headers = h.UDP_HEADER;
    this.payload = length - h.UDP_HEADER;
    this.sequence = 0;
    return true;
  }

  /**
   * Whether the checksums of a packet of this flow hold: of the one that was read, or of one that it may follow.
   * Costs the sum of the whole packet, so it is asked only once a merge wants the packet.
   */
  checksumsHold(at: number, length: number): boolean {
    const memory = this.#memory;
    const v4 = memory.u8[at]! >>> 4 === 4;
    if (v4 && memory.sum(at, h.IPV4_HEADER) !== CORRECT) return false;
    // The addresses of the pseudo-header stand right before L4: there are no options here.
    const addresses = v4 ? h.IPV4_SOURCE : h.IPV6_SOURCE;
    const l4Length = length - (v4 ? h.IPV4_HEADER : h.IPV6_HEADER);
    return fold(memory.sum(at + addresses, length - addresses) + this.protocol + l4Length) === CORRECT;
  }

  /**
   * Whether the packet at `at` has the same headers as the chain's first one, but for what differs between
   * segments. Lengths, protocol and sequence number have been compared.
   *
   * Compares words, with masks for what is left out. Words are little-endian: the lowest byte comes first.
   *
   * @param id The IPv4 identification that must follow where fragmentation is allowed.
   */
  follows(first: number, at: number, id: number): boolean {
    const { u8 } = this.#memory;
    let l4 = h.IPV6_HEADER;
    let differing: number;
    if (u8[at]! >>> 4 === 4) {
      l4 = h.IPV4_HEADER;
      // Version, header length and TOS; fragmentation; TTL and protocol; both addresses.
      differing = this.#xor(first, at, 0) & 0xffff | this.#xor(first, at, h.IPV4_ID) & ~0xffff |
        this.#xor(first, at, h.IPV4_TTL) & 0xffff | this.#xor(first, at, h.IPV4_SOURCE) |
        this.#xor(first, at, h.IPV4_DESTINATION);
      // Without DF the identification means something (RFC 6864): segments count it up.
      if ((u8[at + h.IPV4_FRAGMENT]! & 0x40) === 0 && this.id !== id) return false;
    } else {
      // Version, traffic class and flow label; next header and hop limit; both addresses.
      differing = this.#xor(first, at, 0) | this.#xor(first, at, h.IPV6_LENGTH) & ~0xffff;
      for (let i = h.IPV6_SOURCE; i < l4; i += 4) differing |= this.#xor(first, at, i);
    }
    differing |= this.#xor(first, at, l4);
    if (this.protocol === h.UDP) return differing === 0;
    // Acknowledgement; data offset and window, without the flags; urgent pointer; options.
    differing |= this.#xor(first, at, l4 + h.TCP_ACK) |
      this.#xor(first, at, l4 + h.TCP_DATA_OFFSET) & ~0xff00 |
      this.#xor(first, at, l4 + h.TCP_CHECKSUM) & ~0xffff;
    for (let i = l4 + h.TCP_HEADER; i < this.headers; i += 4) differing |= this.#xor(first, at, i);
    return differing === 0;
  }

  #xor(a: number, b: number, offset: number): number {
    const { view } = this.#memory;
    return view.getInt32(a + offset, true) ^ view.getInt32(b + offset, true);
  }
}

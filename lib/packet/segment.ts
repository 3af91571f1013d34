/**
 * Segmentation of the super-packets that a TUN with TSO or USO hands out, as the kernel or a network card would
 * do it.
 *
 * Terms: a *super-packet* is one IP packet of up to 64 KiB with one TCP or UDP header; its payload is cut every
 * `gsoSize` bytes; each *segment* is a packet of its own with the super-packet's headers, adjusted. Payload isn't
 * copied: a segment is a header written by {@link Segmenter.header} plus a range of the super-packet.
 *
 * @module
 */
import { addSums, fold } from "./sum.ts";
import * as h from "./headers.ts";
import type { PacketMemory } from "./memory.ts";
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, type VnetHeader } from "./virtio.ts";

/** Room that {@link Segmenter.header} may need: the longest IPv4 and TCP headers, or IPv6 with some extensions. */
export const MAX_HEADERS = 192;

/** Cuts one super-packet at a time. One object serves for all packets. */
export class Segmenter {
  /** How many segments the super-packet makes. */
  count = 0;
  /** Length in bytes of each segment's headers. */
  headerLength = 0;
  /** Payload bytes of each segment but the last. */
  gsoSize = 0;
  /** Offset of the first segment's payload in the memory; the others follow without a gap. */
  payload = 0;

  readonly #ip = new h.IpHeader();
  #at = 0;
  #l4 = 0;
  #protocol = 0;
  #version = 0;
  #payloadLength = 0;
  #flags = 0;
  #sequence = 0;
  #id = 0;
  /** Sum of the IPv4 header without length, ID and checksum. */
  #ipSum = 0;
  /** Sum of pseudo-header and L4 header without everything that differs between segments. */
  #l4Sum = 0;

  constructor(readonly memory: PacketMemory) {}

  /**
   * Takes the super-packet of `length` bytes at `at`, which must lie inside the memory and stay unchanged until
   * its last segment is made.
   *
   * @returns False if header and packet contradict each other: such a packet can only be dropped.
   */
  begin(at: number, length: number, vnet: VnetHeader): boolean {
    const { u8 } = this.memory;
    const protocol = this.#protocolOf(at, length, vnet);
    if (protocol === 0) return false;
    const l4 = vnet.checksumStart;
    const minimum = protocol === h.TCP ? h.TCP_HEADER : h.UDP_HEADER;
    if (l4 + minimum > length) return false;
    // hdr_len is a hint; only the L4 header says where the payload starts.
    const l4Header = protocol === h.TCP ? (u8[at + l4 + h.TCP_DATA_OFFSET]! >>> 4) << 2 : h.UDP_HEADER;
    const headerLength = l4 + l4Header;
    if (l4Header < minimum || headerLength > MAX_HEADERS || headerLength >= length) return false;
    this.#at = at;
    this.#l4 = l4;
    this.#protocol = protocol;
    this.headerLength = headerLength;
    this.gsoSize = vnet.gsoSize;
    this.payload = at + headerLength;
    this.#payloadLength = length - headerLength;
    this.count = Math.ceil(this.#payloadLength / vnet.gsoSize);
    this.#sumHeaders();
    return true;
  }

  /** The L4 protocol that type and headers agree on, or 0. */
  #protocolOf(at: number, length: number, vnet: VnetHeader): number {
    if (vnet.gsoSize === 0 || (vnet.flags & NEEDS_CSUM) === 0) return 0;
    const ip = this.#ip;
    if (ip.read(this.memory, at, length) !== h.IP_OK || ip.fragment) return 0;
    const type = vnet.gsoType;
    const tcp = type === (ip.version === 4 ? GSO_TCPV4 : GSO_TCPV6);
    if (!tcp && type !== GSO_UDP_L4) return 0;
    const protocol = tcp ? h.TCP : h.UDP;
    if (vnet.checksumOffset !== (tcp ? h.TCP_CHECKSUM : h.UDP_CHECKSUM)) return 0;
    // IPv6 may have extension headers before L4; only csum_start says where that is.
    const placed = ip.version === 4
      ? ip.protocol === protocol && vnet.checksumStart === ip.headerLength
      : vnet.checksumStart >= h.IPV6_HEADER &&
        (ip.protocol === protocol || vnet.checksumStart > h.IPV6_HEADER);
    if (!placed) return 0;
    this.#version = ip.version;
    return protocol;
  }

  /** Sums once what all segments share, so that a segment costs the sum of its own payload only. */
  #sumHeaders(): void {
    const { memory } = this;
    const { u8 } = memory;
    const at = this.#at, l4 = at + this.#l4;
    if (this.#version === 4) {
      this.#id = h.read16(u8, at + h.IPV4_ID);
      const all = memory.sum(at, this.#l4);
      const differing = addSums(
        addSums(h.read16(u8, at + h.IPV4_LENGTH), this.#id),
        h.read16(u8, at + h.IPV4_CHECKSUM),
      );
      this.#ipSum = addSums(all, ~differing & 0xffff);
    }
    const pseudo = this.#pseudoSum();
    const header = memory.sum(l4, this.headerLength - this.#l4);
    let differing: number;
    if (this.#protocol === h.TCP) {
      this.#sequence = h.read32(u8, l4 + h.TCP_SEQUENCE);
      this.#flags = u8[l4 + h.TCP_FLAGS]!;
      const sequence = fold(this.#sequence >>> 0);
      differing = addSums(addSums(sequence, this.#flags), h.read16(u8, l4 + h.TCP_CHECKSUM));
    } else {
      differing = addSums(h.read16(u8, l4 + h.UDP_LENGTH), h.read16(u8, l4 + h.UDP_CHECKSUM));
    }
    this.#l4Sum = addSums(pseudo, addSums(header, ~differing & 0xffff));
  }

  /** The pseudo-header's sum without the length. */
  #pseudoSum(): number {
    const at = this.#at, l4 = at + this.#l4;
    if (this.#l4 === h.IPV6_HEADER || this.#version === 4) {
      return h.pseudoHeaderSum(this.memory, at, this.#version, this.#protocol, 0);
    }
    // A routing header may hold the last destination, which is what counts (RFC 8200, 8.1): the sender's sum, which
    // stands in the checksum field together with the length, knows of it.
    const field = l4 + (this.#protocol === h.TCP ? h.TCP_CHECKSUM : h.UDP_CHECKSUM);
    const length = this.headerLength - this.#l4 + this.#payloadLength;
    return addSums(h.read16(this.memory.u8, field), ~length & 0xffff);
  }

  /** Payload bytes of segment `i`. */
  payloadLength(i: number): number {
    return Math.min(this.gsoSize, this.#payloadLength - i * this.gsoSize);
  }

  /**
   * Writes the headers of segment `i` (0 to `count` - 1) at `to`, where {@link MAX_HEADERS} bytes must be free.
   *
   * @returns The segment's length with its payload.
   */
  header(i: number, to: number): number {
    const { u8 } = this.memory;
    const at = this.#at, headerLength = this.headerLength;
    this.#copy(at, to, headerLength);
    const payload = this.payloadLength(i);
    const length = headerLength + payload;
    if (this.#version === 4) {
      const id = (this.#id + i) & 0xffff;
      h.write16(u8, to + h.IPV4_LENGTH, length);
      h.write16(u8, to + h.IPV4_ID, id);
      h.write16(u8, to + h.IPV4_CHECKSUM, ~addSums(this.#ipSum, addSums(length, id)));
    } else {
      h.write16(u8, to + h.IPV6_LENGTH, length - h.IPV6_HEADER);
    }
    const sum = this.memory.sum(this.payload + i * this.gsoSize, payload);
    if (this.#protocol === h.TCP) this.#finishTcp(i, to + this.#l4, length - this.#l4, sum);
    else this.#finishUdp(to + this.#l4, length - this.#l4, sum);
    return length;
  }

  #finishTcp(i: number, l4: number, l4Length: number, payloadSum: number): void {
    const { u8 } = this.memory;
    const sequence = (this.#sequence + i * this.gsoSize) | 0;
    let flags = this.#flags;
    if (i < this.count - 1) flags &= ~(h.FIN | h.PSH);
    if (i > 0) flags &= ~h.CWR;
    h.write32(u8, l4 + h.TCP_SEQUENCE, sequence);
    u8[l4 + h.TCP_FLAGS] = flags;
    const own = addSums(addSums(fold(sequence >>> 0), flags), l4Length);
    h.write16(u8, l4 + h.TCP_CHECKSUM, ~addSums(this.#l4Sum, addSums(own, payloadSum)));
  }

  #finishUdp(l4: number, l4Length: number, payloadSum: number): void {
    const { u8 } = this.memory;
    h.write16(u8, l4 + h.UDP_LENGTH, l4Length);
    // The length counts twice: in the pseudo-header and in the header.
    const own = addSums(l4Length, l4Length);
    const checksum = ~addSums(this.#l4Sum, addSums(own, payloadSum)) & 0xffff;
    h.write16(u8, l4 + h.UDP_CHECKSUM, checksum === 0 ? 0xffff : checksum);
  }

  #copy(from: number, to: number, length: number): void {
    const { u8, u32 } = this.memory;
    if (((from | to | length) & 3) === 0) {
      for (let i = 0, a = from >>> 2, b = to >>> 2, n = length >>> 2; i < n; i++) u32[b + i] = u32[a + i]!;
    } else {
      for (let i = 0; i < length; i++) u8[to + i] = u8[from + i]!;
    }
  }
}

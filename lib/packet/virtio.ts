/**
 * The virtio_net_hdr that a TUN queue with IFF_VNET_HDR puts before each packet (linux/virtio_net.h): 10 bytes,
 * host-endian (both of this project's machines are little-endian).
 *
 * @module
 */
import type { PacketMemory } from "./memory.ts";

/** Length of the header in bytes. */
export const VNET_HEADER = 10;

/** Flag: the L4 checksum is still to be computed. */
export const NEEDS_CSUM = 1;

/** Kinds of segmentation (gso_type without {@link GSO_ECN}). */
export const GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5;

/** Bit beside the type: the TCP flow uses ECN, so CWR belongs to the first segment only. */
const GSO_ECN = 0x80;

/** The header's fields. One object serves for all packets. */
export class VnetHeader {
  flags = 0;
  /** GSO_ value without the ECN bit. */
  gsoType = 0;
  /** Length of all headers in bytes; a hint that can't be trusted when it comes from the kernel. */
  headerLength = 0;
  /** Payload bytes of each segment but the last. */
  gsoSize = 0;
  /** Where the L4 header starts, from the packet's first byte. */
  checksumStart = 0;
  /** Where the checksum stands, from {@link checksumStart}. */
  checksumOffset = 0;

  /** Reads the 10 bytes at `at`. */
  read(memory: PacketMemory, at: number): void {
    const { u8 } = memory;
    this.flags = u8[at]!;
    this.gsoType = u8[at + 1]! & ~GSO_ECN;
    this.headerLength = u8[at + 2]! | (u8[at + 3]! << 8);
    this.gsoSize = u8[at + 4]! | (u8[at + 5]! << 8);
    this.checksumStart = u8[at + 6]! | (u8[at + 7]! << 8);
    this.checksumOffset = u8[at + 8]! | (u8[at + 9]! << 8);
  }

  /** Writes the 10 bytes at `at`. */
  write(memory: PacketMemory, at: number): void {
    const { u8 } = memory;
    u8[at] = this.flags;
    u8[at + 1] = this.gsoType;
    writeLittle(u8, at + 2, this.headerLength);
    writeLittle(u8, at + 4, this.gsoSize);
    writeLittle(u8, at + 6, this.checksumStart);
    writeLittle(u8, at + 8, this.checksumOffset);
  }

  /** Makes it the header of a packet that is complete as it is. */
  clear(): void {
    this.flags =
      this.gsoType =
      this.headerLength =
      this.gsoSize =
      this.checksumStart =
      this.checksumOffset =
        0;
  }
}

function writeLittle(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
}

/**
 * Reads the packets of one interface (packet(7)), as far as a filter in the kernel lets them through. Needs
 * CAP_NET_RAW.
 *
 * @module
 */
import { attachProgram } from "../ffi/bpf.ts";
import { check, EAGAIN, EINTR, errno, SystemError } from "../ffi/errno.ts";
import { closeFd, setSocketOption } from "../ffi/fd.ts";
import { addressOf, libc } from "../ffi/libc.ts";
import type { LinkHeader } from "./filter.ts";

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0x80000 | 0x800;
/** struct sockaddr_ll { u16 family; be16 protocol; i32 ifindex; u16 hatype; u8 pkttype; u8 halen; u8 addr[8]; } */
const SOCKADDR_LL_BYTES = 20;
const ETH_P_ALL = 0x0003;
/** linux/if_arp.h: links whose frames begin with an Ethernet header. */
const ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772;
// linux/if_packet.h
const SOL_PACKET = 263, PACKET_STATISTICS = 6;
const PACKET_OUTGOING = 4;
const SOL_SOCKET = 1, SO_RCVBUFFORCE = 33, SO_TIMESTAMPNS = 35;
const MSG_TRUNC = 0x20;

/** struct msghdr { void *name; u32 namelen; iovec *iov; size_t iovlen; void *control; size_t controllen; i32 flags; } */
const MSGHDR_BYTES = 56;
/** struct mmsghdr { msghdr; u32 len; } with its padding. */
const MMSGHDR_BYTES = 64;
/** struct cmsghdr { size_t len; i32 level; i32 type; } and a struct timespec. */
const CONTROL_BYTES = 32;

/** The longest packet that is kept whole: GSO packets have up to 64 KiB. */
export const SNAP_LENGTH = 65_536;
/** How much memory a tap takes. */
export interface TapSizes {
  /** The longest part of a packet that is read, in bytes. */
  readonly snapLength: number;
  /** Packets that one system call reads. */
  readonly batch: number;
  /** What waits in the kernel while this process is busy, in bytes. */
  readonly receiveBufferBytes: number;
}

/** For whole packets at full rate. */
const WHOLE: TapSizes = { snapLength: SNAP_LENGTH, batch: 64, receiveBufferBytes: 16 * 1024 * 1024 };

/** A packet; valid until the tap reads again. */
export interface TappedPacket {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its length on the wire: more than `bytes` has where it was longer than what is read. */
  readonly length: number;
  /** When the kernel saw it, in nanoseconds since 1970. */
  readonly at: bigint;
  readonly isOutgoing: boolean;
  /** PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2, PACKET_OTHERHOST 3, PACKET_OUTGOING 4. */
  readonly kind: number;
}

/** See the module's text. */
export class PacketTap implements Disposable {
  readonly fd: number;
  /** What stands before the IP header. */
  readonly header: LinkHeader;
  readonly #sizes: TapSizes;
  readonly #frames: Uint8Array<ArrayBuffer>;
  readonly #headers: DataView<ArrayBuffer>;
  readonly #vectors: DataView<ArrayBuffer>;
  readonly #names: DataView<ArrayBuffer>;
  readonly #controls: DataView<ArrayBuffer>;
  #dropped = 0;

  /**
   * Listens from now on.
   *
   * @param program Makes the filter for the interface's link header.
   * @throws {SystemError} EPERM: CAP_NET_RAW is missing. ENODEV: there is no such interface.
   */
  constructor(
    linkIndex: number,
    program: (header: LinkHeader) => Uint8Array<ArrayBuffer>,
    sizes: TapSizes = WHOLE,
  ) {
    this.#sizes = sizes;
    const { batch, snapLength } = sizes;
    this.#frames = new Uint8Array(new ArrayBuffer(batch * snapLength));
    this.#headers = new DataView(new ArrayBuffer(batch * MMSGHDR_BYTES));
    this.#vectors = new DataView(new ArrayBuffer(batch * 16));
    this.#names = new DataView(new ArrayBuffer(batch * SOCKADDR_LL_BYTES));
    this.#controls = new DataView(new ArrayBuffer(batch * CONTROL_BYTES));
    this.fd = check(libc().socket(AF_PACKET, SOCK_RAW_CLOEXEC_NONBLOCK, 0), "open a packet socket");
    try {
      // Bound to no protocol yet: the address says what kind of link it is, and nothing comes in before the filter.
      this.header = hasEthernet(this.#bind(linkIndex, 0)) ? 14 : 0;
      attachProgram(this.fd, program(this.header));
      setSocketOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, sizes.receiveBufferBytes, "SO_RCVBUFFORCE");
      setSocketOption(this.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
      this.#bind(linkIndex, ETH_P_ALL);
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
    this.#layOut();
  }

  /** Packets that came since the last call, at most a batch. */
  read(): TappedPacket[] {
    const { batch } = this.#sizes;
    for (let i = 0; i < batch; i++) {
      // The kernel writes lengths over these.
      this.#headers.setUint32(i * MMSGHDR_BYTES + 8, SOCKADDR_LL_BYTES, true);
      this.#headers.setBigUint64(i * MMSGHDR_BYTES + 40, BigInt(CONTROL_BYTES), true);
    }
    const count = libc().recvmmsg(this.fd, addressOf(this.#headers), batch, MSG_TRUNC, 0n);
    if (count < 0) {
      const reason = errno();
      if (reason === EAGAIN || reason === EINTR) return [];
      throw new SystemError("read packets", reason);
    }
    return Array.from({ length: count }, (_, i) => this.#packet(i));
  }

  /** How many packets the kernel dropped so far because its buffer was full. */
  dropped(): number {
    // struct tpacket_stats { u32 packets; u32 drops; }: reading resets them.
    const stats = new Uint32Array(2);
    const length = new Uint32Array([stats.byteLength]);
    check(libc().getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, stats, length), "read the drop counter");
    return this.#dropped += stats[1]!;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }

  /** @returns The link's ARPHRD_ number. */
  #bind(linkIndex: number, protocol: number): number {
    const address = new DataView(new ArrayBuffer(SOCKADDR_LL_BYTES));
    address.setUint16(0, AF_PACKET, true);
    address.setUint16(2, protocol);
    address.setInt32(4, linkIndex, true);
    check(libc().bind(this.fd, address, SOCKADDR_LL_BYTES), `listen on link ${linkIndex}`);
    const length = new Uint32Array([SOCKADDR_LL_BYTES]);
    check(libc().getsockname(this.fd, address, length), `read the type of link ${linkIndex}`);
    return address.getUint16(8, true);
  }

  #layOut(): void {
    const { batch, snapLength } = this.#sizes;
    const [frames, vectors] = [addressOf(this.#frames), addressOf(this.#vectors)];
    const [names, controls] = [addressOf(this.#names), addressOf(this.#controls)];
    for (let i = 0; i < batch; i++) {
      this.#vectors.setBigUint64(i * 16, frames + BigInt(i * snapLength), true);
      this.#vectors.setBigUint64(i * 16 + 8, BigInt(snapLength), true);
      const at = i * MMSGHDR_BYTES;
      this.#headers.setBigUint64(at, names + BigInt(i * SOCKADDR_LL_BYTES), true);
      this.#headers.setBigUint64(at + 16, vectors + BigInt(i * 16), true);
      this.#headers.setBigUint64(at + 24, 1n, true);
      this.#headers.setBigUint64(at + 32, controls + BigInt(i * CONTROL_BYTES), true);
    }
  }

  #packet(index: number): TappedPacket {
    const length = this.#headers.getUint32(index * MMSGHDR_BYTES + MSGHDR_BYTES, true);
    const { snapLength } = this.#sizes;
    const start = index * snapLength;
    const kind = this.#names.getUint8(index * SOCKADDR_LL_BYTES + 10);
    const control = index * CONTROL_BYTES + 16;
    const seconds = this.#controls.getBigInt64(control, true);
    const nanoseconds = this.#controls.getBigInt64(control + 8, true);
    return {
      bytes: this.#frames.subarray(start, start + Math.min(length, snapLength)),
      length,
      at: seconds * 1_000_000_000n + nanoseconds,
      isOutgoing: kind === PACKET_OUTGOING,
      kind,
    };
  }
}

function hasEthernet(hardwareType: number): boolean {
  return hardwareType === ARPHRD_ETHER || hardwareType === ARPHRD_LOOPBACK;
}

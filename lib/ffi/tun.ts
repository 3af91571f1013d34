/**
 * TUN devices: opening one, and asking what the kernel can do with them.
 *
 * Requests of linux/if_tun.h; their numbers are those of asm-generic/ioctl.h, which x86_64 and aarch64 share.
 *
 * @module
 */
import { check, errno, SystemError } from "./errno.ts";
import { closeFd, O_NONBLOCK, O_RDWR, openFd } from "./fd.ts";
import { libc } from "./libc.ts";

/** _IOW('T', n, int) and _IOR('T', n, …) */
const TUNSETIFF = 0x400454can, TUNSETPERSIST = 0x400454cbn;
const TUNGETIFF = 0x800454d2n;

/** Flags of a TUN device (IFF_): type, no 4-byte packet information, several queues, virtio header. */
export const IFF_TUN = 0x0001, IFF_NO_PI = 0x1000, IFF_MULTI_QUEUE = 0x0100, IFF_VNET_HDR = 0x4000;

/** struct ifreq on 64-bit machines: char name[16], then a union of 24 bytes whose first field is used here. */
const IFREQ_BYTES = 40;
const IFREQ_UNION = 16;
const DEVICE = "/dev/net/tun";

/** What to ask of a TUN queue. */
export interface TunOptions {
  /** Name of the device; `%d` in it becomes a number. It is made if it isn't there. */
  readonly name: string;
  /** A virtio_net_hdr before each packet (IFF_VNET_HDR). */
  readonly vnetHeader: boolean;
  /** More than one queue may be opened (IFF_MULTI_QUEUE). */
  readonly multiQueue: boolean;
  /** Reads and writes don't wait. @default false */
  readonly nonBlocking?: boolean;
}

/** An open queue of a TUN device. */
export interface Tun {
  /** To be closed by the caller; the device goes with its last queue unless it is persistent. */
  readonly fd: number;
  /** The name that the kernel gave. */
  readonly name: string;
}

/**
 * Opens a queue of a TUN device without packet information (IFF_NO_PI), making the device if need be.
 *
 * @throws {RangeError} If the name has more than 15 bytes.
 * @throws {SystemError} EBUSY: another process has it, EINVAL: it is there with other options, ENOENT: there is
 *   no /dev/net/tun, EPERM: CAP_NET_ADMIN is missing.
 */
export function openTun(options: TunOptions): Tun {
  const { name, vnetHeader, multiQueue, nonBlocking = false } = options;
  const request = new Uint8Array(new ArrayBuffer(IFREQ_BYTES));
  const encoded = new TextEncoder().encode(name);
  if (encoded.length >= IFREQ_UNION) throw new RangeError(`A link name has at most 15 bytes: ${name}`);
  request.set(encoded);
  const flags = IFF_TUN | IFF_NO_PI | (vnetHeader ? IFF_VNET_HDR : 0) | (multiQueue ? IFF_MULTI_QUEUE : 0);
  new DataView(request.buffer).setUint16(IFREQ_UNION, flags, true);
  const fd = openFd(DEVICE, O_RDWR | (nonBlocking ? O_NONBLOCK : 0));
  if (libc().ioctl(fd, TUNSETIFF, request) < 0) {
    const reason = errno();
    closeFd(fd);
    throw new SystemError(`open the TUN device ${name}`, reason);
  }
  const given = new TextDecoder().decode(request.subarray(0, IFREQ_UNION));
  return { fd, name: given.slice(0, given.indexOf("\0")) };
}

/** Makes the device outlive its queues, or not. @throws {SystemError} As ioctl(2). */
export function setTunPersist(fd: number, on: boolean): void {
  check(libc().ioctlValue(fd, TUNSETPERSIST, on ? 1n : 0n), "make a TUN device persistent");
}

/** The flags of an open queue's device. @throws {SystemError} As ioctl(2). */
export function tunFlags(fd: number): number {
  const request = new DataView(new ArrayBuffer(IFREQ_BYTES));
  check(libc().ioctl(fd, TUNGETIFF, request), "ask for the flags of a TUN device");
  return request.getUint16(IFREQ_UNION, true);
}

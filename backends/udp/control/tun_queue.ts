/**
 * Attaching to the TUN that the daemon keeps, with as many offloads as the kernel has.
 *
 * @module
 */
import { EINVAL, SystemError } from "../../../lib/ffi/errno.ts";
import { closeFd } from "../../../lib/ffi/fd.ts";
import { libc } from "../../../lib/ffi/libc.ts";
import { openTun, tunFlags } from "../../../lib/ffi/tun.ts";
import { VNET_HEADER } from "../../../lib/packet/virtio.ts";

/** ioctl requests (linux/if_tun.h, linux/sockios.h). */
const TUNSETOFFLOAD = 0x400454d0n, TUNSETVNETHDRSZ = 0x400454d8n;
const SIOCGIFINDEX = 0x8933n, SIOCSIFTXQLEN = 0x8943n;

/** TUNSETOFFLOAD: what the reader of the queue can do (linux/if_tun.h; USO since Linux 6.2). */
const TUN_F_CSUM = 1, TUN_F_TSO4 = 2, TUN_F_TSO6 = 4, TUN_F_TSO_ECN = 8, TUN_F_USO4 = 0x20, TUN_F_USO6 = 0x40;
const TSO = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const USO = TUN_F_USO4 | TUN_F_USO6;

const IFF_PERSIST = 0x0800;
/** struct ifreq: char name[16], then a union of 24 bytes. */
const IFREQ_BYTES = 40, IFREQ_UNION = 16;

/**
 * Packets that may wait while the worker waits for a processor. With the kernel's 500 a single TCP stream overran
 * the queue several thousand times a second on two busy cores; with 1000 hardly ever.
 */
const QUEUE_LENGTH = 1000;

/** The device isn't there (yet): whoever keeps it must make it first. */
export class NoTunError extends Error {
  override readonly name = "NoTunError";
  constructor(device: string, options?: ErrorOptions) {
    super(`There is no persistent TUN device ${device} to attach to`, options);
  }
}

/** An open queue and what it can do. */
export interface TunQueue {
  readonly fd: number;
  /** Packets carry a virtio header, and TSO super-packets come and go. */
  readonly vnetHeader: boolean;
  /** USO super-packets too. */
  readonly uso: boolean;
}

/**
 * Opens the queue of the persistent device `name`; reads and writes don't wait.
 *
 * @param wanted `vnetHeader` and `uso` as far as they are to be used.
 * @param socket Any socket: names the network namespace for the question whether the device is there.
 * @throws {NoTunError} If the device isn't there or isn't persistent.
 * @throws {SystemError} If it can't be opened; EBUSY: another process has it.
 */
export function attachTun(
  name: string,
  wanted: { readonly vnetHeader: boolean; readonly uso: boolean },
  socket: number,
): TunQueue {
  // TUNSETIFF would make a device that isn't there.
  if (!linkExists(name, socket)) throw new NoTunError(name);
  // A hint only: what the device has serves as well.
  libc().ioctl(socket, SIOCSIFTXQLEN, interfaceRequest(name, QUEUE_LENGTH));
  if (wanted.vnetHeader) {
    const queue = attachWithHeader(name, wanted.uso);
    if (queue) return queue;
  }
  const fd = attach(name, false);
  // What an earlier owner asked for stays with a persistent device; without the header it can't be served.
  libc().ioctlValue(fd, TUNSETOFFLOAD, 0n);
  return { fd, vnetHeader: false, uso: false };
}

function attachWithHeader(name: string, uso: boolean): TunQueue | undefined {
  let fd: number;
  try {
    fd = attach(name, true);
  } catch (error) {
    if (error instanceof SystemError && error.errno === EINVAL) return undefined;
    throw error;
  }
  const size = new Int32Array(new ArrayBuffer(4));
  size[0] = VNET_HEADER;
  if (libc().ioctl(fd, TUNSETVNETHDRSZ, size) >= 0) {
    if (uso && libc().ioctlValue(fd, TUNSETOFFLOAD, BigInt(TSO | USO)) >= 0) {
      return { fd, vnetHeader: true, uso };
    }
    if (libc().ioctlValue(fd, TUNSETOFFLOAD, BigInt(TSO)) >= 0) return { fd, vnetHeader: true, uso: false };
  }
  closeFd(fd);
  return undefined;
}

function attach(name: string, vnetHeader: boolean): number {
  const { fd } = openTun({ name, vnetHeader, multiQueue: false, nonBlocking: true });
  try {
    if ((tunFlags(fd) & IFF_PERSIST) === 0) throw new NoTunError(name);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function linkExists(name: string, socket: number): boolean {
  return libc().ioctl(socket, SIOCGIFINDEX, interfaceRequest(name)) >= 0;
}

/** A struct ifreq for `name`, with an integer in its union. */
function interfaceRequest(name: string, value = 0): Uint8Array<ArrayBuffer> {
  const request = new Uint8Array(new ArrayBuffer(IFREQ_BYTES));
  request.set(new TextEncoder().encode(name.slice(0, 15)));
  new DataView(request.buffer).setInt32(IFREQ_UNION, value, true);
  return request;
}

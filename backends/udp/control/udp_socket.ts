/**
 * The tunnel's UDP socket.
 *
 * @module
 */
import { check, errno, SystemError } from "../../../lib/ffi/errno.ts";
import { closeFd, setSocketOption } from "../../../lib/ffi/fd.ts";
import { libc } from "../../../lib/ffi/libc.ts";
import { IPV6 } from "../../../lib/net/family.ts";
import { formatIp, type Ip } from "../../../lib/net/ip.ts";
import { socketAddress } from "../shared/socket_address.ts";
import {
  IPV6_V6ONLY,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RXQ_OVFL,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCKET_ADDRESS,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from "../shared/structs.ts";

const SOCK_DGRAM = 2, SOCK_CLOEXEC = 0x80000;

/** Wanted receive buffer in bytes: what a 10 Gbit/s burst fills while a worker waits for its turn. */
const RECEIVE_BYTES = 8 << 20;
/**
 * Wanted send buffer in bytes: some 10 ms of a wire of 1 Gbit/s. What doesn't fit is dropped, as a router would; a
 * larger one only lets packets wait longer before a slow wire.
 */
const SEND_BYTES = 1 << 20;

/** An open socket and what it can do. */
export interface UdpSocket {
  readonly fd: number;
  /** The port that it is bound to. */
  readonly port: number;
  /** UDP_SEGMENT is there: several datagrams a send. */
  readonly segment: boolean;
  /** UDP_GRO is on: several datagrams a receive. */
  readonly gro: boolean;
}

/**
 * Opens the socket on an address, for packets of its family alone.
 *
 * @param port 0: any free one.
 * @param linkIndex The interface that has the address.
 * @param wanted Which offloads may be used.
 * @throws {SystemError} EADDRINUSE: another program has the port; EADDRNOTAVAIL: the address isn't this host's.
 */
export function openUdpSocket(
  address: Ip,
  port: number,
  linkIndex: number,
  wanted: { readonly segment: boolean; readonly gro: boolean },
): UdpSocket {
  const fd = check(libc().socket(address.family.af, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open a UDP socket");
  try {
    if (address.family === IPV6) setSocketOption(fd, SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
    const name = socketAddress(address, port, linkIndex);
    if (libc().bind(fd, name, name.length) < 0) {
      throw new SystemError(`bind UDP port ${port} on ${formatIp(address)}`, errno());
    }
    const length = new Uint32Array([name.length]);
    check(libc().getsockname(fd, name, length), "ask for the UDP socket's port");
    setBuffers(fd);
    const segment = wanted.segment && tryOption(fd, SOL_UDP, UDP_SEGMENT, 0);
    const gro = wanted.gro && tryOption(fd, SOL_UDP, UDP_GRO, 1);
    tryOption(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    const bound = new DataView(name.buffer).getUint16(SOCKET_ADDRESS[address.family.name].port);
    return { fd, port: bound, segment, gro };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Buffers beyond the system's limits need CAP_NET_ADMIN; without, the kernel gives what it allows, silently. */
function setBuffers(fd: number): void {
  if (!tryOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)) {
    tryOption(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES);
  }
  if (!tryOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BYTES)) {
    tryOption(fd, SOL_SOCKET, SO_SNDBUF, SEND_BYTES);
  }
}

function tryOption(fd: number, level: number, option: number, value: number): boolean {
  return libc().setsockopt(fd, level, option, new Int32Array([value]), 4) >= 0;
}

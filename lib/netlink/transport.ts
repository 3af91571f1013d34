/**
 * The socket under netlink requests and notifications: opening, sending, receiving; no protocol.
 *
 * @module
 */
import { check, EAGAIN, EINTR, ENOBUFS, ENOPROTOOPT, EPROTO, errno, SystemError } from "../ffi/errno.ts";
import { closeFd, setSocketOption } from "../ffi/fd.ts";
import { libc } from "../ffi/libc.ts";
import * as c from "./constants.ts";
import { type Message, readMessages } from "./reader.ts";

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const MSG_PEEK = 0x2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/** The kernel fills dumps up to 32 KiB a datagram where the reader's buffer takes that. */
const RECEIVE_BYTES = 32 * 1024;
/** A single answer longer than this is a fault, not a link with many virtual functions. */
const MAX_RECEIVE_BYTES = 16 * 1024 * 1024;

/** How a socket is opened. */
export interface TransportOptions {
  /** NETLINK_ number. @default NETLINK_ROUTE */
  readonly protocol?: number;
  /** Size of the kernel's receive buffer in bytes, as far as this process may have it. */
  readonly receiveBufferBytes: number;
}

/** See the module's text. */
export class NetlinkTransport implements Disposable {
  readonly fd: number;
  #buffer = new DataView(new ArrayBuffer(RECEIVE_BYTES));

  /**
   * Makes a netlink socket with what every one of ours wants: errors in words, short acknowledgements, strict
   * checks and filters of dumps in the kernel. Not bound yet.
   *
   * @throws {SystemError} As socket(2) and setsockopt(2).
   */
  constructor(options: TransportOptions) {
    const protocol = options.protocol ?? c.NETLINK_ROUTE;
    this.fd = check(libc().socket(c.AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "open a netlink socket");
    try {
      // Linux 4.12, 4.3 and 4.20: without them answers say less and dumps are longer, no more.
      setIfKnown(this.fd, c.NETLINK_EXT_ACK, "NETLINK_EXT_ACK");
      setIfKnown(this.fd, c.NETLINK_CAP_ACK, "NETLINK_CAP_ACK");
      setIfKnown(this.fd, c.NETLINK_GET_STRICT_CHK, "NETLINK_GET_STRICT_CHK");
      setReceiveBuffer(this.fd, options.receiveBufferBytes);
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
  }

  /** Binds to an address of the kernel's choice. @returns That address, the port id. @throws {SystemError} */
  bind(): number {
    // struct sockaddr_nl { u16 nl_family; u16 pad; u32 nl_pid; u32 nl_groups; }
    const address = new DataView(new ArrayBuffer(12));
    address.setUint16(0, c.AF_NETLINK, true);
    check(libc().bind(this.fd, address, 12), "bind a netlink socket");
    check(
      libc().getsockname(this.fd, address, new Uint32Array([12])),
      "read a netlink socket's address",
    );
    return address.getUint32(4, true);
  }

  /** Bounds how long {@link receive} waits, in whole seconds. @throws {SystemError} As setsockopt(2). */
  setTimeout(seconds: number): void {
    // struct timeval of two 64-bit words
    setSocketOption(this.fd, SOL_SOCKET, SO_RCVTIMEO, [seconds, 0, 0, 0], "SO_RCVTIMEO");
  }

  /** Sends one datagram. @throws {SystemError} As send(2). */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    let sent: number;
    do sent = libc().send(this.fd, bytes, BigInt(bytes.length), 0); while (sent < 0 && errno() === EINTR);
    check(sent, "send to netlink");
  }

  /**
   * Waits for the next datagram and visits its messages, which are valid only during the call.
   *
   * @throws {SystemError} As recv(2): EAGAIN after the time of {@link setTimeout}, ENOBUFS where the kernel had to
   *   drop datagrams because the receive buffer was full.
   * @throws {MalformedMessageError} If what came isn't netlink.
   */
  receive(visit: (message: Message) => void): void {
    this.#receive(visit, 0);
  }

  /** The same without waiting. @returns Whether there was a datagram. */
  tryReceive(visit: (message: Message) => void): boolean {
    return this.#receive(visit, MSG_DONTWAIT);
  }

  /** Throws away all that has come. */
  drain(): void {
    for (;;) {
      const received = libc().recv(this.fd, null, 0n, MSG_DONTWAIT);
      if (received >= 0) continue;
      // ENOBUFS is said once, then what is left can be read.
      const reason = errno();
      if (reason !== EINTR && reason !== ENOBUFS) return;
    }
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }

  #receive(visit: (message: Message) => void, flags: number): boolean {
    // The length first: a datagram that is longer than the buffer would be cut off.
    const size = this.#recv(null, 0, flags | MSG_PEEK | MSG_TRUNC);
    if (size < 0) return false;
    if (size > this.#buffer.byteLength) {
      if (size > MAX_RECEIVE_BYTES) throw new SystemError(`take an answer of ${size} bytes`, EPROTO);
      this.#buffer = new DataView(new ArrayBuffer(size));
    }
    const length = this.#recv(this.#buffer, this.#buffer.byteLength, flags);
    if (length < 0) return false;
    readMessages(this.#buffer, length, visit);
    return true;
  }

  /** recv(2), again after signals; -1 where there is nothing and none was to be waited for. */
  #recv(buffer: DataView<ArrayBuffer> | null, length: number, flags: number): number {
    for (;;) {
      const received = libc().recv(this.fd, buffer, BigInt(length), flags);
      if (received >= 0) return received;
      const reason = errno();
      if (reason === EINTR) continue;
      if (reason === EAGAIN && flags & MSG_DONTWAIT) return -1;
      throw new SystemError("receive from netlink", reason);
    }
  }
}

function setIfKnown(fd: number, option: number, name: string): void {
  try {
    setSocketOption(fd, c.SOL_NETLINK, option, 1, name);
  } catch (error) {
    if (!(error instanceof SystemError && error.errno === ENOPROTOOPT)) throw error;
  }
}

function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, "SO_RCVBUFFORCE");
  } catch {
    // Without CAP_NET_ADMIN: as much as net.core.rmem_max allows.
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
  }
}

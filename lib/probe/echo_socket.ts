/**
 * A raw socket for echo requests and what comes back, in one address family. Needs CAP_NET_RAW.
 *
 * @module
 */
import { check, EAGAIN, EINTR, EMSGSIZE, errno, SystemError } from "../ffi/errno.ts";
import { closeFd, setSocketOption } from "../ffi/fd.ts";
import { addressOf, libc } from "../ffi/libc.ts";
import { wallClock } from "../ffi/wall_clock.ts";
import { type Family, IPV4 } from "../net/family.ts";
import { formatIp, type Ip, ipFromBytes, ipToBytes } from "../net/ip.ts";
import { icmpOf } from "./icmp.ts";
import { addressOffset, socketAddress } from "./socket_address.ts";

const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0x80000 | 0x800;
/** asm-generic/sockios.h: the time at which the packet that was read last came in (struct timespec). */
const SIOCGSTAMPNS = 0x8907n;
/** Errors with the packet that they quote have at most 1,280 bytes, replies what was sent: a jumbo frame and more. */
const RECEIVE_BYTES = 65_536;

/** The options of one family (linux/in.h, linux/in6.h, linux/icmp.h, linux/icmpv6.h). */
const OPTIONS = {
  ipv4: { level: 0, mtuDiscover: 10, ttl: 2, filterLevel: 255 },
  ipv6: { level: 41, mtuDiscover: 23, ttl: 16, filterLevel: 58 },
} as const;
const FILTER = 1;
const IPV6_DONTFRAG = 62;
/** Don't Fragment is set, and what the kernel believes of the path's MTU is left aside. */
const PMTUDISC_PROBE = 3;
const DEFAULT_TTL = 64;

/** Something that came in; `bytes` is valid only until the next call. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly from: Ip;
  /** When the kernel took it, in milliseconds of the wall clock ({@link wallClock}). */
  readonly at: number;
}

/** One socket; nothing in it blocks. */
export class EchoSocket implements Disposable {
  readonly fd: number;
  readonly family: Family;
  readonly #address: Uint8Array<ArrayBuffer>;
  readonly #from: Uint8Array<ArrayBuffer>;
  readonly #fromLength = new Uint32Array(new ArrayBuffer(4));
  readonly #buffer = new Uint8Array(new ArrayBuffer(RECEIVE_BYTES));
  readonly #stamp = new BigInt64Array(new ArrayBuffer(16));

  /**
   * @param source The address to send from; the kernel chooses one without.
   * @throws {SystemError} EPERM: CAP_NET_RAW is missing. EADDRNOTAVAIL: `source` isn't this host's.
   */
  constructor(family: Family, source?: Ip) {
    this.family = family;
    this.#address = socketAddress(family);
    this.#from = socketAddress(family);
    const { protocol } = icmpOf(family);
    this.fd = check(
      libc().socket(family.af, SOCK_RAW_CLOEXEC_NONBLOCK, protocol),
      `open a raw ${family.label} socket`,
    );
    try {
      this.#configure();
      if (source) {
        const address = socketAddress(family, source);
        check(libc().bind(this.fd, address, address.length), `send from ${formatIp(source)}`);
      }
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
  }

  #configure(): void {
    const { level, mtuDiscover, filterLevel } = OPTIONS[this.family.name];
    setSocketOption(this.fd, level, mtuDiscover, PMTUDISC_PROBE, "the handling of the path MTU");
    if (this.family !== IPV4) setSocketOption(this.fd, level, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG");
    setSocketOption(this.fd, filterLevel, FILTER, typeFilter(this.family), "the filter of ICMP types");
    // The first request switches stamps on.
    libc().ioctl(this.fd, SIOCGSTAMPNS, this.#stamp);
  }

  /**
   * Sends an ICMP message.
   *
   * @param ttl Hops that it may take. @default 64
   * @returns When it was sent, in milliseconds of the wall clock.
   * @throws {SystemError} EMSGSIZE: longer than the MTU of the first link. EPERM: the host's firewall drops it.
   *   ENETUNREACH, EHOSTUNREACH: no route.
   */
  send(to: Ip, message: Uint8Array<ArrayBuffer>, ttl = DEFAULT_TTL): number {
    const { level, ttl: option } = OPTIONS[this.family.name];
    setSocketOption(this.fd, level, option, ttl, "the hop limit");
    writeAddress(this.#address, to);
    const at = wallClock();
    for (let tries = 0;; tries++) {
      const sent = libc().sendto(
        this.fd,
        addressOf(message),
        message.length,
        0,
        addressOf(this.#address),
        this.#address.length,
      );
      if (sent >= 0) return at;
      const reason = errno();
      // An ICMP error about an earlier packet may be reported here once; it says nothing of this one.
      if (tries === 0 && reason !== EMSGSIZE) continue;
      throw new SystemError(`send an echo request to ${formatIp(to)}`, reason);
    }
  }

  /** What came in, if anything did; errors about earlier packets are skipped. */
  receive(): Received | undefined {
    for (let tries = 0; tries < 16; tries++) {
      this.#fromLength[0] = this.#from.length;
      const length = libc().recvfrom(
        this.fd,
        addressOf(this.#buffer),
        BigInt(this.#buffer.length),
        0,
        addressOf(this.#from),
        addressOf(this.#fromLength),
      );
      if (length < 0) {
        const reason = errno();
        if (reason === EAGAIN) return undefined;
        if (reason === EINTR) continue;
        continue;
      }
      return { bytes: this.#buffer.subarray(0, length), from: this.#sender(), at: this.#stampOfLast() };
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }

  #sender(): Ip {
    const at = addressOffset(this.family);
    return ipFromBytes(this.#from.subarray(at, at + this.family.bytes));
  }

  #stampOfLast(): number {
    if (libc().ioctl(this.fd, SIOCGSTAMPNS, this.#stamp) < 0) return wallClock();
    return Number(this.#stamp[0]!) * 1000 + Number(this.#stamp[1]!) / 1e6;
  }
}

/** struct icmp_filter (32 bits) or icmp6_filter (256): a bit that is set drops the type. */
function typeFilter(family: Family): number[] {
  const words = new Array<number>(family === IPV4 ? 1 : 8).fill(-1);
  for (const type of icmpOf(family).types) words[type >>> 5]! &= ~(1 << (type & 31));
  return words;
}

function writeAddress(bytes: Uint8Array, ip: Ip): void {
  bytes.set(ipToBytes(ip), addressOffset(ip.family));
}

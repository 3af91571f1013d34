/**
 * Sends whole Ethernet frames over a link (packet(7)). Needs CAP_NET_RAW.
 *
 * @module
 */
import { check, SystemError } from "./errno.ts";
import { closeFd } from "./fd.ts";
import { addressOf, libc } from "./libc.ts";

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0x80000 | 0x800;
/** struct sockaddr_ll { u16 family; be16 protocol; i32 ifindex; u16 hatype; u8 pkttype; u8 halen; u8 addr[8]; } */
const SOCKADDR_LL_BYTES = 20;

/** A socket that only sends: it is bound to no protocol, so that nothing is received. */
export class PacketSocket implements Disposable {
  readonly #fd: number;
  readonly #address = new DataView(new ArrayBuffer(SOCKADDR_LL_BYTES));

  /** @throws {SystemError} EPERM: CAP_NET_RAW is missing. EAFNOSUPPORT: the unit or the kernel has no packet sockets. */
  constructor() {
    this.#fd = check(libc().socket(AF_PACKET, SOCK_RAW_CLOEXEC_NONBLOCK, 0), "open a packet socket");
    this.#address.setUint16(0, AF_PACKET, true);
  }

  /**
   * Sends one frame, its Ethernet header included.
   *
   * @param linkIndex The link to send it over.
   * @throws {SystemError} ENETDOWN: the link is down. ENXIO, ENODEV: it is gone. ENOBUFS, EAGAIN: its queue is full.
   */
  send(linkIndex: number, frame: Uint8Array<ArrayBuffer>): void {
    this.#address.setInt32(4, linkIndex, true);
    const sent = libc().sendto(
      this.#fd,
      addressOf(frame),
      frame.length,
      0,
      addressOf(this.#address),
      SOCKADDR_LL_BYTES,
    );
    check(sent, `send a frame over link ${linkIndex}`);
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

/** Whether a frame couldn't be sent because the link went down or away meanwhile. */
export function isLinkGone(error: unknown): boolean {
  return error instanceof SystemError && ["ENETDOWN", "ENXIO", "ENODEV"].includes(error.code);
}

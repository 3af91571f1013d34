/**
 * Which addresses are reached over a link without a gateway, by the kernel's routing tables.
 *
 * @module
 */
import { lookupRoute } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import { formatIp, type Ip } from "../net/ip.ts";

/** Answers for one link. They are kept to compare them with what the kernel gives later. */
export class OnLinkAnswers {
  readonly #socket: NetlinkSocket;
  readonly #linkIndex: number;
  readonly #answers = new Map<string, { readonly ip: Ip; readonly onLink: boolean }>();

  constructor(socket: NetlinkSocket, linkIndex: number) {
    this.#socket = socket;
    this.#linkIndex = linkIndex;
  }

  /** Whether `ip` is reached without a gateway, as of the first time that this was asked. */
  isOnLink(ip: Ip): boolean {
    const key = formatIp(ip);
    const known = this.#answers.get(key);
    if (known) return known.onLink;
    const onLink = this.#ask(ip);
    this.#answers.set(key, { ip, onLink });
    return onLink;
  }

  /** Whether the kernel would give the same answers now. */
  areCurrent(): boolean {
    return this.#answers.values().every(({ ip, onLink }) => this.#ask(ip) === onLink);
  }

  #ask(ip: Ip): boolean {
    const route = lookupRoute(this.#socket, ip);
    return route !== undefined && !route.gateway && route.linkIndex === this.#linkIndex;
  }
}

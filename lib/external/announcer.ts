/**
 * Announces on the wire which MAC this host's addresses have, after each change of the external interface.
 *
 * Other hosts keep what they learned: to an interface that comes back with another MAC they send to the old one for
 * up to a minute, and so do switches that have the MAC at another port. The kernel announces nothing by itself
 * (arp_notify and ndisc_notify are off).
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { isLinkGone, PacketSocket } from "../ffi/packet_socket.ts";
import { listAddresses } from "../netlink/address.ts";
import { IFF_LOOPBACK, IFF_NOARP, IFF_RUNNING } from "../netlink/constants.ts";
import { findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import { FAMILIES } from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { announcementFrame } from "../packet/announcement.ts";
import { pause } from "../time/pause.ts";
import { isSettled } from "./addresses.ts";
import type { ExternalInterface } from "./types.ts";
import { ANNOUNCEMENTS } from "./metrics.ts";

/**
 * When an announcement is sent, in milliseconds from the change: again, because a frame may be lost, and because a
 * switch may not forward yet.
 */
const SCHEDULE_MS = [0, 500, 1_500, 4_000];

/** What an announcer needs. */
export interface AnnouncerOptions {
  readonly socket: NetlinkSocket;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Gets `announcements` while none can be sent. */
  readonly problems: ProblemReporter;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** What of the wire a neighbour's entry depends on. */
interface Presence {
  readonly link: Link;
  readonly ips: readonly Ip[];
}

/** See the module's text. */
export class Announcer {
  readonly #options: AnnouncerOptions;
  /** What was announced last, or was there when nothing could be. */
  #known: string | undefined;
  /** Counts the changes: a newer one ends what an older one has still to send. */
  #change = 0;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  /**
   * Announces the interface's addresses if others may know something else: it has another index, MAC or address, or
   * is up again.
   *
   * @param again Announce them whatever is known: the way between hosts changed.
   */
  refresh(external: ExternalInterface, again = false): void {
    const presence = this.#look(external);
    const key = presence && keyOf(presence);
    if (key === this.#known && !again) return;
    this.#known = key;
    this.#change++;
    if (key !== undefined) void this.#run(external, this.#change);
  }

  /** The link and its addresses; undefined while it can't be used, or where a link has no neighbours. */
  #look({ index, addresses, publicIps }: ExternalInterface): Presence | undefined {
    const { socket } = this.#options;
    const link = findLink(socket, index);
    if (!link?.mac || !(link.flags & IFF_RUNNING) || link.flags & (IFF_NOARP | IFF_LOOPBACK)) {
      return undefined;
    }
    const own = FAMILIES.flatMap(({ name }) => [addresses[name], publicIps[name]]);
    const ips = listAddresses(socket, { linkIndex: index })
      .filter((address) => isSettled(address) && own.some((ip) => sameIp(ip, address.ip)))
      .map(({ ip }) => ip);
    return ips.length > 0 ? { link, ips } : undefined;
  }

  async #run(external: ExternalInterface, change: number): Promise<void> {
    const { signal, problems, log } = this.#options;
    let elapsed = 0;
    for (const at of SCHEDULE_MS) {
      if (at > elapsed) await pause(at - elapsed, signal);
      elapsed = at;
      if (signal.aborted || change !== this.#change) return;
      try {
        this.#announce(external);
        problems.clear("announcements", "sent");
      } catch (error) {
        // When it is back, that is a change.
        if (isLinkGone(error)) return log.debug(`${external.name} went while its addresses were announced`);
        problems.set(
          "announcements",
          `cannot announce the addresses of ${external.name}, so that other hosts may send to an old MAC for up to a ` +
            `minute (is CAP_NET_RAW missing?): ${messageOf(error)}`,
        );
      }
    }
  }

  #announce(external: ExternalInterface): void {
    const { metrics } = this.#options;
    const presence = this.#look(external);
    if (!presence) return;
    const { link, ips } = presence;
    using sender = new PacketSocket();
    for (const ip of ips) {
      sender.send(link.index, announcementFrame({ ip, mac: link.mac!, isRouter: isRouter(link) }));
      metrics.count(ANNOUNCEMENTS, { family: ip.family.name });
    }
  }
}

function keyOf({ link, ips }: Presence): string {
  return [link.index, link.mac, ...ips.map(formatIp).sort()].join(" ");
}

/** Whether the kernel's own advertisements say that this host is a router (ndisc_send_unsol_na). */
function isRouter({ name }: Link): boolean {
  try {
    return readKernelFile(`/proc/sys/net/ipv6/conf/${name}/forwarding`).trim() !== "0";
  } catch {
    // The kernel has no IPv6, or /proc shows another network namespace: a host that forwards nothing isn't a router.
    return false;
  }
}

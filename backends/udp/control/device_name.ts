/**
 * Which TUN is ours, and what it is called.
 *
 * @module
 */
import { linkAlias } from "../../../lib/kernel/own_links.ts";
import { IFF_LOWER_UP } from "../../../lib/netlink/constants.ts";
import type { Link } from "../../../lib/netlink/types.ts";

/** What our TUN may be called. */
const NAME = /^flannel\d+$/;

/**
 * The name of this network's TUN: that of the device which carries the network's mark, else the first of
 * `flannel0`, `flannel1` … that is free. A marked device that somebody renamed gets such a name again. A TUN of such a name without any mark and without a process on it counts
 * as free: a daemon that was killed between making and marking it left it behind.
 */
export function tunName(links: readonly Link[], networkId: string): string {
  const alias = linkAlias(networkId);
  const marked = links.find((link) => link.kind === "tun" && link.alias === alias && NAME.test(link.name));
  if (marked) return marked.name;
  for (let n = 0;; n++) {
    const holder = links.find((link) => link.name === `flannel${n}`);
    if (!holder || isOrphan(holder)) return `flannel${n}`;
  }
}

function isOrphan(link: Link): boolean {
  return link.kind === "tun" && link.alias === undefined && (link.flags & IFF_LOWER_UP) === 0;
}

/**
 * Makes persistent TUN devices.
 *
 * A persistent device outlives the process that made it: routes over it, and the connections of containers,
 * survive a restart of the daemon.
 *
 * @module
 */
import { closeFd } from "../ffi/fd.ts";
import { openTun, setTunPersist } from "../ffi/tun.ts";
import { deleteLink, findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import type { Log } from "../observe/types.ts";
import type { DesiredTun } from "./desired_link.ts";

/** Ensures that the device is there, with or without several queues as asked. @throws {SystemError} */
export function ensureTun(
  desired: DesiredTun,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  if (existing && hasQueues(existing, desired.multiQueue)) return { link: existing, created: false };
  if (existing) {
    log.warn(`Device ${desired.name} recreated`, { because: "its number of queues can't be changed" });
    deleteLink(socket, existing.index);
  }
  const { name, vnetHeader, multiQueue } = desired;
  const { fd } = openTun({ name, vnetHeader, multiQueue });
  try {
    setTunPersist(fd, true);
  } finally {
    closeFd(fd);
  }
  return { link: findLink(socket, name)!, created: true };
}

/**
 * Whether the device takes as many queues as asked; that is fixed when it is made, and the vnet header is chosen by
 * each opener. Kernels before 4.17 don't say: then the one that opens a queue finds out (EINVAL).
 */
function hasQueues(link: Link, multiQueue: boolean): boolean {
  return link.tun === undefined || link.tun.multiQueue === multiQueue;
}

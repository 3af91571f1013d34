/**
 * Makes persistent TUN devices.
 *
 * A persistent device outlives the process that made it: routes over it, and the connections of containers,
 * survive a restart of the daemon.
 *
 * @module
 */
import { readKernelFile } from "../ffi/kernel_file.ts";
import { closeFd } from "../ffi/fd.ts";
import { openTun, setTunPersist } from "../ffi/tun.ts";
import { deleteLink, findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import type { Log } from "../observe/types.ts";
import type { DesiredTun } from "./desired_link.ts";

/** IFF_MULTI_QUEUE (linux/if_tun.h): fixed when the device is made; the vnet header is chosen by each opener. */
const IFF_MULTI_QUEUE = 0x0100;

/** Ensures that the device is there, with or without several queues as asked. @throws {SystemError} */
export function ensureTun(
  desired: DesiredTun,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  if (existing && isMultiQueue(desired.name) === desired.multiQueue) {
    return { link: existing, created: false };
  }
  if (existing) {
    log.warn(`Device ${desired.name} is made again`, { because: "its number of queues can't be changed" });
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

/** Reads the device's flags, which sysfs shows in hexadecimal. */
function isMultiQueue(name: string): boolean {
  return (parseInt(readKernelFile(`/sys/class/net/${name}/tun_flags`), 16) & IFF_MULTI_QUEUE) !== 0;
}

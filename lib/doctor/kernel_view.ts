/**
 * What the kernel says, each table read once.
 *
 * @module
 */
import { SystemError } from "../ffi/errno.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { listAddresses } from "../netlink/address.ts";
import { listLinks } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, LinkAddress } from "../netlink/types.ts";

/** Reads what checks ask for. */
export class KernelView {
  #links: Link[] | undefined;
  #addresses: LinkAddress[] | undefined;

  constructor(readonly socket: NetlinkSocket) {}

  get links(): readonly Link[] {
    return this.#links ??= listLinks(this.socket);
  }

  get addresses(): readonly LinkAddress[] {
    return this.#addresses ??= listAddresses(this.socket);
  }

  /** A file of /proc or /sys without blanks at its ends; undefined where it isn't there, or can't be read. */
  file(path: string): string | undefined {
    try {
      return readKernelFile(path).trim();
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  /** A setting of the kernel by its name, like `net.ipv4.ip_forward`; dots of a link's name are written `/`. */
  sysctl(name: string): string | undefined {
    return this.file(sysctlPath(name));
  }
}

/** `net.ipv4.conf.eth0/5.rp_filter` → `/proc/sys/net/ipv4/conf/eth0.5/rp_filter`, as sysctl(8) has it. */
function sysctlPath(name: string): string {
  const swapped = name.replace(/[./]/g, (mark) => mark === "." ? "/" : ".");
  return `/proc/sys/${swapped}`;
}

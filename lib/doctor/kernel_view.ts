/**
 * What the kernel says, each table read once.
 *
 * @module
 */
import { SystemError } from "../ffi/errno.ts";
import { listKernelFolder, readKernelFile, readKernelLink } from "../ffi/kernel_file.ts";
import { listAddresses } from "../netlink/address.ts";
import { listLinks } from "../netlink/link.ts";
import { listRoutes } from "../netlink/route.ts";
import type { Family, FamilyName } from "../net/family.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, LinkAddress, Route } from "../netlink/types.ts";

/** Reads what checks ask for. */
export class KernelView {
  #links: Link[] | undefined;
  #addresses: LinkAddress[] | undefined;
  readonly #routes = new Map<FamilyName, Route[]>();

  constructor(readonly socket: NetlinkSocket) {}

  get links(): readonly Link[] {
    return this.#links ??= listLinks(this.socket);
  }

  get addresses(): readonly LinkAddress[] {
    return this.#addresses ??= listAddresses(this.socket);
  }

  /** The main table. */
  routes(family: Family): readonly Route[] {
    const routes = this.#routes.get(family.name) ?? listRoutes(this.socket, { family });
    this.#routes.set(family.name, routes);
    return routes;
  }

  /** A file of /proc or /sys without blanks at its ends; undefined where it isn't there, or can't be read. */
  file(path: string): string | undefined {
    return whereReadable(() => readKernelFile(path).trim());
  }

  /** The names in a folder of /proc, /sys or /dev; none where it isn't there, or can't be read. */
  folder(path: string): readonly string[] {
    return whereReadable(() => listKernelFolder(path)) ?? [];
  }

  /** Where a symbolic link of /proc or /sys points. */
  target(path: string): string | undefined {
    return whereReadable(() => readKernelLink(path));
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

function whereReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

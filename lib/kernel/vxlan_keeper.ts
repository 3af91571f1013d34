/**
 * Makes VXLAN devices, and compares one with what is desired.
 *
 * @module
 */
import { createLink, deleteLink, findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, LinkSpec, VxlanSpecials } from "../netlink/types.ts";
import { formatIp, sameIp } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";
import type { DesiredVxlan } from "./desired_link.ts";

/** IANA's port for VXLAN is 4789; the kernel's default is the older one (drivers/net/vxlan, vxlan_port). */
export const KERNEL_VXLAN_PORT = 8472;

/** The underlay isn't there now; the device is made when it is back. */
export class UnderlayMissingError extends Error {
  override readonly name = "UnderlayMissingError";
}

/**
 * Ensures that the device is there with all attributes that can't be changed in place. One that differs is made
 * again with the same MAC, so that peers needn't learn anything.
 *
 * @throws {UnderlayMissingError} If its underlay is gone.
 */
export function ensureVxlan(
  desired: DesiredVxlan,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  const underlay = findLink(socket, desired.underlay);
  if (!underlay) throw new UnderlayMissingError(`The interface ${desired.underlay} is not there`);
  const difference = existing && vxlanDifference(existing, desired, underlay.index);
  if (existing && !difference) return { link: existing, created: false };
  if (existing) {
    log.warn(`Device ${desired.name} recreated`, { because: difference });
    deleteLink(socket, existing.index);
  }
  const { vni, local, learning, gbp } = desired;
  const spec: LinkSpec = {
    name: desired.name,
    kind: "vxlan",
    mtu: desired.mtu,
    mac: desired.mac,
    noLinkLocal: true,
    vxlan: { vni, local, linkIndex: underlay.index, port: desired.port || KERNEL_VXLAN_PORT, learning, gbp },
  };
  return { link: createLink(socket, spec), created: true };
}

/** The first attribute that can't be changed in place and differs, as text; undefined when none does. */
function vxlanDifference(
  link: Link,
  desired: DesiredVxlan,
  underlayIndex: number,
): string | undefined {
  const actual = link.vxlan;
  if (!actual) return "it has no VXLAN attributes";
  const port = desired.port || KERNEL_VXLAN_PORT;
  if (actual.vni !== desired.vni) return `VNI ${actual.vni}, not ${desired.vni}`;
  if (actual.port !== port) return `port ${actual.port}, not ${port}`;
  if (!sameIp(actual.local, desired.local)) {
    return `local ${actual.local ? formatIp(actual.local) : "none"}, not ${formatIp(desired.local)}`;
  }
  if (actual.linkIndex !== underlayIndex) return `underlay ${actual.linkIndex}, not ${underlayIndex}`;
  if (actual.learning !== desired.learning) return `learning ${actual.learning}`;
  if (actual.gbp !== desired.gbp) return `GBP ${actual.gbp}`;
  return actual.special && describeSpecial(actual.special);
}

/** What a device has that ours never do, in the words of `ip link`. */
function describeSpecial({ ttl, ttlInherit, df, remote, limit, flags = [] }: VxlanSpecials): string {
  const words = [
    ttl === undefined ? undefined : `ttl ${ttl}`,
    ttlInherit ? "ttl inherit" : undefined,
    df === undefined ? undefined : `df ${df}`,
    remote && `remote ${formatIp(remote)}`,
    limit === undefined ? undefined : `maxaddress ${limit}`,
    ...flags,
  ];
  return words.filter((word) => word !== undefined).join(", ");
}

/** Bytes that VXLAN puts around a packet: outer IP header, UDP (8), VXLAN (8), inner Ethernet (14); RFC 7348. */
export function vxlanOverhead(underlay: DesiredVxlan["local"]): number {
  return underlay.family.headerBytes + 8 + 8 + 14;
}

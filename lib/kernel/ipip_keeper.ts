/**
 * Makes IPIP devices.
 *
 * @module
 */
import { createLink, deleteLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import { formatIp, sameIp } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";
import type { DesiredIpip } from "./desired_link.ts";

/** Ensures that the device is there with its local address and without a remote one. @throws {NetlinkError} */
export function ensureIpip(
  desired: DesiredIpip,
  existing: Link | undefined,
  { socket, log }: { readonly socket: NetlinkSocket; readonly log: Log },
): { link: Link; created: boolean } {
  const difference = existing && ipipDifference(existing, desired);
  if (existing && !difference) return { link: existing, created: false };
  if (existing) {
    log.warn(`Device ${desired.name} recreated`, { because: difference });
    deleteLink(socket, existing.index);
  }
  const { name, mtu, local } = desired;
  return { link: createLink(socket, { name, kind: "ipip", mtu, ipip: { local } }), created: true };
}

function ipipDifference({ ipip }: Link, { local }: DesiredIpip): string | undefined {
  if (!sameIp(ipip?.local, local)) {
    return `local ${ipip?.local ? formatIp(ipip.local) : "any"}, not ${formatIp(local)}`;
  }
  return ipip?.remote && `remote ${formatIp(ipip.remote)}, not any`;
}

/**
 * Keeps IPv6 link-local addresses off our devices.
 *
 * @module
 */
import { IPV6 } from "../net/family.ts";
import { addressRequest, listAddresses } from "../netlink/address.ts";
import { IN6_ADDR_GEN_MODE_NONE, RT_SCOPE_LINK } from "../netlink/constants.ts";
import { disableLinkLocal } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";

/** Link-local addresses would announce the host to everybody in the tunnel, and routers would answer. */
export function refuseLinkLocal(socket: NetlinkSocket, link: Link): void {
  const { addressGeneration, index: linkIndex } = link;
  if (addressGeneration === undefined || addressGeneration === IN6_ADDR_GEN_MODE_NONE) return;
  disableLinkLocal(socket, link);
  for (const address of listAddresses(socket, { family: IPV6, linkIndex })) {
    if (address.scope === RT_SCOPE_LINK) socket.execute(addressRequest("delete", address));
  }
}

/**
 * Takes away everything in the kernel that carries our mark.
 *
 * @module
 */
import { deleteLink, listLinks } from "../netlink/link.ts";
import { listNexthops, nexthopRequest, nexthopsSupported } from "../netlink/nexthop.ts";
import { listRoutes, routeRequest } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link, Route } from "../netlink/types.ts";
import { FAMILIES } from "../net/family.ts";
import { containsPrefix, formatPrefix, type Prefix } from "../net/prefix.ts";
import { ROUTE_PROTOCOL } from "./actual_entries.ts";
import { linkAlias } from "./own_links.ts";

/** What was removed, as people know it. */
export type Removed = string[];

/**
 * Removes this network's devices (with all that is on them), and its routes and next hops on other links.
 *
 * @param networks Where our routes are; with none known only devices can be removed.
 * @param isOriginals Whether an unmarked device is the original's and goes too.
 */
export function removeFromKernel(
  socket: NetlinkSocket,
  { networkId, networks, isOriginals }: {
    readonly networkId: string;
    readonly networks: readonly Prefix[];
    readonly isOriginals: (link: Link) => boolean;
  },
): Removed {
  const removed: Removed = [];
  for (const link of listLinks(socket)) {
    const isOurs = link.alias === linkAlias(networkId) || (link.alias === undefined && isOriginals(link));
    if (!isOurs) continue;
    // Next hops of a device go with it, and routes with their next hops.
    deleteLink(socket, link.index);
    removed.push(`device ${link.name}`);
  }
  return [...removed, ...removeRoutes(socket, (destination) => isInside(destination, networks))];
}

/**
 * Removes the routes that an earlier run made for another network, and that no pass would find: they carry our mark,
 * and lie outside of the network of today.
 *
 * @param former The networks of the earlier run; elsewhere the mark may be another daemon's.
 */
export function removeFormerRoutes(
  socket: NetlinkSocket,
  { former, networks }: { readonly former: readonly Prefix[]; readonly networks: readonly Prefix[] },
): Removed {
  const others = former.filter((network) => !isInside(network, networks));
  if (others.length === 0) return [];
  return removeRoutes(
    socket,
    (destination) => isInside(destination, others) && !isInside(destination, networks),
  );
}

function isInside(prefix: Prefix, networks: readonly Prefix[]): boolean {
  return networks.some((network) => containsPrefix(network, prefix));
}

function removeRoutes(socket: NetlinkSocket, isOurs: (destination: Prefix) => boolean): Removed {
  const where = ({ destination }: Route) => isOurs(destination);
  const routes = FAMILIES.flatMap((family) =>
    listRoutes(socket, { family, protocol: ROUTE_PROTOCOL, where })
  );
  const ids = new Set(routes.flatMap(({ nexthopId }) => nexthopId ?? []));
  const failures = socket.batch(routes.map((route) =>
    routeRequest("delete", {
      destination: route.destination,
      type: route.type,
      protocol: route.protocol,
      metric: route.metric,
      ...(route.nexthopId !== undefined
        ? { nexthopId: route.nexthopId }
        : route.linkIndex !== undefined
        ? { linkIndex: route.linkIndex }
        : {}),
    })
  ));
  if (failures.length > 0) throw failures[0]!.error;
  if (nexthopsSupported(socket)) {
    const own = listNexthops(socket, { protocol: ROUTE_PROTOCOL }).filter(({ id }) => ids.has(id));
    socket.batch(own.map(({ id }) => nexthopRequest("delete", { id })));
  }
  return routes.map(({ destination }) => `route ${formatPrefix(destination)}`);
}

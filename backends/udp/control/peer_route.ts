/**
 * From leases to routes.
 *
 * @module
 */
import { addressProblem, namedType } from "../../../lib/backend/peer_plan.ts";
import type { OwnSubnets } from "../../../lib/backend/types.ts";
import type { Json, JsonObject } from "../../../lib/config/types.ts";
import type { ExternalInterface } from "../../../lib/external/types.ts";
import type { Lease } from "../../../lib/leases/types.ts";
import { FAMILIES, familiesOf, type Family, type PerFamily, perFamily } from "../../../lib/net/family.ts";
import { formatIp, type Ip, sameIp } from "../../../lib/net/ip.ts";
import { firstIp } from "../../../lib/net/prefix.ts";
import { socketAddress } from "../shared/socket_address.ts";
import type { OwnRoute, PeerRoute } from "./table_writer.ts";

/** This host as its peers see it. */
export interface OwnEnd {
  /** Addresses at which it is reached, and from which it sends. */
  readonly addresses: readonly Ip[];
  readonly port: number;
  /** The external interface, to which link-local addresses belong. */
  readonly linkIndex: number;
}

/** The end of the tunnel on this host. */
export function ownEnd({ addresses, publicIps, index }: ExternalInterface, port: number): OwnEnd {
  const ips = FAMILIES.flatMap(({ name }) => [addresses[name], publicIps[name]]);
  return { addresses: ips.filter((ip) => ip !== undefined), port, linkIndex: index };
}

/**
 * Where packets for a peer's subnet of one family go, or a sentence that says why nowhere. They travel over the same
 * family's public address.
 *
 * @param defaultPort The config's port, for leases that name none.
 */
export function peerRoute(family: Family, peer: Lease, defaultPort: number, own: OwnEnd): PeerRoute | string {
  const { backendType, publicIps, backendData } = peer.attributes;
  const subnet = peer.subnets[family.name], remote = publicIps[family.name];
  if (!subnet) return `it has no ${family.label} subnet`;
  if (backendType !== undefined && backendType !== "udp") return `its lease has ${namedType(peer)}, not udp`;
  if (!remote) return `it has no public ${family.label} address`;
  const port = portIn(backendData[family.name], defaultPort);
  if (port === undefined) return `the Port in its lease isn't a port number`;
  // A lease of this host's past: a path to it would lead packets round in a circle. Another port of the same
  // address is another host behind the same NAT.
  if (port === own.port && own.addresses.some((ip) => sameIp(ip, remote))) {
    return `${formatIp(remote)} port ${port} is this host's own`;
  }
  return addressProblem(remote) ?? { subnet, name: socketAddress(remote, port, own.linkIndex) };
}

/** The routes of a peer in all of these families; those that it can't have are left out. */
export function peerRoutes(
  families: readonly Family[],
  peer: Lease,
  defaultPort: number,
  own: OwnEnd,
): PerFamily<PeerRoute> {
  return perFamily(families, (family) => {
    const route = peerRoute(family, peer, defaultPort, own);
    return typeof route === "string" ? undefined : route;
  });
}

/**
 * The port at which a peer listens; undefined if its lease names one that isn't a port number.
 *
 * @param defaultPort The config's port, for leases that name none.
 */
export function portOf(peer: Lease, defaultPort: number): number | undefined {
  const { backendData } = peer.attributes;
  return portIn(backendData.ipv4 ?? backendData.ipv6, defaultPort);
}

/** The port in a lease's backend data of one family. */
function portIn(data: Json | undefined, defaultPort: number): number | undefined {
  if (data === undefined || data === null || typeof data !== "object" || Array.isArray(data)) {
    return defaultPort;
  }
  const port = (data as JsonObject)["Port"];
  if (port === undefined) return defaultPort;
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined;
}

/** This host's own subnets. */
export function ownRoutes({ subnets }: OwnSubnets): PerFamily<OwnRoute> {
  return perFamily(familiesOf(subnets), ({ name }) => {
    const subnet = subnets[name]!;
    return { subnet, address: firstIp(subnet) };
  });
}

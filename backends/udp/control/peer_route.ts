/**
 * From leases to routes.
 *
 * @module
 */
import type { JsonObject } from "../../../lib/config/types.ts";
import type { Lease } from "../../../lib/leases/types.ts";
import { formatIp, type Ip, sameIp } from "../../../lib/net/ip.ts";
import { firstIp } from "../../../lib/net/prefix.ts";
import { namedType } from "../../../lib/backend/peer_plan.ts";
import type { OwnSubnets } from "../../../lib/backend/types.ts";
import type { ExternalInterface } from "../../../lib/external/types.ts";
import type { OwnRoute, PeerRoute } from "./routes_writer.ts";

/** This host as its peers see it. */
export interface OwnEnd {
  /** Addresses at which it is reached, and from which it sends. */
  readonly addresses: readonly Ip[];
  readonly port: number;
}

/**
 * Where packets for a peer go, or a sentence that says why nowhere.
 *
 * @param defaultPort The config's port, for leases that name none.
 */
export function peerRoute(peer: Lease, defaultPort: number, own: OwnEnd): PeerRoute | string {
  const { backendType, publicIps } = peer.attributes;
  const subnet = peer.subnets.ipv4, remote = publicIps.ipv4;
  if (!subnet) return "it has no IPv4 subnet";
  if (backendType !== undefined && backendType !== "udp") return `its lease has ${namedType(peer)}, not udp`;
  if (!remote) return "it has no public IPv4 address";
  const port = portOf(peer, defaultPort);
  if (port === undefined) return "the Port in its lease is no port number";
  // A lease of this host's past: a path to it would lead packets round in a circle. Another port of the same
  // address is another host behind the same NAT.
  if (port === own.port && own.addresses.some((ip) => sameIp(ip, remote))) {
    return `${formatIp(remote)} port ${port} is this host's own`;
  }
  return { base: Number(subnet.base), length: subnet.length, address: Number(remote.value), port };
}

/**
 * The port at which a peer listens; undefined if its lease names one that is no port number.
 *
 * @param defaultPort The config's port, for leases that name none.
 */
export function portOf(peer: Lease, defaultPort: number): number | undefined {
  const data = peer.attributes.backendData.ipv4;
  if (data === null || typeof data !== "object" || Array.isArray(data)) return defaultPort;
  const port = (data as JsonObject)["Port"];
  if (port === undefined) return defaultPort;
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined;
}

/** The end of the tunnel on this host. */
export function ownEnd({ addresses, publicIps }: ExternalInterface, port: number): OwnEnd {
  return { addresses: [addresses.ipv4, publicIps.ipv4].filter((ip) => ip !== undefined), port };
}

/** This host's own subnet. @throws {Error} If the lease has no IPv4 subnet. */
export function ownRoute(lease: OwnSubnets): OwnRoute {
  const subnet = lease.subnets.ipv4;
  if (!subnet) throw new Error("The lease has no IPv4 subnet, which the udp backend needs");
  return { base: Number(subnet.base), length: subnet.length, address: Number(firstIp(subnet).value) };
}

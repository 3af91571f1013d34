/**
 * Peers as probes see them, and who is asked in their subnets.
 *
 * @module
 */
import type { JsonObject } from "../config/types.ts";
import type { Lease } from "../leases/types.ts";
import type { Family, PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import { firstIp, ipAt, type Prefix, prefixSize } from "../net/prefix.ts";
import { isUdpTunnel, type Tunnel } from "../net/tunnel.ts";
import { isRoutedByOthers, pathOf } from "./kernel_path.ts";

/** One peer. */
export interface ProbeTarget {
  /** The lease's key. */
  readonly key: string;
  /** The host's name, where the store knows it. */
  readonly name?: string;
  readonly lease: Lease;
}

/** The network as this host is in it. */
export interface ProbeNetwork {
  /** The config's Backend.Type. */
  readonly type: string;
  /** The own subnets. */
  readonly subnets: PerFamily<Prefix>;
  /** How outer packets look; absent for backends without a tunnel. */
  readonly tunnel?: Tunnel;
}

/** Backends whose hosts have an address of flannel's in their subnet: its lowest. */
function hasOwnDevice(type: string): boolean {
  const path = pathOf(type);
  return path !== "direct" && !isRoutedByOthers(path);
}

/**
 * Whom to ask in a peer's subnet: its tunnel device (the lowest address, on the original's hosts too), or else the
 * container bridge (the first usable one), which may not be there.
 */
export function addressToAsk(type: string, subnet: Prefix): Ip {
  return hasOwnDevice(type) ? firstIp(subnet) : ipAt(subnet, 1n);
}

/** An address of the subnet that is hardly the peer's own: the last but one. */
export function addressBeyond(subnet: Prefix): Ip {
  return ipAt(subnet, prefixSize(subnet) - 2n);
}

/** Whether nothing need answer at {@link addressToAsk}. */
export function mayBeSilent(type: string): boolean {
  return !hasOwnDevice(type);
}

/** The own overlay addresses: where answers are to come back to. */
export function ownAddresses({ type, subnets }: ProbeNetwork, families: readonly Family[]): PerFamily<Ip> {
  return Object.fromEntries(
    families.flatMap(({ name }) => subnets[name] ? [[name, addressToAsk(type, subnets[name])]] : []),
  );
}

/** The UDP ports that a peer's lease names for its end of the tunnel (wireguard, udp). */
export function peerPorts({ lease }: ProbeTarget): number[] {
  const { backendData } = lease.attributes;
  return [backendData.ipv4, backendData.ipv6].flatMap((data) => {
    const port = typeof data === "object" && data !== null ? (data as JsonObject)["Port"] : undefined;
    return typeof port === "number" && port >= 1 && port <= 65_535 ? [port] : [];
  });
}

/** What carries the tunnel, in words. */
export function describeCarrier({ tunnel }: ProbeNetwork): string | undefined {
  if (!tunnel) return undefined;
  if (!isUdpTunnel(tunnel)) return `IP protocol ${tunnel.ipProtocol}`;
  return `UDP port ${tunnel.udpPorts.join(" and ")}`;
}

/**
 * What a tunnel's outer packets look like on the wire.
 *
 * @module
 */

/** Packets of a tunnel over UDP (VXLAN, WireGuard, the udp backend). */
export interface UdpTunnel {
  /** The ports that this host listens on, 1 to 65535; at least one. */
  readonly udpPorts: readonly number[];
  /** VXLAN network identifier: networks of several VNIs may share a port. Absent for tunnels without one. */
  readonly vni?: number;
}

/** Packets of a tunnel directly over IP (IPIP, GRE). */
export interface IpTunnel {
  /** IANA protocol number: 4 for IPIP. */
  readonly ipProtocol: number;
}

/** What a tunnel's packets are carried in. */
export type Tunnel = UdpTunnel | IpTunnel;

/** Whether packets come over UDP. */
export function isUdpTunnel(tunnel: Tunnel): tunnel is UdpTunnel {
  return "udpPorts" in tunnel;
}

/** @throws {RangeError} If there is no port, or a number is out of its range. */
export function checkTunnel(tunnel: Tunnel): void {
  const isWithin = (value: number, least: number, most: number) =>
    Number.isInteger(value) && value >= least && value <= most;
  if (!isUdpTunnel(tunnel)) {
    if (isWithin(tunnel.ipProtocol, 0, 255)) return;
    throw new RangeError(`A tunnel's IP protocol must be 0 to 255: got ${tunnel.ipProtocol}`);
  }
  if (tunnel.udpPorts.length > 0 && tunnel.udpPorts.every((port) => isWithin(port, 1, 65535))) return;
  throw new RangeError(`A tunnel's port must be 1 to 65535: got ${tunnel.udpPorts.join(", ")}`);
}

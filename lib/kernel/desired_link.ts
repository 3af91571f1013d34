/**
 * A device of our own, as the plan has it.
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";

/** Setting of a VXLAN device's transmit checksum offload (ethtool tx-checksum-ip-generic). */
export type ChecksumOffload = "auto" | "on" | "off";

/** What every device of ours has. */
interface DesiredLinkBase {
  readonly name: string;
  /** MTU in bytes. */
  readonly mtu: number;
  /** Addresses with their prefix lengths; others on the device are left alone. */
  readonly addresses: readonly { readonly ip: Ip; readonly prefixLength: number }[];
}

/** A VXLAN device: one VTEP. */
export interface DesiredVxlan extends DesiredLinkBase {
  readonly kind: "vxlan";
  readonly mac: Mac;
  /** VXLAN network identifier, 0 to 16,777,215. */
  readonly vni: number;
  /** Outer source address. */
  readonly local: Ip;
  /** Name of the underlay link. */
  readonly underlay: string;
  /** UDP destination port; 0: the kernel's default. */
  readonly port: number;
  readonly learning: boolean;
  readonly gbp: boolean;
  readonly txChecksum: ChecksumOffload;
}

/** A persistent TUN device. */
export interface DesiredTun extends DesiredLinkBase {
  readonly kind: "tun";
  /** Made with IFF_VNET_HDR; each opener of a queue chooses for itself. */
  readonly vnetHeader: boolean;
  /** Opened with IFF_MULTI_QUEUE. */
  readonly multiQueue: boolean;
}

/** Where a WireGuard device runs. */
export type WireguardImplementation =
  | { readonly kind: "kernel" }
  /** A program that makes a TUN device, with the arguments before the device's name. */
  | { readonly kind: "userspace"; readonly program: string; readonly args: readonly string[] };

/** A WireGuard device; its key, port and peers are its backend's. */
export interface DesiredWireguard extends DesiredLinkBase {
  readonly kind: "wireguard";
  readonly implementation: WireguardImplementation;
  /** Names of the network's other WireGuard devices. */
  readonly siblings: readonly string[];
}

/** An IPIP tunnel to any peer. */
export interface DesiredIpip extends DesiredLinkBase {
  readonly kind: "ipip";
  /** Outer source address. */
  readonly local: Ip;
}

/** A device that a backend asks for. */
export type DesiredLink = DesiredVxlan | DesiredTun | DesiredWireguard | DesiredIpip;

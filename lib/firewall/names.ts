/**
 * Names of chains and tables.
 *
 * The network under the default prefix uses the contract's names, so that a host can be taken over from the
 * original. Several daemons may run on one host: every other network's names carry a suffix made of its id,
 * so that each daemon writes and removes only what is its own.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { sha256Hex } from "../sha256.ts";

/** The network id whose rules carry the contract's plain names. */
export const DEFAULT_NETWORK_ID = "/coreos.com/network";

/** Comment of every rule about masquerading, and of the jump to its chain. */
export const MASQUERADE_COMMENT = "flanneld masq";

/** Comment of every rule that accepts forwarded packets, and of the jumps to its chain. */
export const FORWARD_COMMENT = "flanneld forward";

/** What one network's firewall objects are called. */
export interface FirewallNames {
  /** Chain of iptables' nat table. iptables allows 28 characters. */
  readonly masqueradeChain: string;
  /** Chain of iptables' filter table. */
  readonly forwardChain: string;
  /** The family's table in nftables. */
  readonly table: (family: Family) => string;
  /** Table of the peer filter (family inet) in nftables. */
  readonly peerTable: string;
}

/**
 * The names for a network.
 *
 * @param networkId What identifies the network among others on the same host: the etcd prefix or the path of the SQLite store.
 */
export function firewallNames(networkId: string): FirewallNames {
  const suffix = networkSuffix(networkId);
  return {
    masqueradeChain: `FLANNEL-POSTRTG${suffix}`,
    forwardChain: `FLANNEL-FWD${suffix}`,
    table: (family) => `flannel-${family.name}${suffix}`,
    peerTable: `flannel-peers${suffix}`,
  };
}

/** Empty for the default network, else `-` and 8 hexadecimal digits. */
function networkSuffix(networkId: string): string {
  const id = networkId.replace(/\/+$/, "");
  if (id === DEFAULT_NETWORK_ID) return "";
  return `-${sha256Hex(id).slice(0, 8)}`;
}

/** Whether `chain` is a forward chain of this or of another flannel network. */
export function isForwardChain(chain: string): boolean {
  return /^FLANNEL-FWD(-[0-9a-f]{8})?$/.test(chain);
}

/** Whether `chain` is a masquerade chain of this or of another flannel network. */
export function isMasqueradeChain(chain: string): boolean {
  return /^FLANNEL-POSTRTG(-[0-9a-f]{8})?$/.test(chain);
}

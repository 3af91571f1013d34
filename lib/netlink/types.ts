/**
 * What rtnetlink knows, as plain values: one interface a noun, the same for what is sent and what is read.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import type { Prefix } from "../net/prefix.ts";

/** Attributes of a VXLAN device (IFLA_VXLAN_*, linux/if_link.h). */
export interface VxlanAttributes {
  /** VXLAN network identifier, 0 to 16,777,215. */
  readonly vni: number;
  /** Source address of the outer packet. */
  readonly local?: Ip;
  /** Index of the underlay link. */
  readonly linkIndex?: number;
  /** UDP destination port; 0 when sending: the kernel's default, 8472. */
  readonly port: number;
  readonly learning: boolean;
  /** Group Based Policy extension. */
  readonly gbp: boolean;
  /** What of the rest isn't as the kernel makes a device that asks for nothing. Only read. */
  readonly special?: VxlanSpecials;
}

/**
 * Attributes that a tunnel between VTEPs has no use for; those that are absent have the kernel's default.
 * Any of them keeps packets from where they are to go, on some network.
 */
export interface VxlanSpecials {
  /** Outer TTL; the default is the host's. */
  readonly ttl?: number;
  /** The outer TTL is the inner one's. */
  readonly ttlInherit?: boolean;
  /** Don't Fragment: 1 set, 2 as the inner packet has it (enum ifla_vxlan_df). */
  readonly df?: number;
  /** Where packets go whose MAC has no forwarding entry: an address, or a multicast group. */
  readonly remote?: Ip;
  /** How many forwarding entries there may be. */
  readonly limit?: number;
  /** Flags that are set: `l2miss`, `proxy` … in the words of `ip link`. */
  readonly flags?: readonly string[];
}

/** A network device. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFF_ flags (linux/if.h). */
  readonly flags: number;
  readonly mtu: number;
  /** Absent for devices without a 6-byte hardware address. */
  readonly mac?: Mac;
  /** IFLA_INFO_KIND: `vxlan`, `bridge`, `tun`, `veth`; absent for physical devices and lo. */
  readonly kind?: string;
  /** Index of the master (bridge) that it is enslaved to. */
  readonly master?: number;
  /** Free text that an administrator or program gave the link (IFLA_IFALIAS, at most 255 bytes). */
  readonly alias?: string;
  readonly vxlan?: VxlanAttributes;
  readonly ipip?: IpipAttributes;
  /** Only of TUN devices, and since Linux 4.17. */
  readonly tun?: TunAttributes;
  /** How the kernel makes IPv6 link-local addresses (IN6_ADDR_GEN_MODE_); absent where the link has no IPv6. */
  readonly addressGeneration?: number;
}

/** Attributes of an IPIP device (IFLA_IPTUN_*, linux/if_tunnel.h). */
export interface IpipAttributes {
  /** Outer source address; absent: any. */
  readonly local?: Ip;
  /** The one peer; absent: any, as the routes say. */
  readonly remote?: Ip;
}

/** Attributes of a TUN device (IFLA_TUN_*, linux/if_link.h). */
export interface TunAttributes {
  /** IFF_MULTI_QUEUE: several queues can be opened. */
  readonly multiQueue: boolean;
  /** IFF_PERSIST: it outlives the process that made it. */
  readonly persistent: boolean;
}

/** A device to make. */
export interface LinkSpec {
  readonly name: string;
  readonly kind: "vxlan" | "bridge" | "veth" | "wireguard" | "ipip";
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Only for kind `vxlan`. */
  readonly vxlan?: VxlanAttributes;
  /** Only for kind `ipip`. */
  readonly ipip?: IpipAttributes;
  /** Set to keep the kernel from making an IPv6 link-local address (IFLA_INET6_ADDR_GEN_MODE none). */
  readonly noLinkLocal?: boolean;
  /** Only for kind `veth`: the other end, and an open file of the network namespace it is to be in. */
  readonly peer?: { readonly name: string; readonly netnsFd?: number };
}

/** What of an existing device is to change. */
export interface LinkChange {
  /** Kernels before 6.2 rename only a link that is down (EBUSY). */
  readonly name?: string;
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly alias?: string;
  /** Index of the new master; 0 releases it. */
  readonly master?: number;
}

/** An address of a link. */
export interface LinkAddress {
  readonly linkIndex: number;
  readonly ip: Ip;
  readonly prefixLength: number;
  /** RT_SCOPE_: 0 global (universe), 253 link, 254 host. */
  readonly scope: number;
  /** IFA_F_ flags (linux/if_addr.h), of all 32 bits. */
  readonly flags: number;
}

/** A route of the main table (or of `table`). */
export interface Route {
  readonly family: Family;
  readonly destination: Prefix;
  /** RTN_: 1 unicast, 6 blackhole, … */
  readonly type: number;
  /** RTPROT_: who made it. */
  readonly protocol: number;
  /** RT_SCOPE_. */
  readonly scope: number;
  readonly table: number;
  /** IPv4: 0 when none was given; IPv6: the kernel's default is 1024. */
  readonly metric: number;
  /** Index of the output link; absent for blackholes and multipath routes. */
  readonly linkIndex?: number;
  readonly gateway?: Ip;
  readonly preferredSource?: Ip;
  /** RTNH_F_ONLINK is set. */
  readonly onlink: boolean;
  /** Id of the next-hop object it uses. */
  readonly nexthopId?: number;
  /** Has several next hops (RTA_MULTIPATH). */
  readonly multipath: boolean;
  /** MTU of the route, if it has one (RTAX_MTU), in bytes. */
  readonly mtu?: number;
}

/** A neighbour (ARP or ND) entry. */
export interface Neighbour {
  readonly linkIndex: number;
  readonly ip: Ip;
  /** Absent while unresolved. */
  readonly mac?: Mac;
  /** NUD_ state bits. */
  readonly state: number;
  /** NTF_ flags. */
  readonly flags: number;
}

/** A forwarding database entry of a VXLAN device (AF_BRIDGE neighbour). */
export interface FdbNeighbour {
  readonly linkIndex: number;
  readonly mac: Mac;
  /** Outer destination address. */
  readonly remote?: Ip;
  readonly state: number;
  readonly flags: number;
}

/** A next-hop object (RTM_NEWNEXTHOP, Linux 5.3). */
export interface Nexthop {
  readonly id: number;
  readonly family: Family;
  readonly gateway?: Ip;
  readonly linkIndex?: number;
  readonly protocol: number;
  readonly onlink: boolean;
}

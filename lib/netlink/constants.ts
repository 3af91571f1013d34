/**
 * Numbers of netlink and rtnetlink, by the header that defines them.
 *
 * @module
 */

// linux/netlink.h
export const AF_NETLINK = 16;
export const NETLINK_ROUTE = 0;
export const NETLINK_GENERIC = 16;

/** setsockopt level and options of netlink sockets. */
export const SOL_NETLINK = 270;
export const NETLINK_ADD_MEMBERSHIP = 1;
export const NETLINK_CAP_ACK = 10;
export const NETLINK_EXT_ACK = 11;
export const NETLINK_GET_STRICT_CHK = 12;

export const NLMSG_ERROR = 2, NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x1, NLM_F_ACK = 0x4, NLM_F_DUMP_INTR = 0x10;
/** Of requests that make something. */
export const NLM_F_REPLACE = 0x100, NLM_F_EXCL = 0x200, NLM_F_CREATE = 0x400;
/** Of requests that read. */
export const NLM_F_DUMP = 0x300;
/** Of acknowledgements. */
export const NLM_F_CAPPED = 0x100, NLM_F_ACK_TLVS = 0x200;

export const NLMSGERR_ATTR_MSG = 1, NLMSGERR_ATTR_OFFS = 2;

/** Bits of an attribute's type field that aren't part of the type. */
export const NLA_TYPE_MASK = 0x3fff;
export const NLA_F_NESTED = 0x8000;

// linux/rtnetlink.h
export const RTM_NEWLINK = 16, RTM_DELLINK = 17, RTM_GETLINK = 18;
export const RTM_NEWADDR = 20, RTM_DELADDR = 21, RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24, RTM_DELROUTE = 25, RTM_GETROUTE = 26;
export const RTM_NEWNEIGH = 28, RTM_DELNEIGH = 29, RTM_GETNEIGH = 30;
export const RTM_NEWNEXTHOP = 104, RTM_DELNEXTHOP = 105, RTM_GETNEXTHOP = 106;

/** Multicast groups (RTNLGRP_). */
export const RTNLGRP_LINK = 1, RTNLGRP_NEIGH = 3, RTNLGRP_IPV4_IFADDR = 5, RTNLGRP_IPV4_ROUTE = 7;
export const RTNLGRP_IPV6_IFADDR = 9, RTNLGRP_IPV6_ROUTE = 11, RTNLGRP_NEXTHOP = 32;

export const RTA_DST = 1, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PRIORITY = 6, RTA_PREFSRC = 7, RTA_MULTIPATH = 9;
export const RTA_METRICS = 8, RTAX_MTU = 2;
export const RTA_TABLE = 15, RTA_VIA = 18, RTA_NH_ID = 30;

/** Kinds of routes. */
export const RTN_UNICAST = 1, RTN_LOCAL = 2;
export const RTN_BLACKHOLE = 6, RTN_UNREACHABLE = 7, RTN_PROHIBIT = 8;

/** Who made a route; RTPROT_BOOT is what programs (iproute2, netlink libraries) set that don't say. */
export const RTPROT_UNSPEC = 0, RTPROT_KERNEL = 2, RTPROT_BOOT = 3, RTPROT_STATIC = 4;
export const RTPROT_RA = 9, RTPROT_ZEBRA = 11, RTPROT_BIRD = 12, RTPROT_DHCP = 16, RTPROT_KEEPALIVED = 18;
export const RTPROT_BGP = 186, RTPROT_ISIS = 187, RTPROT_OSPF = 188, RTPROT_RIP = 189;

/** How far a route or address reaches. */
export const RT_SCOPE_UNIVERSE = 0, RT_SCOPE_LINK = 253, RT_SCOPE_HOST = 254, RT_SCOPE_NOWHERE = 255;

export const RT_TABLE_UNSPEC = 0, RT_TABLE_MAIN = 254;

export const RTNH_F_ONLINK = 4;
/** In rtm_flags: a copy from the routing cache, not an entry of a table. */
export const RTM_F_CLONED = 0x200;

/** Leaves the statistics out of link messages. */
export const RTEXT_FILTER_SKIP_STATS = 8;

// linux/if.h, linux/if_link.h
export const IFF_UP = 0x1, IFF_LOOPBACK = 0x8, IFF_NOARP = 0x80;
export const IFF_RUNNING = 0x40, IFF_LOWER_UP = 0x10000;
/** Size of an interface name with its zero byte. */
export const IFNAMSIZ = 16;

export const IFLA_ADDRESS = 1,
  IFLA_IFNAME = 3,
  IFLA_MTU = 4,
  IFLA_MASTER = 10,
  IFLA_LINKINFO = 18,
  IFLA_IFALIAS = 20;
export const IFLA_AF_SPEC = 26, IFLA_NET_NS_FD = 28, IFLA_EXT_MASK = 29;
export const IFLA_INFO_KIND = 1, IFLA_INFO_DATA = 2;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;
export const IFLA_VXLAN_ID = 1, IFLA_VXLAN_LINK = 3, IFLA_VXLAN_LOCAL = 4, IFLA_VXLAN_LEARNING = 7;
export const IFLA_VXLAN_PORT = 15, IFLA_VXLAN_LOCAL6 = 17, IFLA_VXLAN_GBP = 23;
export const IFLA_VXLAN_GROUP = 2, IFLA_VXLAN_TTL = 5, IFLA_VXLAN_LIMIT = 9, IFLA_VXLAN_PROXY = 11;
export const IFLA_VXLAN_RSC = 12, IFLA_VXLAN_L2MISS = 13, IFLA_VXLAN_L3MISS = 14, IFLA_VXLAN_GROUP6 = 16;
export const IFLA_VXLAN_UDP_ZERO_CSUM6_TX = 19, IFLA_VXLAN_COLLECT_METADATA = 25, IFLA_VXLAN_GPE = 27;
export const IFLA_VXLAN_TTL_INHERIT = 28, IFLA_VXLAN_DF = 29, IFLA_VXLAN_VNIFILTER = 30;
export const IFLA_TUN_PERSIST = 6, IFLA_TUN_MULTI_QUEUE = 7;
/** linux/veth.h */
export const VETH_INFO_PEER = 1;

// linux/if_addr.h
export const IFA_ADDRESS = 1, IFA_LOCAL = 2, IFA_FLAGS = 8;
export const IFA_F_TEMPORARY = 0x01, IFA_F_NODAD = 0x02, IFA_F_DADFAILED = 0x08, IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40, IFA_F_PERMANENT = 0x80;

// linux/neighbour.h
export const NDA_DST = 1, NDA_LLADDR = 2, NDA_IFINDEX = 8;
export const NTF_SELF = 0x02;
export const NUD_NOARP = 0x40, NUD_PERMANENT = 0x80;

// linux/nexthop.h
export const NHA_ID = 1, NHA_OIF = 5, NHA_GATEWAY = 6;

// sys/socket.h
export const AF_UNSPEC = 0, AF_BRIDGE = 7, AF_INET6 = 10;

// linux/if_tunnel.h
export const IFLA_IPTUN_LOCAL = 2, IFLA_IPTUN_REMOTE = 3, IFLA_IPTUN_PMTUDISC = 10;

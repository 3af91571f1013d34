/**
 * Settings of the kernel that decide what becomes of flannel's packets.
 *
 * @module
 */
import type { Scene } from "../doctor/scene.ts";
import type { KernelView } from "../doctor/kernel_view.ts";

const SINGLE = [
  "kernel.osrelease",
  "fs.file-nr",
  "net.ipv4.ip_forward",
  "net.ipv4.ip_no_pmtu_disc",
  "net.ipv4.tcp_mtu_probing",
  "net.ipv4.nexthop_compat_mode",
  "net.ipv4.fib_multipath_hash_policy",
  "net.ipv6.route.max_size",
  "net.bridge.bridge-nf-call-iptables",
  "net.bridge.bridge-nf-call-ip6tables",
  "net.core.rmem_max",
  "net.core.wmem_max",
  "net.core.netdev_max_backlog",
  "net.netfilter.nf_conntrack_count",
  "net.netfilter.nf_conntrack_max",
  ...["ipv4", "ipv6"].flatMap((family) =>
    [1, 2, 3].map((number) => `net.${family}.neigh.default.gc_thresh${number}`)
  ),
];

const OF_LINK = {
  ipv4: [
    "forwarding",
    "rp_filter",
    "accept_local",
    "accept_redirects",
    "send_redirects",
    "arp_ignore",
    "proxy_arp",
  ],
  ipv6: ["forwarding", "disable_ipv6", "accept_ra", "accept_dad", "addr_gen_mode", "mtu"],
};

/** At most this many links: a host may have one for each container. */
const MAX_LINKS = 200;

/** `name = value`, a line each. */
export function settings({ kernel }: Scene): string {
  const names = [
    ...SINGLE,
    ...Object.entries(OF_LINK).flatMap(([family, keys]) =>
      linksOf(kernel, family).flatMap((link) =>
        keys.map((key) => `net.${family}.conf.${link.replaceAll(".", "/")}.${key}`)
      )
    ),
  ];
  return names.flatMap((name) => {
    const value = kernel.sysctl(name);
    return value === undefined ? [] : [`${name} = ${value}`];
  }).join("\n");
}

function linksOf(kernel: KernelView, family: string): readonly string[] {
  const names = kernel.folder(`/proc/sys/net/${family}/conf`);
  // Containers' ends of veth pairs are the many, and alike.
  const [few, many] = [names.filter((name) => !/^(veth|cali|lxc)/.test(name)), names.length];
  return (many > MAX_LINKS ? few : names).slice(0, MAX_LINKS);
}

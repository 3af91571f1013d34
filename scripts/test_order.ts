/**
 * The order in which test files run.
 *
 * @module
 */

/** The files that take longest, the longest first: a run must not end with one of them alone. */
export const LONGEST: readonly string[] = [
  "udp_traffic",
  "cloud_trouble",
  "wireguard_peers",
  "wireguard_trouble",
  "wireguard_program",
  "wireguard_network",
  "wireguard_rotate",
  "vxlan_device",
  "dualstack_network",
  "lease_contest",
  "leases_command",
  "heal_underlay",
  "daemon_start",
  "store_etcd_cluster",
  "cloud_routes",
  "heal_entries",
  "kube_network",
  "probe_healthy",
  "kube_outage",
  "probe_faults",
  "kube_trouble",
  "udp_life",
  "udp_daemon",
  "udp_families",
  "kube_backends",
  "kube_mixed",
  "docs_walk",
  "heal_steady",
  "store_etcd_faults",
  "kube_image",
  "package",
].map((name) => `tests/lab/${name}_test.ts`);

/** Puts the files that are known to take long first; the others keep their order. */
export function longestFirst(files: readonly string[]): string[] {
  const rank = (path: string) => LONGEST.includes(path) ? LONGEST.indexOf(path) : LONGEST.length;
  return [...files].sort((a, b) => rank(a) - rank(b));
}

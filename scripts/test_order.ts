/**
 * The order in which test files run.
 *
 * @module
 */

/** The files that take longest, the longest first: a run must not end with one of them alone. */
const LONGEST: readonly string[] = [
  "daemon_start",
  "probe_faults",
  "cloud_trouble",
  "kube_outage",
  "cloud_routes",
  "udp_traffic",
  "wireguard_peers",
  "dualstack_network",
  "store_etcd_cluster",
  "heal_underlay",
].map((name) => `tests/lab/${name}_test.ts`);

/** Puts the files that are known to take long first; the others keep their order. */
export function longestFirst(files: readonly string[]): string[] {
  const rank = (path: string) => LONGEST.includes(path) ? LONGEST.indexOf(path) : LONGEST.length;
  return [...files].sort((a, b) => rank(a) - rank(b));
}

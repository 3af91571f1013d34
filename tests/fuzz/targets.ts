/**
 * Every decoder that is fuzzed.
 *
 * @module
 */
import type { FuzzTarget } from "./target.ts";
import { CNI_TARGETS } from "./targets/cni.ts";
import { CLOUD_TARGETS } from "./targets/cloud.ts";
import { CONFIG_TARGETS } from "./targets/config.ts";
import { ETCD_TARGETS } from "./targets/etcd.ts";
import { FIREWALL_TARGETS } from "./targets/firewall.ts";
import { KUBE_TARGETS } from "./targets/kube.ts";
import { LEASE_TARGETS } from "./targets/leases.ts";
import { NETLINK_TARGETS } from "./targets/netlink.ts";
import { OPTION_TARGETS } from "./targets/options.ts";
import { PACKET_TARGETS } from "./targets/packets.ts";
import { SELF_TEST_TARGETS } from "./targets/self_test.ts";
import { UDP_TARGETS } from "./targets/udp.ts";
import { WIREGUARD_TARGETS } from "./targets/wireguard.ts";

/** All of them. */
export const TARGETS: readonly FuzzTarget[] = [
  ...NETLINK_TARGETS,
  ...WIREGUARD_TARGETS,
  ...CONFIG_TARGETS,
  ...LEASE_TARGETS,
  ...ETCD_TARGETS,
  ...CLOUD_TARGETS,
  ...KUBE_TARGETS,
  ...PACKET_TARGETS,
  ...UDP_TARGETS,
  ...OPTION_TARGETS,
  ...CNI_TARGETS,
  ...FIREWALL_TARGETS,
];

/** The one with this name; also those with which the fuzzer is tested. */
export function targetNamed(name: string): FuzzTarget | undefined {
  return [...TARGETS, ...SELF_TEST_TARGETS].find((target) => target.name === name);
}

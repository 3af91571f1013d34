/**
 * All checks, in the order in which they are shown.
 *
 * @module
 */
import { backendCheck } from "./checks/backend.ts";
import { bridgeNetfilter } from "./checks/bridge_netfilter.ts";
import { checksumOffload } from "./checks/checksum_offload.ts";
import { clock } from "./checks/clock.ts";
import { cloud } from "./checks/cloud.ts";
import { daemon } from "./checks/daemon.ts";
import { files } from "./checks/files.ts";
import { firewallTools } from "./checks/firewall_tools.ts";
import { forwardPolicy } from "./checks/forward_policy.ts";
import { forwarding } from "./checks/forwarding.ts";
import { interfaceCheck } from "./checks/interface.ts";
import { kernelFeatures } from "./checks/kernel_features.ts";
import { leftovers } from "./checks/leftovers.ts";
import { mtu } from "./checks/mtu.ts";
import { networkManagers } from "./checks/network_managers.ts";
import { otherFirewalls } from "./checks/other_firewalls.ts";
import { overlap } from "./checks/overlap.ts";
import { resources } from "./checks/resources.ts";
import { rpFilter } from "./checks/rp_filter.ts";
import { secrets } from "./checks/secrets.ts";
import { staleEntries } from "./checks/stale_entries.ts";
import { store } from "./checks/store.ts";
import { tunnelPort } from "./checks/tunnel_port.ts";
import { user } from "./checks/user.ts";
import type { Check } from "./types.ts";

/** Every check that `doctor` carries out. */
export const CHECKS: readonly Check[] = [
  user,
  store,
  interfaceCheck,
  kernelFeatures,
  backendCheck,
  cloud,
  daemon,
  staleEntries,
  mtu,
  checksumOffload,
  tunnelPort,
  overlap,
  forwarding,
  rpFilter,
  bridgeNetfilter,
  firewallTools,
  forwardPolicy,
  otherFirewalls,
  networkManagers,
  leftovers,
  secrets,
  resources,
  clock,
  files,
] as readonly Check[];

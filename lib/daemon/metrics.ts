/**
 * The daemon's own metrics.
 *
 * @module
 */
import { counter, gauge } from "../observe/metric_spec.ts";

export const PEERS = gauge(
  "flannel_peers",
  "Other hosts in the network; subnets that are reserved for hosts yet to come don't count",
);
export const PEER_PROBLEMS = gauge("flannel_peer_problems", "Peers that can't be reached, or not fully");
export const MALFORMED_LEASES = gauge("flannel_malformed_leases", "Keys in the store that aren't leases");
export const REFUSED_LEASES = gauge(
  "flannel_refused_leases",
  "Leases outside the network or overlapping another",
);
export const LEASE_FAULTS = counter(
  "flannel_lease_faults_total",
  "Keys and values in the store that were found not to be leases",
);
export const LEASE_REFUSALS = counter(
  "flannel_lease_refusals_total",
  "Leases that were refused: outside the network or overlapping another",
);
export const LEASE_REMAINING = gauge(
  "flannel_lease_remaining_seconds",
  "Time until the own lease expires unless renewed; +Inf for a reservation",
);
export const PEER_FILTER_DROPPED = counter(
  "flannel_peer_filter_dropped_packets_total",
  "Packets to a tunnel that PeerFilter dropped: from no live peer, or from a container to a peer's tunnel",
);
export const BUILD_INFO = gauge("flannel_build_info", "1; the labels say what runs", [
  "version",
  "commit",
  "deno",
]);
export const RESIDENT_MEMORY = gauge("process_resident_memory_bytes", "Resident memory");
export const CPU_SECONDS = counter("process_cpu_seconds_total", "Processor time, user and system");
export const OPEN_FDS = gauge("process_open_fds", "Open file descriptors");
export const MAX_FDS = gauge("process_max_fds", "File descriptors that the process may have");
export const START_TIME = gauge("process_start_time_seconds", "When the process started, since the epoch");

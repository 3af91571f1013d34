/**
 * Metrics of the firewall.
 *
 * @module
 */
import { counter, histogram } from "../observe/metric_spec.ts";

export const FIREWALL_ERRORS = counter("flannel_firewall_errors_total", "Firewall passes that failed");
export const FIREWALL_REPAIRS = counter(
  "flannel_firewall_repairs_total",
  "Times that changed firewall rules were restored",
);
export const FIREWALL_PASS_SECONDS = histogram(
  "flannel_firewall_pass_duration_seconds",
  "Time of a pass over the firewall's rules",
);
export const INEFFECTIVE_WRITES = counter(
  "flannel_firewall_ineffective_writes_total",
  "Writes of firewall rules that had no effect",
);
export const PEER_FILTER_REPAIRS = counter(
  "flannel_peer_filter_repairs_total",
  "Times that a changed peer filter was restored",
);

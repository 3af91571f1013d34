/**
 * Metrics of the wireguard backend.
 *
 * @module
 */
import { counter } from "../../lib/observe/metric_spec.ts";

export const WIREGUARD_CORRECTIONS = counter(
  "flannel_wireguard_corrections_total",
  "Peers and keys of WireGuard devices that others changed",
);

/**
 * Metrics of the external interface.
 *
 * @module
 */
import { counter } from "../observe/metric_spec.ts";

export const ANNOUNCEMENTS = counter(
  "flannel_announcements_total",
  "Gratuitous ARP and unsolicited neighbour advertisements that were sent",
  ["family"],
);

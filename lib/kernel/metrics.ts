/**
 * Metrics of the kernel's entries and devices.
 *
 * @module
 */
import { counter, gauge, histogram } from "../observe/metric_spec.ts";

export const OPERATIONS = counter("flannel_kernel_operations_total", "Kernel entries written or removed");
export const FAILURES = counter("flannel_kernel_failures_total", "Kernel entries that could not be written");
export const REPAIRS = counter(
  "flannel_kernel_repairs_total",
  "Kernel entries that a full pass after the first one had to correct",
);
export const ENTRIES = gauge("flannel_kernel_entries", "Kernel entries that are desired");
export const ENTRIES_FAILED = gauge(
  "flannel_kernel_entries_failed",
  "Kernel entries that could not be written by the last pass",
);
export const PASS_SECONDS = histogram(
  "flannel_kernel_pass_duration_seconds",
  "Time of a full pass over devices and entries",
);
export const LINKS_CREATED = counter(
  "flannel_kernel_links_created_total",
  "Devices made, at start and because one was gone",
  ["link"],
);
export const NETLINK_OVERRUNS = counter(
  "flannel_netlink_overruns_total",
  "Times that the kernel dropped notifications because they came too fast",
);

/**
 * Metrics of leases and of their store.
 *
 * @module
 */
import { counter, gauge, histogram } from "../observe/metric_spec.ts";

export const STORE_CONNECTED = gauge(
  "flannel_store_connected",
  "1 while changes of leases come in from the store",
);
export const STORE_REVISION = gauge(
  "flannel_store_revision",
  "Revision of the store up to which all changes are known",
);
export const STORE_LISTS = counter("flannel_store_lists_total", "Times that all leases were read");
export const STORE_ERRORS = counter(
  "flannel_store_errors_total",
  "Watches and lists of the store that ended in an error",
);
export const STORE_REQUESTS = counter("flannel_store_requests_total", "Requests to the store", ["operation"]);
export const STORE_REQUEST_ERRORS = counter(
  "flannel_store_request_errors_total",
  "Requests to the store that failed",
  ["operation"],
);
export const STORE_REQUEST_SECONDS = histogram(
  "flannel_store_request_duration_seconds",
  "Time until the store answered",
  ["operation"],
);
export const LEASE_EVENTS = counter(
  "flannel_lease_events_total",
  "Changes of leases that the store reported",
);
export const LEASE_CONFLICTS = counter(
  "flannel_lease_conflicts_total",
  "Times that another host with this public IP overwrote the lease",
);
export const LEASE_RENEWALS = counter("flannel_lease_renewals_total", "Times that the own lease was renewed");

/**
 * Metrics of the backends that keep a cloud's route table.
 *
 * @module
 */
import { counter, gauge } from "../../lib/observe/metric_spec.ts";

export const CLOUD_ROUTE_READY = gauge("flannel_cloud_route_ready", "1 while the own route is in the table", [
  "cloud",
]);
export const CLOUD_ROUTES = gauge("flannel_cloud_routes", "Routes that count against the limit", [
  "cloud",
  "table",
]);
export const CLOUD_ROUTES_LIMIT = gauge("flannel_cloud_routes_limit", "How many routes the cloud allows", [
  "cloud",
  "table",
]);
export const CLOUD_RETRIES = counter(
  "flannel_cloud_retries_total",
  "Calls to the cloud that failed and are made again",
  ["cloud", "reason"],
);
export const CLOUD_CHANGES = counter(
  "flannel_cloud_changes_total",
  "Changes made to the cloud's route table",
  ["cloud", "change"],
);

/**
 * Metrics of what is wrong now.
 *
 * @module
 */
import { counter, gauge } from "./metric_spec.ts";

export const READY = gauge("flannel_ready", "1 while the host is ready");
export const PROBLEM = gauge("flannel_problem", "1 while something is wrong, by part", ["key"]);
export const PROBLEMS = counter("flannel_problems_total", "Times that something began to be wrong, by part", [
  "key",
]);

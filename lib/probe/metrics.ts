/**
 * Metrics of the probes that a daemon makes. No series a peer: a network has thousands.
 *
 * @module
 */
import { counter, gauge, histogram } from "../observe/metric_spec.ts";

/** Seconds: a switch between two hosts takes 0.1 ms, the world 0.3 s. */
const BUCKETS = [
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
] as const;

export const PROBE_ROUND_TRIPS = {
  ...histogram(
    "flannel_probe_round_trip_seconds",
    "Round trips of probes to all peers, through the overlay and beside it",
    ["side"],
  ),
  buckets: BUCKETS,
};
export const PROBE_REQUESTS = counter(
  "flannel_probe_requests_total",
  "Echo requests of probes; result is answered or lost",
  ["side", "result"],
);
export const PROBE_PEERS = gauge("flannel_probe_peers", "Peers by what their last probes mean", ["verdict"]);
export const PROBE_INTERVAL = gauge(
  "flannel_probe_interval_seconds",
  "Time between two probes of a peer: -probe-interval, or more where there are many peers",
);

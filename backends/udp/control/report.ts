/**
 * What the forwarder reports: metrics and status.
 *
 * @module
 */
import type { JsonObject } from "../../../lib/config/types.ts";
import type { Metrics } from "../../../lib/observe/types.ts";
import type { MetricSpec } from "../../../lib/observe/metric_spec.ts";
import { type Counter, DROPS, sumCounters } from "../shared/counters.ts";
import { OFFLOAD_TEXT, OFFLOADS, type Offloads, type SharedOffloads } from "../shared/offloads.ts";
import {
  DROPPED_PACKETS,
  ICMP_ERRORS,
  MERGED_PACKETS,
  OFFLOAD,
  OFFLOAD_DOWNGRADES,
  RECEIVE_CALLS,
  RECEIVED_BYTES,
  RECEIVED_PACKETS,
  SEND_CALLS,
  SENT_BYTES,
  SENT_PACKETS,
  SPLIT_SENDS,
  TUN_READS,
  TUN_WRITES,
} from "./metrics.ts";

/** Metrics that are plain sums. */
const TOTALS: readonly (readonly [MetricSpec<"counter", never>, Counter])[] = [
  [SENT_PACKETS, "sentPackets"],
  [SENT_BYTES, "sentBytes"],
  [SEND_CALLS, "sendCalls"],
  [RECEIVED_PACKETS, "receivedPackets"],
  [RECEIVED_BYTES, "receivedBytes"],
  [RECEIVE_CALLS, "receiveCalls"],
  [TUN_READS, "tunReads"],
  [TUN_WRITES, "tunWrites"],
  [MERGED_PACKETS, "mergedPackets"],
  [ICMP_ERRORS, "icmpErrors"],
  [SPLIT_SENDS, "splitSends"],
];

/** Feeds the workers' counters to the metrics whenever these are read. */
export function reportMetrics(
  metrics: Metrics,
  counters: SharedArrayBuffer,
  offloads: SharedOffloads,
): Disposable {
  let before = sumCounters(counters);
  return metrics.onCollect(() => {
    const now = sumCounters(counters);
    const grown = (counter: Counter) => Math.max(0, now[counter] - before[counter]);
    for (const [spec, counter] of TOTALS) metrics.count(spec, {}, grown(counter));
    for (const { counter, direction, reason } of DROPS) {
      metrics.count(DROPPED_PACKETS, { direction, reason }, grown(counter));
    }
    for (
      const [counter, offload] of [["segmentDowngrades", "segment"], ["mergeDowngrades", "merge"]] as const
    ) {
      metrics.count(OFFLOAD_DOWNGRADES, { offload }, grown(counter));
    }
    for (const offload of OFFLOADS) {
      metrics.gauge(OFFLOAD, offloads.has(offload) ? 1 : 0, { offload });
    }
    before = now;
  });
}

/** `status --json` of the forwarder. */
export function statusOf(
  counters: SharedArrayBuffer,
  offloads: SharedOffloads,
  facts: { readonly device: string; readonly port: number; readonly peers: number; readonly workers: number },
): JsonObject {
  const now = sumCounters(counters);
  const dropped: Record<string, number> = {};
  for (const { counter, direction, reason } of DROPS) dropped[`${direction}_${reason}`] = now[counter];
  const traffic = Object.fromEntries(TOTALS.map(([, counter]) => [counter, now[counter]]));
  return {
    ...facts,
    offloads: { ...offloads.current },
    downgrades: now.segmentDowngrades + now.mergeDowngrades,
    ...traffic,
    dropped,
  };
}

/** One line on what is in force and what isn't: `TSO, USO, UDP_SEGMENT; without UDP_GRO`. */
export function describeOffloads(offloads: Offloads): string {
  const on = OFFLOADS.filter((offload) => offloads[offload]).map((offload) => OFFLOAD_TEXT[offload]);
  const off = OFFLOADS.filter((offload) => !offloads[offload]).map((offload) => OFFLOAD_TEXT[offload]);
  const has = on.length > 0 ? on.join(", ") : "none: one packet a call";
  return off.length > 0 && on.length > 0 ? `${has}; without ${off.join(", ")}` : has;
}

/**
 * What the forwarder reports: metrics and status.
 *
 * @module
 */
import type { JsonObject } from "../../../lib/config/types.ts";
import type { Metrics } from "../../../lib/observe/types.ts";
import { type Counter, DROPS, sumCounters } from "../shared/counters.ts";
import { OFFLOAD_TEXT, OFFLOADS, type Offloads, type SharedOffloads } from "../shared/offloads.ts";

/** Metrics that are plain sums: name, help, counter. */
const TOTALS: readonly (readonly [string, string, Counter])[] = [
  ["udp_sent_packets_total", "Packets sent to peers", "sentPackets"],
  ["udp_sent_bytes_total", "Bytes of packets sent to peers, without outer headers", "sentBytes"],
  ["udp_send_calls_total", "System calls that sent them", "sendCalls"],
  ["udp_received_packets_total", "Packets received from peers", "receivedPackets"],
  [
    "udp_received_bytes_total",
    "Bytes of packets received from peers, without outer headers",
    "receivedBytes",
  ],
  ["udp_receive_calls_total", "System calls that received them", "receiveCalls"],
  ["udp_tun_reads_total", "Reads of the TUN", "tunReads"],
  ["udp_tun_writes_total", "Writes to the TUN", "tunWrites"],
  ["udp_merged_packets_total", "Received packets that were written to the TUN merged", "mergedPackets"],
  ["udp_icmp_errors_total", "ICMP errors sent", "icmpErrors"],
  [
    "udp_split_sends_total",
    "Sends that went packet by packet after the kernel refused them whole",
    "splitSends",
  ],
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
    for (const [name, help, counter] of TOTALS) metrics.count(name, help, {}, grown(counter));
    for (const { counter, direction, reason } of DROPS) {
      metrics.count("udp_dropped_packets_total", "Packets dropped, by direction and reason", {
        direction,
        reason,
      }, grown(counter));
    }
    for (
      const [counter, offload] of [["segmentDowngrades", "segment"], ["mergeDowngrades", "merge"]] as const
    ) {
      metrics.count("udp_offload_downgrades_total", "Offloads given up because the kernel refused them", {
        offload,
      }, grown(counter));
    }
    for (const offload of OFFLOADS) {
      metrics.gauge("udp_offload", "Whether an offload is in force", offloads.has(offload) ? 1 : 0, {
        offload: offload,
      });
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
  const traffic = Object.fromEntries(TOTALS.map(([, , counter]) => [counter, now[counter]]));
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

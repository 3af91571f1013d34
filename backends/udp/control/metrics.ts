/**
 * Metrics of the udp backend.
 *
 * @module
 */
import { counter, gauge } from "../../../lib/observe/metric_spec.ts";

export const SENT_PACKETS = counter("flannel_udp_sent_packets_total", "Packets sent to peers");
export const SENT_BYTES = counter(
  "flannel_udp_sent_bytes_total",
  "Bytes of packets sent to peers, without outer headers",
);
export const SEND_CALLS = counter("flannel_udp_send_calls_total", "System calls that sent them");
export const RECEIVED_PACKETS = counter("flannel_udp_received_packets_total", "Packets received from peers");
export const RECEIVED_BYTES = counter(
  "flannel_udp_received_bytes_total",
  "Bytes of packets received from peers, without outer headers",
);
export const RECEIVE_CALLS = counter("flannel_udp_receive_calls_total", "System calls that received them");
export const TUN_READS = counter("flannel_udp_tun_reads_total", "Reads of the TUN");
export const TUN_WRITES = counter("flannel_udp_tun_writes_total", "Writes to the TUN");
export const MERGED_PACKETS = counter(
  "flannel_udp_merged_packets_total",
  "Received packets that were written to the TUN merged",
);
export const ICMP_ERRORS = counter("flannel_udp_icmp_errors_total", "ICMP errors sent");
export const SPLIT_SENDS = counter(
  "flannel_udp_split_sends_total",
  "Sends that went packet by packet after the kernel refused them whole",
);
export const DROPPED_PACKETS = counter(
  "flannel_udp_dropped_packets_total",
  "Packets dropped, by direction and reason",
  ["direction", "reason"],
);
export const OFFLOAD_DOWNGRADES = counter(
  "flannel_udp_offload_downgrades_total",
  "Offloads given up because the kernel refused them",
  ["offload"],
);
export const OFFLOAD = gauge("flannel_udp_offload", "1 while an offload is in force", ["offload"]);
export const DEVICE_LOSSES = counter(
  "flannel_udp_device_losses_total",
  "Times that the TUN was lost under the forwarder",
);

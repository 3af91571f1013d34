/**
 * What the workers count, in shared memory: each worker writes its own, the control plane adds them up.
 *
 * @module
 */

/** The counters, in the order in which they stand in memory. */
export const COUNTER_NAMES = [
  // Packets and bytes inside the tunnel, and the system calls that moved them.
  "sentPackets",
  "sentBytes",
  "sendCalls",
  "receivedPackets",
  "receivedBytes",
  "receiveCalls",
  "tunReads",
  "tunWrites",
  "mergedPackets",
  "icmpErrors",
  // Dropped on the way out.
  "outWrongFamily",
  "outMalformed",
  "outNoRoute",
  "outMulticast",
  "outTtl",
  "outTooBig",
  "outSendFailed",
  "outBufferFull",
  // Dropped on the way in.
  "inTruncated",
  "inWrongFamily",
  "inMalformed",
  "inUnknownSender",
  "inForeignSource",
  "inForeignDestination",
  "inTtl",
  "inWriteFailed",
  "inOverflow",
  // Sends that were too long for the path in one go and went packet by packet.
  "splitSends",
  // Offloads that the kernel refused: UDP_SEGMENT to a destination, merging for good.
  "segmentDowngrades",
  "mergeDowngrades",
] as const;

/** Name of a counter. */
export type Counter = typeof COUNTER_NAMES[number];

/** Place of each counter. */
export const COUNTER = Object.fromEntries(COUNTER_NAMES.map((name, i) => [name, i])) as {
  readonly [name in Counter]: number;
};

/** Doubles per worker: whole cache lines, so that workers don't slow each other down. */
const STRIDE = Math.ceil(COUNTER_NAMES.length / 8) * 8;

/** Bytes of shared memory for `workers` workers. */
export function countersBytes(workers: number): number {
  return workers * STRIDE * 8;
}

/** One worker's counters: add with `counters[COUNTER.name]! += n`. */
export function countersOf(memory: SharedArrayBuffer, worker: number): Float64Array<SharedArrayBuffer> {
  return new Float64Array(memory, worker * STRIDE * 8, STRIDE);
}

/** All workers' counters together. */
export function sumCounters(memory: SharedArrayBuffer): Record<Counter, number> {
  const all = new Float64Array(memory);
  const sums = {} as Record<Counter, number>;
  COUNTER_NAMES.forEach((name, i) => {
    let sum = 0;
    for (let at = i; at < all.length; at += STRIDE) sum += all[at]!;
    sums[name] = sum;
  });
  return sums;
}

/** The counters that say why packets were dropped: direction and reason, as the metric's labels have them. */
export const DROPS: readonly {
  readonly counter: Counter;
  readonly direction: "out" | "in";
  readonly reason: string;
}[] = [
  { counter: "outWrongFamily", direction: "out", reason: "wrong_family" },
  { counter: "outMalformed", direction: "out", reason: "malformed" },
  { counter: "outNoRoute", direction: "out", reason: "no_route" },
  { counter: "outMulticast", direction: "out", reason: "multicast" },
  { counter: "outTtl", direction: "out", reason: "ttl" },
  { counter: "outTooBig", direction: "out", reason: "too_big" },
  { counter: "outSendFailed", direction: "out", reason: "send_failed" },
  { counter: "outBufferFull", direction: "out", reason: "send_buffer_full" },
  { counter: "inTruncated", direction: "in", reason: "truncated" },
  { counter: "inWrongFamily", direction: "in", reason: "wrong_family" },
  { counter: "inMalformed", direction: "in", reason: "malformed" },
  { counter: "inUnknownSender", direction: "in", reason: "unknown_sender" },
  { counter: "inForeignSource", direction: "in", reason: "foreign_source" },
  { counter: "inForeignDestination", direction: "in", reason: "foreign_destination" },
  { counter: "inTtl", direction: "in", reason: "ttl" },
  { counter: "inWriteFailed", direction: "in", reason: "write_failed" },
  { counter: "inOverflow", direction: "in", reason: "socket_buffer_full" },
];

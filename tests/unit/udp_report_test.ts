import assert from "node:assert/strict";
import { COUNTER, countersBytes, countersOf } from "../../backends/udp/shared/counters.ts";
import {
  CMSGHDR,
  MMSGHDR,
  SO_RXQ_OVFL,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../../backends/udp/shared/structs.ts";
import { Arena } from "../../backends/udp/worker/arena.ts";
import { Receiver } from "../../backends/udp/worker/receiver.ts";
import { reportMetrics, statusOf } from "../../backends/udp/control/report.ts";
import { SharedOffloads } from "../../backends/udp/shared/offloads.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { DROPPED_PACKETS, OFFLOAD, SENT_PACKETS } from "../../backends/udp/control/metrics.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import type { MetricSpec } from "../../lib/observe/metric_spec.ts";
import type { Labels } from "../../lib/observe/types.ts";
import { allocatePacketMemory } from "../../lib/packet/memory.ts";
import { ALL_OFFLOADS, BASE } from "./udp_fake_io.ts";

/** Metrics that are read out before each look. */
class ReadMetrics extends MetricsRegistry {
  read(spec: MetricSpec, labels?: Labels): number | undefined {
    this.render();
    return this.value(spec.name, labels);
  }
}

Deno.test("metrics follow the workers' counters and the offloads in force", () => {
  const memory = new SharedArrayBuffer(countersBytes(2));
  const offloads = new SharedOffloads();
  offloads.set(ALL_OFFLOADS);
  const metrics = new ReadMetrics();
  const report = reportMetrics(metrics, memory, offloads);
  assert.equal(metrics.read(SENT_PACKETS), 0, "there from the start");
  countersOf(memory, 0)[COUNTER.sentPackets]! += 5;
  countersOf(memory, 1)[COUNTER.sentPackets]! += 2;
  countersOf(memory, 1)[COUNTER.inForeignSource]! += 3;
  assert.equal(metrics.read(SENT_PACKETS), 7);
  assert.equal(metrics.read(SENT_PACKETS), 7, "read twice, counted once");
  assert.equal(metrics.read(DROPPED_PACKETS, { direction: "in", reason: "foreign_source" }), 3);
  assert.equal(metrics.read(OFFLOAD, { offload: "segment" }), 1);
  assert.equal(offloads.drop("segment"), true);
  assert.equal(offloads.drop("segment"), false);
  assert.equal(metrics.read(OFFLOAD, { offload: "segment" }), 0);
  report[Symbol.dispose]();
  countersOf(memory, 0)[COUNTER.sentPackets]! += 1;
  assert.equal(metrics.read(SENT_PACKETS), 7);
});

Deno.test("the status has what is in force, every drop by reason, and survives JSON", () => {
  const memory = new SharedArrayBuffer(countersBytes(1));
  const offloads = new SharedOffloads();
  offloads.set({ ...ALL_OFFLOADS, gro: false });
  countersOf(memory, 0)[COUNTER.outTtl]! += 4;
  countersOf(memory, 0)[COUNTER.mergeDowngrades]! += 1;
  const facts = { device: "flannel0", port: 8285, peers: 2, workers: 1 };
  const status = JSON.parse(JSON.stringify(statusOf(memory, offloads, facts))) as JsonObject;
  assert.equal((status["offloads"] as JsonObject)["gro"], false);
  assert.equal((status["dropped"] as JsonObject)["out_ttl"], 4);
  assert.equal((status["dropped"] as JsonObject)["in_unknown_sender"], 0);
  assert.deepEqual([status["device"], status["peers"], status["downgrades"]], ["flannel0", 2, 1]);
});

/** A receiver that just got one message with this control data: level, type, value of each. */
function receiverWith(
  ...control: [number, number, number][]
): { receiver: Receiver; counters: Float64Array } {
  const memory = allocatePacketMemory(2 << 20);
  const offloads = new SharedOffloads();
  offloads.set(ALL_OFFLOADS);
  const counters = countersOf(new SharedArrayBuffer(countersBytes(1)), 0);
  const { view } = memory;
  const receive = (vector: number) => {
    const at = Number(view.getBigUint64(vector + MMSGHDR.control, true)) - BASE;
    control.forEach(([level, type, value], i) => {
      view.setBigUint64(at + i * 24, 20n, true);
      view.setUint32(at + i * 24 + CMSGHDR.level, level, true);
      view.setUint32(at + i * 24 + CMSGHDR.type, type, true);
      view.setUint32(at + i * 24 + CMSGHDR.data, value, true);
    });
    view.setBigUint64(vector + MMSGHDR.controlLength, BigInt(control.length * 24), true);
    view.setUint32(vector + MMSGHDR.length, 3000, true);
    return 1;
  };
  const context = { memory, arena: new Arena(memory.size), base: BASE, offloads, counters };
  const receiver = new Receiver(context, { receive, send: () => 0 }, 16);
  assert.equal(receiver.receive(), 1);
  return { receiver, counters };
}

Deno.test("the segment size is found in either place of the control data, and else is the whole message", () => {
  const gro: [number, number, number] = [SOL_UDP, UDP_GRO, 1400];
  const drops: [number, number, number] = [SOL_SOCKET, SO_RXQ_OVFL, 9];
  assert.equal(receiverWith().receiver.segmentSize(0), 3000);
  assert.equal(receiverWith(gro).receiver.segmentSize(0), 1400);
  assert.equal(receiverWith(gro, drops).receiver.segmentSize(0), 1400);
  assert.equal(receiverWith(drops, gro).receiver.segmentSize(0), 1400);
  assert.equal(receiverWith([SOL_UDP, UDP_GRO, 0]).receiver.segmentSize(0), 3000);
});

Deno.test("what the socket's buffer lost is counted once", () => {
  const { receiver, counters } = receiverWith([SOL_SOCKET, SO_RXQ_OVFL, 7]);
  receiver.segmentSize(0);
  receiver.segmentSize(0);
  assert.equal(counters[COUNTER.inOverflow], 7);
});

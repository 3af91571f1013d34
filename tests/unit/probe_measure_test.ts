/**
 * What probes make of single echoes: the path MTU, histories, and how many packets leave.
 */
import assert from "node:assert/strict";
import type { EchoOutcome } from "../../lib/probe/echoer.ts";
import { EchoHistory } from "../../lib/probe/history.ts";
import { findPathMtu, Series } from "../../lib/probe/measure.ts";
import { Pacer } from "../../lib/probe/pacer.ts";
import { roundMs } from "../../lib/probe/watch.ts";
import { parseIp } from "../../lib/net/ip.ts";

const REPLY: EchoOutcome = { kind: "reply", rttMs: 1 };
const LOST: EchoOutcome = { kind: "lost" };

/** A wire that takes up to `mtu` bytes, and reports it or not. */
function wire(mtu: number, reports?: number): { sizes: number[]; send(size: number): Promise<EchoOutcome> } {
  const sizes: number[] = [];
  return {
    sizes,
    send(size) {
      sizes.push(size);
      if (size <= mtu) return Promise.resolve(REPLY);
      if (reports === undefined) return Promise.resolve(LOST);
      const from = parseIp("192.0.2.254"), destination = parseIp("192.0.2.2");
      const error = { kind: "error", reason: "too big", mtu: reports, destination, protocol: 1 } as const;
      return Promise.resolve({ kind: "error", error, from, rttMs: 1 });
    },
  };
}

Deno.test("path MTU: every value is found, silent wires are black holes", async () => {
  for (let mtu = 84; mtu <= 1500; mtu += 7) {
    const { send, sizes } = wire(mtu);
    const found = await findPathMtu({ least: 84, most: 1500, tries: 2 }, send);
    assert.deepEqual([found.mtu, found.blackHole], [mtu, mtu < 1500]);
    assert(sizes.length <= 24, `${sizes.length} packets`);
  }
});

Deno.test("path MTU: what a router reports is tried next, and is no black hole", async () => {
  const { send, sizes } = wire(1400, 1400);
  const found = await findPathMtu({ least: 84, most: 1500, tries: 3 }, send);
  assert.deepEqual([found.mtu, found.blackHole, found.reported?.mtu], [1400, false, 1400]);
  assert.deepEqual(sizes, [1500, 1400]);
  // A router that says 0, as some do, leaves the search to us.
  const silent = wire(1333, 0);
  assert.equal((await findPathMtu({ least: 84, most: 1500, tries: 1 }, silent.send)).mtu, 1333);
});

Deno.test("path MTU: a lost packet alone makes no black hole", async () => {
  let count = 0;
  const send = () => Promise.resolve(count++ === 0 ? LOST : REPLY);
  const found = await findPathMtu({ least: 84, most: 1500, tries: 3 }, send);
  assert.deepEqual([found.mtu, found.blackHole], [1500, false]);
});

Deno.test("series: loss and quantiles", () => {
  const series = new Series();
  for (const rttMs of [5, 1, 4, 2, 3]) series.add({ kind: "reply", rttMs });
  for (let i = 0; i < 5; i++) series.add(LOST);
  assert.deepEqual([series.sent, series.received, series.loss], [10, 5, 0.5]);
  assert.deepEqual(series.trips, { min: 1, p50: 3, p99: 5 });
  assert.equal(new Series().trips, undefined);
});

Deno.test("history: the last 20 count, three lost in a row are an interruption", () => {
  const history = new EchoHistory();
  assert.deepEqual([history.sent, history.isInterrupted, history.isAnswered], [0, false, false]);
  history.add(undefined);
  assert(history.isInterrupted, "nothing was answered ever");
  for (let i = 1; i <= 30; i++) history.add(i);
  assert.deepEqual([history.sent, history.received, history.p50], [20, 20, 20]);
  history.add(undefined);
  history.add(undefined);
  assert.deepEqual([history.isInterrupted, history.isAnswered, history.received], [false, false, 18]);
  history.add(undefined);
  assert(history.isInterrupted);
  history.add(1);
  assert(!history.isInterrupted && history.isAnswered);
});

Deno.test("pacer: never more than the rate, in whatever second", async () => {
  let time = 0;
  const clock = {
    now: () => time,
    date: () => time,
    random: () => 0,
    sleep: (ms: number) => Promise.resolve(void (time = Math.max(time, time + ms))),
  };
  const pacer = new Pacer(100, clock);
  const sent: number[] = [];
  for (let i = 0; i < 1000; i++) {
    if (i === 500) time += 5_000;
    await pacer.slot();
    sent.push(time);
  }
  for (const [i, at] of sent.entries()) {
    assert(sent.filter((other) => other >= at && other < at + 1000).length <= 100, `packet ${i}`);
  }
  assert(time >= 9_990);
});

Deno.test("probe interval: it grows with the network", () => {
  assert.equal(roundMs(10_000, 3), 10_000);
  assert.equal(roundMs(10_000, 2_000), 60_000);
  assert.equal(roundMs(10_000, 40_000), 1_200_000);
});

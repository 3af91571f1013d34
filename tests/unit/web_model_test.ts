/** How the page judges peers, and what it says of them. */
import assert from "node:assert/strict";
import type { PeerStatus, ProbeStatus } from "../../lib/status/document.ts";
import { describeState, Model, summarize } from "../../lib/web/page/model.ts";

const PROBE: ProbeStatus = {
  at: "2026-11-21T12:00:00.000Z",
  rttMs: 0.4,
  loss: 0,
  severity: "ok",
  text: "Both answer",
};

/** State and words of a peer. */
function judged(more: Partial<PeerStatus>): [string, string] {
  const model = modelOf(more);
  const [peer] = model.peers.values();
  return [peer!.state, describeState(peer!)];
}

function modelOf(...peers: Partial<PeerStatus>[]): Model {
  const model = new Model();
  const put = peers.map((more, index): PeerStatus => ({
    ...{ key: `10.5.${index + 2}.0-24`, host: "", subnets: [`10.5.${index + 2}.0/24`], publicIps: [] },
    ...{ backendType: "vxlan", paths: ["vxlan"], changedAt: null, problem: null },
    ...more,
  }));
  model.take("peers", { put, gone: [] });
  return model;
}

const DOWN = { ...PROBE, loss: 0.15, severity: "fault", text: "Underlay down: the host is off" } as const;

// The loss of the last 20 rounds was the measure: a peer that had just gone down was "slow or lossy" for an hour.
Deno.test("page: the verdict of the last probes says how a peer is", () => {
  assert.deepEqual(judged({ probe: DOWN }), ["bad", "Underlay down: the host is off"]);
  const lossy = { ...PROBE, loss: 0.2, severity: "warning", text: "Packets are lost" } as const;
  assert.deepEqual(judged({ probe: lossy }), ["slow", "Packets are lost"]);
  const silent = { ...PROBE, rttMs: null, loss: 1, severity: "unknown", text: "Nothing answers" } as const;
  assert.deepEqual(judged({ probe: silent }), ["quiet", "Nothing answers"]);
  // One packet of 20 is no loss, and a host without a bridge answers for it.
  assert.deepEqual(judged({ probe: { ...PROBE, loss: 0.05 } }), ["fast", "fine"]);
  assert.deepEqual(judged({ probe: { ...PROBE, rttMs: 12 } }), ["medium", "far"]);
  assert.deepEqual(judged({ probe: { at: PROBE.at, rttMs: null, loss: 1 } }), ["bad", "no answer"]);
});

// It was "problem", as nobody answers there.
Deno.test("page: a subnet reserved for a host yet to come is no problem", () => {
  const awaited = { awaited: true, paths: [] } as const;
  assert.deepEqual(judged(awaited), ["quiet", "reserved: its host has not been here yet"]);
  assert.equal(judged({ ...awaited, probe: { ...DOWN, loss: 1 } })[0], "quiet");
  assert.equal(summarize(modelOf(awaited).peers.values()), "It is the only host so far.");
});

// Without probes it said that all could be reached.
Deno.test("page: what it says of the peers is what is known", () => {
  const said = (...peers: Partial<PeerStatus>[]) => summarize(modelOf(...peers).peers.values());
  assert.equal(said({}), "The path to its only peer is set up.");
  assert.equal(said({}, {}), "Paths are set up to all of its 2 peers.");
  assert.deepEqual(judged({}), ["fast", "set up"]);
  assert.equal(said({ probe: PROBE }, { probe: null }), "Paths are set up to all of its 2 peers.");
  assert.equal(said({ probe: PROBE }), "Its only peer can be reached.");
  assert.equal(said({ probe: PROBE }, { probe: PROBE }), "It reaches all of its 2 peers.");
  const slow = { ...PROBE, severity: "warning" } as const;
  assert.equal(said({ probe: PROBE }, { probe: slow }), "Of its 2 peers, 1 slow or with losses.");
  assert.equal(said({ probe: DOWN }, {}), "Of its 2 peers, 1 can't be reached, or not fully.");
  assert.equal(said({ paths: [] }, {}), "Of its 2 peers, 1 without a path or an answer.");
});

/**
 * `flanneld probe` in networks that work: every backend that a lab has.
 */
import assert from "node:assert/strict";
import type { ProbeStatus } from "../../lib/status/document.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { ownSockets } from "../../scripts/lab/own_wireguard.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { codes, probe, probeIn, probeText } from "./probe_lab.ts";
import { hasWireguardGo, startWireguard } from "./wireguard_lab.ts";

labTest("probe: vxlan, dual stack, daemon running", {
  families: ["ipv4", "ipv6"],
  config: networkConfig(["ipv4", "ipv6"], { Type: "vxlan" }),
}, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const probed = await probe(lab.host(1));
  assert.deepEqual(codes(probed), ["ok", "ok", "ok", "ok"], JSON.stringify(probed.json, null, 1));
  assert.equal(probed.code, 0);
  assert.equal(probed.json.source, "the daemon");
  for (const { family, path, overlay, underlay } of probed.families) {
    assert.equal(path, "vxlan");
    assert.deepEqual([overlay.sent, overlay.received, underlay.received], [5, 5, 5]);
    assert.equal(overlay.mtu, family === "ipv4" ? 1450 : 1430);
    assert.equal(underlay.mtu, 1500);
    assert(overlay.rttMs!.min > 0 && overlay.rttMs!.min <= overlay.rttMs!.p50);
    assert(overlay.rttMs!.p50 <= overlay.rttMs!.p99);
  }
  const peer = lab.host(2);
  for (const word of [peer.addresses.ipv4!, probed.json.peers[0]!.key]) {
    const one = await probe(lab.host(1), word, "-count", "1");
    assert.equal(one.json.peers.length, 1, word);
  }
  const { code, text } = await probeText(lab.host(1), [], "172.30.0.99");
  assert.equal(code, 1);
  assert.match(text, /172\.30\.0\.99: no peer has this name, address or subnet/);
});

labTest("probe: host-gw, dual stack, with and without a bridge on the peer", {
  hosts: 2,
  families: ["ipv4", "ipv6"],
  config: networkConfig(["ipv4", "ipv6"], { Type: "host-gw" }),
}, async (lab) => {
  await lab.startAll();
  const bare = await probe(lab.host(1));
  assert.deepEqual(codes(bare), ["ok-no-bridge", "ok-no-bridge"], JSON.stringify(bare.json, null, 1));
  assert.equal(bare.code, 0);
  await lab.connect();
  await lab.pingAll();
  const probed = await probe(lab.host(1));
  assert.deepEqual(codes(probed), ["ok", "ok"], JSON.stringify(probed.json, null, 1));
  for (const { path, overlay } of probed.families) {
    assert.deepEqual([path, overlay.mtu], ["direct", 1500]);
    assert.equal(overlay.target?.at(-1), "1");
  }
});

labTest("probe: udp", { hosts: 2, config: networkConfig(["ipv4"], { Type: "udp" }) }, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const probed = await probe(lab.host(1));
  assert.deepEqual(codes(probed), ["ok"], JSON.stringify(probed.json, null, 1));
  assert.deepEqual([probed.families[0]!.path, probed.families[0]!.overlay.mtu], ["udp", 1472]);
});

labTest("probe: wireguard, and its port blocked", {
  hosts: 2,
  config: networkConfig(["ipv4"], { Type: "wireguard" }),
}, async (lab) => {
  if (!hasWireguardGo()) return console.log("left out: wireguard-go isn't installed");
  await startWireguard(lab);
  await lab.connect();
  await lab.pingAll();
  const here = lab.host(1);
  const probed = await probeIn(ownSockets(here), here);
  assert.deepEqual(codes(probed), ["ok"], JSON.stringify(probed.json, null, 1));
  assert.deepEqual([probed.families[0]!.path, probed.families[0]!.overlay.mtu], ["wireguard", 1420]);
  await lab.host(2).exec([
    "nft",
    "add table inet fault; add chain inet fault c { type filter hook input priority -200; }; " +
    "add rule inet fault c udp dport 51820 drop",
  ]);
  const blocked = await probeIn(ownSockets(here), here);
  assert.deepEqual(codes(blocked), ["port-blocked"], JSON.stringify(blocked.json, null, 1));
  assert.match(blocked.families[0]!.verdict.evidence.join("\n"), /last WireGuard handshake \d+ s ago/);
});

labTest("probe: the daemon's own probes stand in status and metrics", {}, async (lab) => {
  await lab.startAll({ args: ["-probe-interval=1"] });
  const here = lab.host(1);
  type Status = { peers: { probing: unknown; table: { probed: number; rows: { probe: ProbeStatus }[] } } };
  const read = async () => JSON.parse(await here.fetchText("/status?peers=all")) as Status;
  await until("a first round", async () => (await read()).peers.table.probed === 2, 20_000);
  const { probing, table } = (await read()).peers;
  assert.deepEqual(probing, { askedSeconds: 1, intervalSeconds: 1 });
  for (const { probe } of table.rows) {
    assert(probe.rttMs! > 0 && probe.rttMs! < 500, JSON.stringify(probe));
    assert.deepEqual([probe.loss, probe.underlayLoss, probe.verdict], [0, 0, "ok"]);
  }
  const metrics = await here.fetchText("/metrics");
  assert.match(metrics, /^flannel_probe_peers\{verdict="ok"\} 2$/m);
  assert.match(metrics, /^flannel_probe_interval_seconds 1$/m);
  assert.match(metrics, /^flannel_probe_round_trip_seconds_count\{side="overlay"\} [1-9]/m);
  await lab.host(3).exec(["ip", "link", "set", "eth0", "down"]);
  await until("the fault to be named", async () => {
    const verdicts = (await read()).peers.table.rows.map(({ probe }) => probe.verdict);
    return verdicts.sort().join() === "ok,underlay-down";
  }, 30_000);
  assert.match(
    here.daemon.log,
    /probe: peer 10\.5\.\d+\.0-24, IPv4: underlay-down \(was \S+\): Underlay down/,
  );
});

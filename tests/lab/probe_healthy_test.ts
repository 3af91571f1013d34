/**
 * `flanneld probe` in networks that work: every backend that a lab has.
 */
import assert from "node:assert/strict";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { labTest } from "./lab_test_case.ts";
import { codes, probe, probeText } from "./probe_lab.ts";

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
  const { code, text } = await probeText(lab.host(1), "172.30.0.99");
  assert.equal(code, 1);
  assert.match(text, /172\.30\.0\.99: no peer has this name, address or subnet/);
});

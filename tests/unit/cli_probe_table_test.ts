/** The table of `flanneld probe` at 80 and 200 columns. */
import assert from "node:assert/strict";
import { type Probed, probeTable } from "../../lib/cli/probe_table.ts";
import { PLAIN } from "../../lib/cli/terminal.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import type { FamilyView, Verdict } from "../../lib/probe/types.ts";

function peer(number: number, change: Partial<FamilyView> & { verdict: Verdict }, name?: string): Probed {
  const subnets = { ipv4: parsePrefix(`10.5.${number}.0/24`) };
  const key = `10.5.${number}.0-24`;
  const family: FamilyView = {
    ...{ family: "ipv4", path: "vxlan" },
    overlay: { sent: 5, received: 5, rttMs: { min: 0.1, p50: 0.14, p99: 0.17 }, mtu: 1450 },
    underlay: {
      target: `172.30.0.${number}`,
      ...{ sent: 5, received: 5, rttMs: { min: 0.1, p50: 0.1, p99: 0.1 }, mtu: 1500 },
    },
    ...change,
  };
  return {
    target: {
      key,
      lease: { subnets, attributes: { publicIps: {}, backendData: {} } },
      ...name ? { name } : {},
    },
    view: { key, at: 0, families: [family] },
  };
}

const verdict = (severity: Verdict["severity"], code: string): Verdict => ({
  ...{ severity, code, text: `It is ${code}`, evidence: [] },
});

const PROBED = [
  peer(9, { verdict: verdict("ok", "ok") }),
  peer(10, { verdict: verdict("fault", "port-blocked"), overlay: { sent: 5, received: 0 } }, "node-ten"),
  peer(11, { path: "direct", verdict: verdict("ok", "ok-no-bridge") }),
];

function lines(width: number): string[] {
  return probeTable(PROBED, { width, style: PLAIN }).split("\n");
}

Deno.test("probe: the table at 200 columns has all there is", () => {
  assert.deepEqual(lines(200), [
    "PEER         SUBNET        PATH        OVERLAY ms  LOSS   MTU     UNDERLAY ms  LOSS   MTU  VERDICT",
    "172.30.0.9   10.5.9.0/24   vxlan   0.10/0.14/0.17    0%  1450  0.10/0.10/0.10    0%  1500  ok",
    "node-ten     10.5.10.0/24  vxlan                -  100%     -  0.10/0.10/0.10    0%  1500  FAULT: port-blocked",
    "172.30.0.11  10.5.11.0/24  direct  0.10/0.14/0.17    0%  1450  0.10/0.10/0.10    0%  1500  ok-no-bridge",
    "",
    "node-ten 10.5.10.0/24: It is port-blocked.",
    "",
    "Round trips are min/p50/p99 in milliseconds.",
  ]);
});

// It was as wide as it was on any terminal, and each of its lines took two.
Deno.test("probe: the table fits 80 columns: medians, and the verdict in full", () => {
  const narrow = lines(80);
  assert.deepEqual(narrow.slice(0, 4), [
    "PEER         PATH    OVERLAY ms  LOSS   MTU  UNDERLAY ms  LOSS  VERDICT",
    "172.30.0.9   vxlan         0.14    0%  1450         0.10    0%  ok",
    "node-ten     vxlan            -  100%     -         0.10    0%  FAULT: port-blo…",
    "172.30.0.11  direct        0.14    0%  1450         0.10    0%  ok-no-bridge",
  ]);
  assert.equal(narrow.at(-1), "Round trips are medians in milliseconds; a wider terminal shows more.");
  for (const width of [40, 60, 80, 100]) {
    for (const line of lines(width).slice(0, 4)) assert.ok(line.length <= Math.max(width, 70), line);
  }
});

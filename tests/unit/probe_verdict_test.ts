/**
 * Verdicts of probes: each kind of finding has its own.
 */
import assert from "node:assert/strict";
import type { Findings } from "../../lib/probe/findings.ts";
import { judge } from "../../lib/probe/verdict.ts";

const GOOD = { sent: 5, received: 5, p50: 0.2 };
const DEAD = { sent: 5, received: 0 };

/** A vxlan peer that is well, but for what is given. */
function vxlan(change: Partial<Findings>): Findings {
  return {
    publicIp: "192.0.2.2",
    path: "vxlan",
    carrier: "UDP port 8472",
    device: "flannel.1",
    externalDevice: "eth0",
    overlay: GOOD,
    underlay: GOOD,
    nextHop: { address: "192.0.2.2", resolved: true },
    ...change,
  };
}

/** A host-gw peer. */
function direct(change: Partial<Findings>): Findings {
  const { carrier: _, ...rest } = vxlan({ path: "direct", device: "eth0", mayBeSilent: true });
  return { ...rest, ...change };
}

const KERNEL = { code: "no-route", text: "no route to 10.5.9.0/24", remedy: "ip route" };
const HOLE = { mtu: 1350, most: 1450, blackHole: true };
const PASSES = { mtu: 1500, most: 1500, blackHole: false };
const NARROW = { mtu: 1400, most: 1500, blackHole: true };

const CASES: readonly (readonly [string, Findings, severity: string, code: string, says?: RegExp])[] = [
  ["all is well", vxlan({}), "ok", "ok"],
  ["the underlay answers no echo requests", vxlan({ underlay: DEAD }), "ok", "ok-underlay-silent"],
  [
    "no route in the kernel",
    vxlan({ overlay: DEAD, kernel: KERNEL }),
    "fault",
    "no-route",
    /no way to the peer/,
  ],
  ["another way than flannel's", vxlan({ kernel: KERNEL }), "warning", "no-route", /not by way of flannel/],
  [
    "no route of the underlay",
    vxlan({ overlay: DEAD, underlay: { ...DEAD, unsent: "ENETUNREACH" } }),
    "fault",
    "underlay-no-route",
  ],
  [
    "no neighbour",
    vxlan({ overlay: DEAD, underlay: DEAD, nextHop: { address: "192.0.2.2", resolved: false } }),
    "fault",
    "underlay-down",
    /the peer's host is off/,
  ],
  [
    "no router",
    vxlan({ overlay: DEAD, underlay: DEAD, nextHop: { address: "192.0.2.254", resolved: false } }),
    "fault",
    "underlay-down",
    /the router to the peer/,
  ],
  ["nothing comes back", vxlan({ overlay: DEAD, underlay: DEAD }), "fault", "underlay-down", /drops all/],
  [
    "a router can't reach the peer",
    vxlan({
      overlay: DEAD,
      underlay: { ...DEAD, error: { reason: "host unreachable", from: "192.0.2.254" } },
    }),
    "fault",
    "underlay-unreachable",
  ],
  [
    "a router's firewall",
    vxlan({ overlay: DEAD, underlay: { ...DEAD, error: { reason: "prohibited", from: "192.0.2.254" } } }),
    "fault",
    "underlay-rejected",
  ],
  [
    "nothing back through the tunnel",
    vxlan({ overlay: DEAD, outer: { sent: 3, received: 0, answers: 0 } }),
    "fault",
    "port-blocked",
    /UDP port 8472 is blocked/,
  ],
  [
    "nothing leaves",
    vxlan({ overlay: DEAD, outer: { sent: 0, received: 0, answers: 0 } }),
    "fault",
    "not-sent",
  ],
  [
    "answers arrive",
    vxlan({ overlay: DEAD, outer: { sent: 3, received: 3, answers: 3 } }),
    "fault",
    "input-firewall",
  ],
  [
    "others' packets arrive",
    vxlan({ overlay: DEAD, outer: { sent: 3, received: 9, answers: 0 } }),
    "fault",
    "one-way",
  ],
  [
    "one way, and the underlay is silent",
    vxlan({ overlay: DEAD, underlay: DEAD, outer: { sent: 3, received: 9, answers: 0 } }),
    "fault",
    "one-way",
  ],
  [
    "the peer's kernel knows no such port",
    vxlan({
      overlay: DEAD,
      outer: { sent: 3, received: 0, answers: 0, error: { reason: "port unreachable", from: "192.0.2.2" } },
    }),
    "fault",
    "port-closed",
  ],
  [
    "the peer's firewall rejects the port",
    vxlan({
      overlay: DEAD,
      outer: { sent: 3, received: 0, answers: 0, error: { reason: "prohibited", from: "192.0.2.2" } },
    }),
    "fault",
    "port-rejected",
  ],
  [
    "the peer's firewall rejects inner packets",
    vxlan({ overlay: { ...DEAD, error: { reason: "prohibited", from: "10.5.9.0" } } }),
    "fault",
    "rejected",
  ],
  ["the own firewall", vxlan({ overlay: { ...DEAD, unsent: "EPERM" } }), "fault", "output-firewall"],
  ["TCP is answered, echo isn't", vxlan({ overlay: DEAD, tcp: "answered" }), "warning", "icmp-filtered"],
  [
    "the peer reports an expired hop limit",
    vxlan({ overlay: DEAD, answeredByHost: true }),
    "warning",
    "icmp-filtered",
  ],
  [
    "no handshake",
    vxlan({ path: "wireguard", carrier: "UDP port 51820", overlay: DEAD, handshakeAge: null }),
    "fault",
    "port-blocked",
    /or the keys don't fit/,
  ],
  [
    "a session, and no answer",
    vxlan({ path: "wireguard", overlay: DEAD, handshakeAge: 30 }),
    "fault",
    "port-blocked",
    /or on the peer$/,
  ],
  [
    "an old session",
    vxlan({ path: "wireguard", overlay: DEAD, handshakeAge: 900 }),
    "fault",
    "port-blocked",
  ],
  ["no bridge", direct({ overlay: DEAD, answeredByHost: true }), "ok", "ok-no-bridge"],
  ["nothing in the subnet", direct({ overlay: DEAD }), "unknown", "no-answer"],
  [
    "the wire is narrow",
    vxlan({ overlay: { ...GOOD, mtu: HOLE }, underlay: { ...GOOD, mtu: NARROW } }),
    "fault",
    "mtu-black-hole",
    /takes 1400 bytes, not the 1500/,
  ],
  [
    "only the tunnel's large packets vanish",
    vxlan({ overlay: { ...GOOD, mtu: HOLE }, underlay: { ...GOOD, mtu: PASSES } }),
    "fault",
    "mtu-black-hole",
    /only the tunnel's large packets/,
  ],
  [
    "a router says what fits",
    vxlan({
      overlay: { ...GOOD, mtu: { mtu: 1350, most: 1450, blackHole: false, reportedBy: "192.0.2.254" } },
      underlay: { ...GOOD, mtu: NARROW },
    }),
    "fault",
    "mtu-too-large",
  ],
  [
    "both lose",
    vxlan({ overlay: { ...GOOD, received: 3 }, underlay: { ...GOOD, received: 4 } }),
    "fault",
    "underlay-loss",
  ],
  ["the overlay loses", vxlan({ overlay: { ...GOOD, received: 3 } }), "fault", "overlay-loss"],
  [
    "a little loss",
    vxlan({ overlay: { sent: 100, received: 99, p50: 0.2 } }),
    "warning",
    "overlay-loss",
  ],
  ["TCP isn't answered", vxlan({ tcp: "silent" }), "warning", "tcp-silent", /spoils checksums/],
  ["slow", vxlan({ overlay: { ...GOOD, p50: 80 } }), "warning", "overlay-slow"],
  ["far, but not slow", vxlan({ overlay: { ...GOOD, p50: 80 }, underlay: { ...GOOD, p50: 75 } }), "ok", "ok"],
];

for (const [name, findings, severity, code, says] of CASES) {
  Deno.test(`verdict: ${name}: ${code}`, () => {
    const verdict = judge(findings);
    assert.deepEqual([verdict.severity, verdict.code], [severity, code], verdict.text);
    if (says) assert.match(verdict.text, says);
    // What isn't well comes with what was seen, and with what helps.
    if (severity === "fault" || severity === "warning") {
      assert(verdict.evidence.length > 0);
      assert(verdict.remedy);
    }
    assert.doesNotMatch(JSON.stringify(verdict), /undefined|NaN/);
  });
}

/**
 * Hosts that start at the same moment. Older releases of the original lost peers here: a lease written between
 * the list and the watch was never seen (flannel-io/flannel #2470). Many rounds, as the gap is small.
 */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import { IS_ROOT, withLab } from "./lab_test_case.ts";
import { Lab, type LabOptions } from "../../scripts/lab/lab.ts";

/** LAB_ROUNDS sets another number for all. */
const ROUNDS = Deno.env.get("LAB_ROUNDS");

interface Case {
  readonly name: string;
  readonly backend: JsonObject;
  readonly segments: 1 | 2;
  /** The gap is the store's, whatever the backend: one of them gets most rounds. */
  readonly rounds: number;
  /** How host `from` must reach the subnet of host `to`. */
  expectedRoute(lab: Lab, from: number, to: number): RegExp;
}

const direct = (lab: Lab, to: number) => new RegExp(` via ${lab.host(to).addresses.ipv4} dev eth0`);
const tunnel = / via 10\.5\.\d+\.0 dev flannel\.1 .*onlink/;

const CASES: readonly Case[] = [
  { name: "vxlan", backend: { Type: "vxlan" }, segments: 1, rounds: 20, expectedRoute: () => tunnel },
  {
    name: "vxlan with DirectRouting on two segments",
    backend: { Type: "vxlan", DirectRouting: true },
    segments: 2,
    rounds: 8,
    expectedRoute: (lab, from, to) =>
      lab.host(from).segment === lab.host(to).segment ? direct(lab, to) : tunnel,
  },
  {
    name: "host-gw",
    backend: { Type: "host-gw" },
    segments: 1,
    rounds: 8,
    expectedRoute: (lab, _, to) => direct(lab, to),
  },
];

async function round(lab: Lab, { expectedRoute }: Case): Promise<void> {
  const files = await lab.startAll();
  const subnets = files.map((file) => file.subnets.ipv4!.replace(/\.1\/24$/, ".0/24"));
  assert.equal(new Set(subnets).size, lab.hosts.length, `subnets ${subnets}`);
  await lab.connect();
  await lab.pingAll();
  for (const from of lab.hosts) {
    const routes = await from.routes();
    for (const to of lab.hosts.filter((host) => host !== from)) {
      const route = routes.find((line) => line.startsWith(subnets[to.number - 1]!));
      assert.match(route ?? "no route", expectedRoute(lab, from.number, to.number));
    }
  }
}

for (const each of CASES) {
  const rounds = Number(ROUNDS ?? each.rounds);
  Deno.test({
    name:
      `3 hosts start at once, ${each.name}: every pair of containers pings, ${rounds} rounds (needs root)`,
    ignore: !IS_ROOT,
    fn: async () => {
      const options: LabOptions = {
        segments: each.segments,
        config: { Network: "10.5.0.0/16", Backend: each.backend },
      };
      for (let count = 0; count < rounds; count++) await withLab(options, (lab) => round(lab, each));
    },
  });
}

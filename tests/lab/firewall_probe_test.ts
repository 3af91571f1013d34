import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { FirewallHost, firewallTest } from "./firewall_lab.ts";
import type { Stamps } from "./firewall_probe.ts";

const PROBE = fileURLToPath(new URL("firewall_probe.ts", import.meta.url));

/** What is done, and which stamp it must change. */
const STEPS: readonly (readonly [command: string, changes: keyof Stamps | undefined])[] = [
  ["nft add table inet t", "generation"],
  ["nft list ruleset", undefined],
  [
    "nft add chain inet t c '{ type filter hook input priority 0; }'; nft add rule inet t c counter",
    "generation",
  ],
  ["iptables-nft -A FORWARD -s 10.5.0.0/16 -j ACCEPT", "generation"],
  ["iptables-nft-save", undefined],
  ["iptables-legacy -A INPUT -s 127.0.0.0/8 -j ACCEPT", "legacy"],
  ["ip6tables-legacy -A INPUT -s ::1 -j ACCEPT", "legacy"],
  ["ip link set lo up; ping -c 2 -i 0.01 127.0.0.1; ping -c 2 -i 0.01 ::1", undefined],
  ["iptables-legacy-save; ip6tables-legacy-save", undefined],
  ["iptables-legacy -A INPUT -s 127.0.0.1 -j ACCEPT", "legacy"],
  ["iptables-legacy -D INPUT 1; iptables-legacy -A INPUT -s 127.0.0.0/8 -j ACCEPT", "legacy"],
  ["ip6tables-legacy -P FORWARD DROP", "legacy"],
  ["ip6tables-legacy -t nat -N OURS", "legacy"],
  ["true", undefined],
];

firewallTest("firewall probe: every change is seen, and neither packets nor reading are one", async () => {
  await using host = await FirewallHost.make();
  const input = STEPS.map(([command]) => command).join("\n");
  const all = JSON.parse(await host.exec(`${Deno.execPath()} run -A ${PROBE}`, input)) as Stamps[];
  for (const [i, [command, changes]] of STEPS.entries()) {
    for (const stamp of ["generation", "legacy"] as const) {
      const [before, after] = [all[i]![stamp], all[i + 1]![stamp]];
      assert.equal(typeof after, "number", `${stamp} after ${command}`);
      assert.equal(before !== after, stamp === changes, `${stamp} after ${command}: ${before}, ${after}`);
    }
  }
});

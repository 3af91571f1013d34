import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { FirewallHost, firewallTest, MODES, RULES } from "./firewall_lab.ts";
import type { SteadyReport } from "./firewall_steady.ts";
import { until } from "../../scripts/lab/process.ts";

const STEADY = fileURLToPath(new URL("firewall_steady.ts", import.meta.url));

/** Long enough for a hundredth of a core to be 10 ticks of the kernel's clock. */
const SECONDS = 10;

firewallTest(
  "firewall: a steady time writes nothing, runs nothing and costs under 1 % of a core",
  async () => {
    await using iptablesHost = await FirewallHost.make();
    await using nftHost = await FirewallHost.make();
    const reports = await Promise.all(MODES.map(async (mode) => {
      const host = mode === "iptables" ? iptablesHost : nftHost;
      return JSON.parse(
        await host.exec(`${Deno.execPath()} run -A ${STEADY} ${mode} ${SECONDS}`),
      ) as SteadyReport;
    }));
    for (const report of reports) {
      const what = JSON.stringify(report);
      assert.equal(report.changes, 0, what);
      assert.equal(report.commands, 0, what);
      assert.ok(report.seconds >= SECONDS, what);
      assert.ok(report.cpuSeconds / report.seconds < 0.01, what);
    }
  },
);

for (const mode of MODES) {
  firewallTest(
    `firewall ${mode}: kept rules are back soon after somebody takes them away, again and again`,
    async () => {
      await using host = await FirewallHost.make();
      using firewall = await host.firewall(mode);
      await firewall.apply(RULES);
      const right = (await host.everything()).length;
      const end = new AbortController();
      const kept = firewall.keep(end.signal, 100);
      try {
        for (
          const damage of mode === "iptables" ? ["iptables -F", "iptables -t nat -F"] : ["nft flush ruleset"]
        ) {
          await host.exec(damage);
          await until(
            `the rules after ${damage}`,
            async () => (await host.everything()).length === right,
            3000,
          );
        }
      } finally {
        end.abort();
        await kept;
      }
      assert.match(
        host.complaints.join("\n"),
        /^Another program changed firewall rules, which are restored: IPv4/,
      );
    },
  );
}

firewallTest("firewall: keeping goes on after failures, and reports each pass", async () => {
  await using host = await FirewallHost.make();
  using firewall = await host.firewall("nftables");
  await firewall.apply(RULES);
  const end = new AbortController();
  await host.exec("nft flush ruleset");
  host.broken = true;
  const results: unknown[] = [];
  const kept = firewall.keep(end.signal, 20, (error) => results.push(error));
  try {
    await until("five failures", () => host.failures >= 5, 5000);
    assert.match(
      String(results[0]),
      /FirewallError: nft -j list table ip flannel-ipv4 failed with status 1: broken/,
    );
    host.broken = false;
    await until("the rules", async () => (await host.exec("nft list tables")).includes("flannel-ipv4"), 5000);
    await until("a pass without an error", () => results.at(-1) === undefined, 5000);
  } finally {
    end.abort();
    await kept;
  }
});

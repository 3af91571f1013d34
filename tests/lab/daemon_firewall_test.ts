/** What the daemon says of firewall rules that it can't keep. */
import assert from "node:assert/strict";
import { labTest } from "./lab_test_case.ts";
import { until } from "../../scripts/lab/process.ts";

/** Something that iptables has no words for, in iptables' filter table. */
const NFT_RULE = "ct state established counter accept";

labTest(
  "a filter table that drops and that iptables can't show: not ready, with the reason, until it is solved",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    await host.exec(["nft", "add table ip filter"]);
    await host.exec([
      "nft",
      "add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }",
    ]);
    await host.exec(["nft", `add rule ip filter FORWARD ${NFT_RULE}`]);
    const listing = async () => (await host.exec(["nft", "list", "table", "ip", "filter"])).stdout;
    const before = await listing();
    host.start({ args: ["-ip-masq", "-iptables-resync=1"] });
    await until("the problem", async () => {
      const { problems } = JSON.parse(await host.fetchText("/status"));
      return /firewall.*iptables cannot show table ip filter/.test(JSON.stringify(problems));
    }, 10_000);
    assert.equal(await host.probe("/readyz"), 503);
    assert.equal(await host.probe("/healthz"), 200);
    // Each pass added a jump.
    await until("three passes", async () => {
      const text = await host.fetchText("/metrics");
      return Number(/^flannel_firewall_errors_total (\d+)$/m.exec(text)?.[1] ?? 0) >= 3;
    }, 10_000);
    assert.equal(await listing(), before);

    await host.exec(["nft", "flush chain ip filter FORWARD"]);
    await host.waitReady();
    assert.match(await listing(), /jump FLANNEL-FWD/);
    assert.deepEqual(JSON.parse(await host.fetchText("/status")).problems, []);
  },
);

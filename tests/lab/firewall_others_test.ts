/** Other programs at work on the same firewall: what they do isn't damage, unless it is. */
import assert from "node:assert/strict";
import { FirewallError } from "../../lib/firewall/change.ts";
import { FirewallHost, firewallTest, folderWith, MODES, RULES } from "./firewall_lab.ts";

/** What dockerd 20.10 does to iptables when it starts, command by command. */
const DOCKER_STARTS = `\
-t nat -N DOCKER
-t filter -N DOCKER
-t filter -N DOCKER-ISOLATION-STAGE-1
-t filter -N DOCKER-ISOLATION-STAGE-2
-t filter -A DOCKER-ISOLATION-STAGE-1 -j RETURN
-t filter -A DOCKER-ISOLATION-STAGE-2 -j RETURN
-t nat -I POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -I DOCKER -i docker0 -j RETURN
-I FORWARD -i docker0 -o docker0 -j ACCEPT
-I FORWARD -i docker0 ! -o docker0 -j ACCEPT
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT -m addrtype --dst-type LOCAL ! --dst 127.0.0.0/8 -j DOCKER
-t filter -I FORWARD -o docker0 -j DOCKER
-t filter -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-t filter -I FORWARD -j DOCKER-ISOLATION-STAGE-1
-t filter -I DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-t filter -I DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-P FORWARD DROP
-N DOCKER-USER
-A DOCKER-USER -j RETURN
-I FORWARD -j DOCKER-USER
`.trim().split("\n");

const DAMAGES = {
  iptables: "iptables -F FLANNEL-FWD",
  nftables: "nft delete table ip flannel-ipv4",
} as const;

for (const mode of MODES) {
  firewallTest(
    `firewall ${mode}: Docker's start is followed without a warning, whenever a pass comes`,
    async () => {
      // Each pass in which Docker's new rules called for a change was reported as damage.
      await using host = await FirewallHost.make();
      using firewall = await host.firewall(mode);
      await firewall.apply(RULES);
      await firewall.resync();
      let writes = 0;
      for (const command of DOCKER_STARTS) {
        await host.exec(`iptables ${command}`);
        if (await firewall.resync()) writes++;
      }
      assert.ok(writes > 0, "Docker's rules call for changes");
      assert.deepEqual(host.complaints, []);
      assert.equal(await firewall.resync(), false);

      await host.exec(DAMAGES[mode]);
      assert.equal(await firewall.resync(), true);
      assert.equal(host.complaints.length, 1);
      assert.match(host.complaints[0]!, /^Another program changed firewall rules, which are restored: IPv4/);
    },
  );
}

/** A rule that iptables has no words for, in a table of iptables'. */
function nftRuleIn(policy: "accept" | "drop", ...rules: string[]): [command: string, input: string] {
  return [
    "nft -f -",
    `\
table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy ${policy};
    ct state established counter accept
${rules.join("\n")}
  }
}
`,
  ];
}

for (const mode of MODES) {
  firewallTest(
    `firewall ${mode}: nothing is written into a table that iptables can't show; one that drops is an error`,
    async () => {
      // iptables-nft-save says so and exits with 0: each pass added one jump more, for as long as the daemon ran.
      for (const [policy, ...rules] of [["drop"], ["accept", "drop"]] as const) {
        await using host = await FirewallHost.make();
        await host.exec(...nftRuleIn(policy, ...rules));
        const before = await host.exec("nft list table ip filter");
        using firewall = await host.firewall(mode);
        for (let pass = 0; pass < 3; pass++) {
          await assert.rejects(pass === 0 ? firewall.apply(RULES) : firewall.resync(), (error) => {
            assert.ok(error instanceof FirewallError);
            assert.match(
              error.message,
              /^iptables cannot show table ip filter, because it holds rules made with nft, and flanneld writes nothing into it: move these rules into a table of their own \(nft list table ip filter\)\. Its chain FORWARD drops/,
            );
            return true;
          });
        }
        assert.equal(await host.exec("nft list table ip filter"), before);
        if (mode === "iptables") assert.match(await host.saved("iptables-save -t nat"), /FLANNEL-POSTRTG/);
        await host.exec("nft flush chain ip filter FORWARD");
        await firewall.resync();
        assert.equal(await firewall.resync(), false, "the rules that iptables can't show are gone");
        assert.equal((await host.chain("FORWARD")).length, mode === "iptables" || policy === "drop" ? 1 : 0);
      }
    },
  );

  firewallTest(
    `firewall ${mode}: a table that iptables can't show and that accepts is a warning`,
    async () => {
      await using host = await FirewallHost.make();
      await host.exec(...nftRuleIn("accept"));
      const before = await host.exec("nft list table ip filter");
      using firewall = await host.firewall(mode);
      await firewall.apply(RULES);
      assert.equal(await firewall.resync(), false);
      assert.equal(await host.exec("nft list table ip filter"), before);
      assert.equal(host.complaints.length, 1);
      assert.match(host.complaints[0]!, /cannot show table ip filter.* containers are reached/);
      await firewall.remove();
      assert.equal(await host.exec("nft list table ip filter"), before);
    },
  );
}

firewallTest("firewall: cleaning up names rules of ours in a table that iptables can't show", async () => {
  await using host = await FirewallHost.make();
  using firewall = await host.firewall("iptables");
  await firewall.apply(RULES);
  await host.exec("nft add rule ip filter FORWARD ct state established counter accept");
  await assert.rejects(firewall.remove(), /Chain FLANNEL-FWD of flanneld is still in it/);
  assert.doesNotMatch(await host.saved("iptables-save -t nat"), /FLANNEL/);
});

firewallTest("firewall: without nft, a table that iptables can't show counts as one that drops", async () => {
  const iptables = ["iptables", "ip6tables"].flatMap((name) =>
    ["", "-save", "-restore"].map((what) => name + what)
  );
  await using host = await FirewallHost.make(await folderWith(iptables));
  await host.exec(...nftRuleIn("accept"));
  using firewall = await host.firewall("iptables");
  await assert.rejects(firewall.apply(RULES), /cannot show table ip filter/);
});

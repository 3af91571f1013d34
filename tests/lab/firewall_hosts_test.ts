import assert from "node:assert/strict";
import { systemRunner } from "../../lib/firewall/command.ts";
import { FirewallError } from "../../lib/firewall/change.ts";
import { Firewall } from "../../lib/firewall/firewall.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { FirewallUnavailableError } from "../../lib/firewall/tools.ts";
import { silentLog } from "../../lib/observe/types.ts";
import {
  FirewallHost,
  firewallTest,
  folderWith,
  GOLDEN_V4,
  INPUT,
  legacyPrograms,
  MODES,
  NETWORK_ID,
  RULES,
  rulesOf,
} from "./firewall_lab.ts";

firewallTest("firewall iptables: a host of the original is taken over without a double rule", async () => {
  await using host = await FirewallHost.make();
  // What the original's releases leave: chains and appended jumps; before them rules straight in POSTROUTING.
  await host.exec(
    "iptables-restore --noflush",
    `\
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.72.0/24 -m comment --comment "flanneld masq" -j RETURN
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -s 10.5.33.0/24 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j RETURN
COMMIT
*filter
-A FORWARD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`,
  );
  using firewall = await host.firewall("iptables");
  assert.equal(await firewall.apply(RULES), true);
  assert.equal(await host.saved(), GOLDEN_V4);
  host.writes.length = 0;
  assert.equal(await firewall.apply(RULES), false);
});

firewallTest("firewall nftables: a host of the original is taken over without a double rule", async () => {
  await using host = await FirewallHost.make();
  await host.exec(
    "nft -f -",
    `\
table ip flannel-ipv4 {
  comment "rules for flannel-ipv4"
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr 10.5.0.0/16 accept
  }
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark 0x4000 return
    ip saddr 10.5.33.0/24 ip daddr 10.5.0.0/16 return
  }
}
`,
  );
  using firewall = await host.firewall("nftables");
  assert.equal(await firewall.apply(RULES), true);
  const text = await host.exec("nft list ruleset");
  assert.equal(text.match(/^table /gm)!.length, 2);
  assert.equal(text.match(/return comment/g)!.length, 8);
  assert.doesNotMatch(text, /10\.5\.33/);
});

firewallTest("firewall: three networks on one host don't touch each other's rules", async () => {
  for (const mode of MODES) {
    await using host = await FirewallHost.make();
    const ids = [NETWORK_ID, "/second", "/third"];
    const firewalls = [];
    for (const id of ids) {
      const firewall = await host.firewall(mode, id);
      firewalls.push(firewall);
      await firewall.apply(rulesOf(id));
    }
    host.writes.length = 0;
    for (const firewall of firewalls) assert.equal(await firewall.resync(), false, mode);
    assert.equal(await firewalls[1]!.remove(), true);
    for (const firewall of [firewalls[0]!, firewalls[2]!]) assert.equal(await firewall.resync(), false, mode);
  }
});

firewallTest("firewall: a host with only the other program uses that and says so", async () => {
  const iptables = ["iptables", "ip6tables"].flatMap((name) =>
    ["", "-save", "-restore"].map((what) => name + what)
  );
  {
    await using host = await FirewallHost.make(await folderWith(["nft"]));
    using firewall = await host.firewall("iptables");
    assert.equal(firewall.description, "nftables");
    assert.equal(await firewall.apply(RULES), true);
    assert.match(host.complaints.join(), /iptables can't be used.*Install iptables or set EnableNFTables/);
    assert.match(await host.exec("nft list tables"), /flannel-ipv4/);
    await firewall.remove();
  }
  {
    await using host = await FirewallHost.make(await folderWith(iptables));
    using firewall = await host.firewall("nftables");
    assert.match(firewall.description, /^iptables 1/);
    assert.equal(await firewall.apply(RULES), true);
    assert.match(host.complaints.join(), /nft can't be used.*Install nftables/);
    assert.equal(await host.saved(), GOLDEN_V4);
  }
});

firewallTest(
  "firewall: a host with neither program can do without rules, and says what to install",
  async () => {
    await using host = await FirewallHost.make(await folderWith([]));
    using firewall = await host.firewall("iptables");
    assert.equal(firewall.description, "none");
    assert.equal(await firewall.apply(ruleset({ ...INPUT, masquerade: false, forward: false })), false);
    await assert.rejects(firewall.apply(RULES), (error) => {
      assert.ok(error instanceof FirewallUnavailableError);
      assert.match(
        error.message,
        /neither iptables nor nft is installed. Install Debian's package nftables or iptables/,
      );
      return true;
    });
    assert.equal(await firewall.remove(), false);
  },
);

firewallTest(
  "firewall: a program that fails is an error with its words, and the other family has its rules",
  async () => {
    const programs = ["iptables", "iptables-save", "iptables-restore"];
    await using host = await FirewallHost.make(await folderWith(programs));
    using firewall = await host.firewall("iptables");
    await assert.rejects(firewall.apply(RULES), (error) => {
      assert.ok(error instanceof FirewallError);
      assert.match(error.message, /ip6tables-save: not found/);
      return true;
    });
    assert.equal(await host.saved(), GOLDEN_V4);
  },
);

firewallTest("firewall iptables-legacy: another program's lock is waited for", async () => {
  const path = await folderWith(legacyPrograms());
  await using host = await FirewallHost.make(path);
  const lock = `${path}/lock`;
  const prefix = ["/usr/bin/env", `XTABLES_LOCKFILE=${lock}`, "/usr/sbin/ip", "netns", "exec", host.name];
  const run = systemRunner({ prefix, path });
  using firewall = await Firewall.open({ mode: "iptables", networkId: NETWORK_ID, log: silentLog, run });
  const held = await Deno.open(lock, { create: true, write: true });
  await held.lock(true);
  let isReleased = false;
  const released = new Promise((resolve) => setTimeout(resolve, 300)).then(() => {
    isReleased = true;
    held.close();
  });
  assert.equal(await firewall.apply(RULES), true);
  assert.equal(isReleased, true, "it has waited");
  await released;
  assert.equal(await firewall.apply(RULES), false);
});

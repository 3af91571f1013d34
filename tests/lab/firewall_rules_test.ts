import assert from "node:assert/strict";
import { systemRunner } from "../../lib/firewall/command.ts";
import { Firewall, FirewallError } from "../../lib/firewall/firewall.ts";
import { firewallNames } from "../../lib/firewall/names.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { FirewallUnavailableError } from "../../lib/firewall/tools.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { FirewallHost, firewallTest, folderWith, INPUT, MODES, NETWORK_ID, RULES } from "./firewall_lab.ts";

const GOLDEN_V4 = `\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.72.0/24 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 -d 10.5.72.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.72.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
`;
const GOLDEN_V6 = GOLDEN_V4.replaceAll("10.5.0.0/16", "fc00::/48").replaceAll(
  "10.5.72.0/24",
  "fc00:0:0:1::/64",
)
  .replaceAll("224.0.0.0/4", "ff00::/8");

function legacyPrograms(): string[] {
  return ["", "6"].flatMap((six) => ["", "-save", "-restore"].map((what) => `ip${six}tables-legacy${what}`));
}

firewallTest("firewall iptables: the rules are the golden ones, in both families", async () => {
  await using host = await FirewallHost.make();
  using firewall = await host.firewall("iptables");
  assert.equal(await firewall.apply(RULES), true);
  assert.equal(await host.saved(), GOLDEN_V4);
  assert.equal(await host.saved("ip6tables-save"), GOLDEN_V6);
  assert.deepEqual(host.writes.toSorted(), ["ip6tables-restore", "iptables-restore"], "one call a family");
  assert.deepEqual(host.complaints, []);
});

firewallTest(
  "firewall iptables-legacy: the rules are the golden ones where there is nothing else",
  async () => {
    const programs = ["", "6"].flatMap((six) =>
      ["", "-save", "-restore"].map((what) => `ip${six}tables-legacy${what}`)
    );
    await using host = await FirewallHost.make(await folderWith(programs));
    using firewall = await host.firewall("iptables");
    assert.match(firewall.description, /legacy/);
    assert.equal(await firewall.apply(RULES), true);
    assert.equal(await firewall.apply(RULES), false);
    const sorted = (text: string) => text.split(/(?=^\*)/m).toSorted().join("");
    assert.equal(sorted(await host.saved("iptables-legacy-save")), GOLDEN_V4);
    assert.equal(sorted(await host.saved("ip6tables-legacy-save")), GOLDEN_V6);
    await host.exec("iptables-legacy -D FLANNEL-FWD 1");
    assert.equal(await firewall.resync(), true);
    assert.equal(sorted(await host.saved("iptables-legacy-save")), GOLDEN_V4);
    assert.equal(await firewall.remove(), true);
    assert.equal(await firewall.remove(), false);
    assert.doesNotMatch(await host.saved("iptables-legacy-save"), /FLANNEL/);
  },
);

firewallTest("firewall nftables: the rules are the golden ones, in both families", async () => {
  await using host = await FirewallHost.make();
  using firewall = await host.firewall("nftables");
  assert.equal(await firewall.apply(RULES), true);
  assert.deepEqual(host.writes, ["nft"], "one transaction for both families");
  const golden = `\
table ip flannel-ipv4 {
	chain postrtg {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x00004000 == 0x00004000 return comment "flanneld masq"
		ip saddr 10.5.72.0/24 ip daddr 10.5.0.0/16 return comment "flanneld masq"
		ip saddr 10.5.0.0/16 ip daddr 10.5.72.0/24 return comment "flanneld masq"
		ip saddr != 10.5.0.0/16 ip daddr 10.5.72.0/24 return comment "flanneld masq"
		ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment "flanneld masq"
		ip saddr != 10.5.0.0/16 ip daddr 10.5.0.0/16 masquerade fully-random comment "flanneld masq"
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.5.0.0/16 accept comment "flanneld forward"
		ip daddr 10.5.0.0/16 accept comment "flanneld forward"
	}
}
`;
  const goldenV6 = golden.replaceAll("10.5.0.0/16", "fc00::/48").replaceAll("10.5.72.0/24", "fc00:0:0:1::/64")
    .replaceAll("224.0.0.0/4", "ff00::/8").replaceAll("ip saddr", "ip6 saddr").replaceAll(
      "ip daddr",
      "ip6 daddr",
    )
    .replace("table ip flannel-ipv4", "table ip6 flannel-ipv6");
  assert.equal(await host.exec("nft list table ip flannel-ipv4"), golden);
  assert.equal(await host.exec("nft list table ip6 flannel-ipv6"), goldenV6);
});

for (const mode of MODES) {
  firewallTest(`firewall ${mode}: what is right is not written, by a new process neither`, async () => {
    await using host = await FirewallHost.make();
    using firewall = await host.firewall(mode);
    const rules = ruleset({
      ...INPUT,
      exclude: ["192.168.0.0/16", "10.0.0.1/32", "fd00::/8"].map(parsePrefix),
    });
    assert.equal(await firewall.apply(rules), true);
    host.writes.length = 0;
    assert.equal(await firewall.resync(), false);
    assert.equal(await firewall.apply(rules), false);
    using again = await host.firewall(mode);
    assert.equal(await again.apply(rules), false);
    assert.deepEqual(host.writes, []);
  });

  firewallTest(
    `firewall ${mode}: switched off means gone; another network or subnet replaces the old`,
    async () => {
      await using host = await FirewallHost.make();
      using firewall = await host.firewall(mode);
      await firewall.apply(RULES);
      const text = async () =>
        (await host.everything()).split("\n").filter((line) => !line.startsWith(":")).join("\n");
      await firewall.apply(ruleset({ ...INPUT, masquerade: false }));
      assert.doesNotMatch(await text(), /masq/i);
      assert.match(await text(), /flanneld forward/);
      await firewall.apply(ruleset({ ...INPUT, forward: false, fullyRandom: false }));
      assert.doesNotMatch(await text(), /flanneld forward|random/);
      assert.match(await text(), /flanneld masq/);
      await firewall.apply(ruleset({
        ...INPUT,
        families: [{ family: IPV4, network: parsePrefix("10.6.0.0/16") }],
        subnets: { ipv4: parsePrefix("10.6.1.0/24") },
      }));
      assert.doesNotMatch(await text(), /10\.5\.|fc00/);
      assert.match(await text(), /10\.6\.1\.0\/24/);
    },
  );

  firewallTest(`firewall ${mode}: the other mode's rules go when this one's are in`, async () => {
    await using host = await FirewallHost.make();
    const other = MODES.find((name) => name !== mode)!;
    using before = await host.firewall(other);
    await before.apply(RULES);
    using firewall = await host.firewall(mode);
    assert.equal(await firewall.apply(RULES), true);
    const [iptables, nft] = [await host.saved(), await host.exec("nft list tables")];
    assert.equal(/FLANNEL/.test(iptables), mode === "iptables");
    assert.equal(/flannel-ipv4/.test(nft), mode === "nftables");
    assert.equal(await firewall.resync(), false);
  });

  firewallTest(
    `firewall ${mode}: cleaning up takes everything, twice without error, and leaves the rest`,
    async () => {
      await using host = await FirewallHost.make();
      await addForeignRules(host);
      const before = await host.everything();
      for (const id of [NETWORK_ID, "/second", "/third"]) {
        using firewall = await host.firewall(mode, id);
        await firewall.apply(rulesOf(id));
      }
      const names = firewallNames("/second");
      using second = await host.firewall(mode, "/second");
      assert.equal(await second.remove(), true);
      assert.equal(await second.remove(), false);
      const left = await host.everything();
      assert.doesNotMatch(left, new RegExp(names.forwardChain.slice(-8)), "nothing of the second is left");
      assert.match(left, /10\.5\.0\.0\/16/);
      assert.match(left, /10\.8\.0\.0\/16/);
      for (const id of [NETWORK_ID, "/third"]) {
        using firewall = await host.firewall(mode, id);
        assert.equal(
          await firewall.resync(),
          false,
          "nothing was applied by this process: nothing to look after",
        );
        assert.equal(await firewall.remove(), true);
      }
      assert.equal(await host.everything(), before);
    },
  );

  firewallTest(`firewall ${mode}: foreign rules stay as they are, byte for byte`, async () => {
    await using host = await FirewallHost.make();
    await addForeignRules(host);
    const saved = async () => await host.saved() + await host.saved("ip6tables-save");
    const [before, savedBefore] = [await host.everything(), await saved()];
    using firewall = await host.firewall(mode);
    await firewall.apply(RULES);
    const foreign = (await saved()).replace(/^.*FLANNEL.*\n/gm, "");
    assert.equal(foreign, savedBefore);
    await firewall.apply(ruleset({ ...INPUT, masquerade: false }));
    await firewall.remove();
    assert.equal(await host.everything(), before);
  });
}

/** Rules of a network of its own. */
function rulesOf(id: string) {
  const third = { [NETWORK_ID]: 5, "/second": 7, "/third": 8 }[id]!;
  return ruleset({
    ...INPUT,
    families: [{ family: IPV4, network: parsePrefix(`10.${third}.0.0/16`) }],
    subnets: { ipv4: parsePrefix(`10.${third}.1.0/24`) },
  });
}

/** What others have on a host: rules in our tables' built-in chains and elsewhere. */
async function addForeignRules(host: FirewallHost): Promise<void> {
  await host.exec(
    "iptables-restore --noflush",
    `\
*nat
:KUBE-POSTROUTING - [0:0]
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A POSTROUTING -m comment --comment "kubernetes \\"quoted\\" rules" -j KUBE-POSTROUTING
COMMIT
*filter
-A FORWARD -s 10.5.0.0/16 -p tcp -m tcp --dport 25 -j DROP
-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
`,
  );
  await host.exec("ip6tables-restore --noflush", `*filter\n-A FORWARD -s fd00::5/128 -j DROP\nCOMMIT\n`);
  await host.exec("nft -f -", `table inet mine {\n chain c {\n  tcp dport 1 counter drop\n }\n}\n`);
  // iptables-nft makes the built-in chains that it needs and leaves them: have them there before.
  await host.exec("ip6tables-restore --noflush", "*nat\n-A POSTROUTING -s fd00::7/128 -j ACCEPT\nCOMMIT\n");
}

const REPAIRS = {
  iptables: [
    "iptables -D FLANNEL-FWD 1",
    "iptables -F FLANNEL-FWD",
    "iptables -t nat -D FLANNEL-POSTRTG 3",
    "iptables -t nat -D POSTROUTING 1",
    "iptables -t nat -F",
    "iptables -F",
    "iptables -D FORWARD 1",
    "iptables -A FORWARD -j FLANNEL-FWD",
    "iptables -t nat -I FLANNEL-POSTRTG 1 -s 10.5.72.0/24 -j MASQUERADE",
    "iptables -t nat -A FLANNEL-POSTRTG -s 10.5.72.0/24 -d 10.5.0.0/16 -j RETURN",
    "nft flush ruleset",
    "ip6tables -D FLANNEL-FWD 2",
    "ip6tables -t nat -F FLANNEL-POSTRTG",
  ],
  nftables: [
    "nft flush chain ip flannel-ipv4 postrtg",
    "nft delete table ip flannel-ipv4",
    "nft delete table ip6 flannel-ipv6",
    "nft flush ruleset",
    "nft insert rule ip flannel-ipv4 postrtg ip saddr 10.5.72.0/24 masquerade",
    "nft add rule ip flannel-ipv4 forward drop",
    "nft add rule ip6 flannel-ipv6 forward ip6 saddr fc00::/48 accept",
    "nft add chain ip flannel-ipv4 more",
    "nft chain ip flannel-ipv4 forward { policy drop ; }",
    "nft add table ip flannel-ipv4 { flags dormant ; }",
  ],
} as const;

/** The tables in a fixed order: programs print them in the order in which they were made. */
function parts(text: string): string[] {
  return text.split(/\n(?=\*|table)/).map((part) => part.trim()).toSorted();
}

for (const mode of MODES) {
  firewallTest(`firewall ${mode}: whatever is done to the rules is undone by the next pass`, async () => {
    await using host = await FirewallHost.make();
    using firewall = await host.firewall(mode);
    await firewall.apply(RULES);
    const right = await host.everything();
    for (const damage of REPAIRS[mode]) {
      await host.exec(damage);
      assert.notEqual(await host.everything(), right, `${damage} does no damage`);
      assert.equal(await firewall.resync(), true, `${damage}: nothing was written`);
      const repaired = await host.everything();
      assert.deepEqual(parts(repaired), parts(right), damage);
      assert.equal(await firewall.resync(), false, `${damage}: not settled`);
    }
  });
}

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

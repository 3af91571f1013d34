import assert from "node:assert/strict";
import { firewallNames } from "../../lib/firewall/names.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import {
  FirewallHost,
  firewallTest,
  folderWith,
  GOLDEN_V4,
  GOLDEN_V6,
  INPUT,
  MODES,
  NETWORK_ID,
  RULES,
  rulesOf,
} from "./firewall_lab.ts";

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

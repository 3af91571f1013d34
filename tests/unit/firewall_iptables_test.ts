import assert from "node:assert/strict";
import { isAtLeast } from "../../lib/firewall/iptables.ts";
import { mayCutForwarding, planIptables, restoreInput } from "../../lib/firewall/iptables_plan.ts";
import {
  type IptablesAbilities,
  isUnconditional,
  parseSavedTable,
  ruleComment,
  rulePrefixes,
  ruleTarget,
  sameRule,
} from "../../lib/firewall/iptables_text.ts";
import { firewallNames } from "../../lib/firewall/names.ts";
import { type FamilyRuleset, ruleset } from "../../lib/firewall/rules.ts";
import { parseIptablesVersion } from "../../lib/firewall/tools.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";
import { ipv4Rules, NAMES } from "./firewall_fixtures.ts";

const RULES = ipv4Rules();

const ABLE: IptablesAbilities = { comment: true, fullyRandom: true };
const MASQ = `-m comment --comment "flanneld masq"`;
const FWD = `-m comment --comment "flanneld forward"`;

const NAT_CHAIN = `\
:FLANNEL-POSTRTG - [0:0]
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${MASQ} -j RETURN
-A FLANNEL-POSTRTG -s 10.5.72.0/24 -d 10.5.0.0/16 ${MASQ} -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 -d 10.5.72.0/24 ${MASQ} -j RETURN
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.72.0/24 ${MASQ} -j RETURN
-A FLANNEL-POSTRTG -s 10.5.0.0/16 ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.5.0.0/16 -d 10.5.0.0/16 ${MASQ} -j MASQUERADE --random-fully
`;
const FILTER_CHAIN = `\
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s 10.5.0.0/16 ${FWD} -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 ${FWD} -j ACCEPT
`;
const NAT_JUMP = `-A POSTROUTING ${MASQ} -j FLANNEL-POSTRTG\n`;
const FILTER_JUMP = `-A FORWARD ${FWD} -j FLANNEL-FWD\n`;

/** iptables-save's output: chains and rules, without the head. */
const saved = (nat: string, filter: string) => ({
  nat: parseSavedTable(`*nat\n:POSTROUTING ACCEPT [0:0]\n${nat}COMMIT\n`, "nat"),
  filter: parseSavedTable(`*filter\n:FORWARD ACCEPT [0:0]\n${filter}COMMIT\n`, "filter"),
});

const RIGHT = { nat: NAT_CHAIN + NAT_JUMP, filter: FILTER_CHAIN + FILTER_JUMP };

/** What is written to a host with these tables. */
function plan(nat: string, filter: string, rules: FamilyRuleset = RULES, networkId?: string): string {
  const names = networkId === undefined ? NAMES : firewallNames(networkId);
  return restoreInput(planIptables(saved(nat, filter), rules, names, ABLE));
}

Deno.test("firewall iptables: a bare host gets both chains and the jumps to them", () => {
  assert.equal(
    plan("", ""),
    `*nat\n${NAT_CHAIN}${NAT_JUMP}COMMIT\n*filter\n${FILTER_CHAIN}${FILTER_JUMP}COMMIT\n`,
  );
});

Deno.test("firewall iptables: what is right is not written", () => {
  assert.equal(plan(RIGHT.nat, RIGHT.filter), "");
});

Deno.test("firewall iptables: other spellings of the same rules are the same", () => {
  const spelled = RIGHT.nat
    .replaceAll(`${MASQ} -j RETURN`, `-j RETURN ${MASQ}`)
    .replace("0x4000/0x4000", "0x4000/0x4000 ")
    .replaceAll("-s 10.5.0.0/16 !", "  -s 10.5.0.0/16  !");
  assert.equal(plan(spelled, RIGHT.filter), "");
  assert.ok(sameRule("-s 10.5.0.1 -j ACCEPT", "-s 10.5.0.1/32 -j ACCEPT", IPV4));
  assert.ok(sameRule("-s fd00:0::1 -j ACCEPT", "-j ACCEPT -s fd00::1/128", IPV6));
  assert.ok(sameRule("-s 0.0.0.0/0 -j ACCEPT", "-j ACCEPT", IPV4));
  assert.ok(sameRule(`-m comment --comment one -j ACCEPT`, `--comment "one" -j ACCEPT`, IPV4));
  for (
    const other of [
      "! -s 10.5.0.1 -j ACCEPT",
      "-d 10.5.0.1 -j ACCEPT",
      "-s 10.5.0.1/24 -j ACCEPT",
      "-s 10.5.0.1 -j DROP",
      "-s 10.5.0.1 -m socket -j ACCEPT",
      "-s 10.5.0.1 -p tcp -m tcp --dport 80 -j ACCEPT",
      "-s 10.5.0.1 -i eth0 -j ACCEPT",
    ]
  ) assert.equal(sameRule("-s 10.5.0.1 -j ACCEPT", other, IPV4), false, other);
});

Deno.test("firewall iptables: a changed, missing, doubled or moved rule makes the chain new and nothing else", () => {
  const rules = FILTER_CHAIN.split("\n").slice(1, 3);
  const variants = [
    `:FLANNEL-FWD - [0:0]\n${rules[0]}\n`,
    `:FLANNEL-FWD - [0:0]\n${rules[1]}\n${rules[0]}\n`,
    `:FLANNEL-FWD - [0:0]\n${rules[0]}\n${rules[0]}\n${rules[1]}\n`,
    `:FLANNEL-FWD - [0:0]\n${rules[0]!.replace("ACCEPT", "DROP")}\n${rules[1]}\n`,
    `:FLANNEL-FWD - [0:0]\n-A FLANNEL-FWD -j DROP\n${rules[0]}\n${rules[1]}\n`,
    `:FLANNEL-FWD - [0:0]\n`,
  ];
  for (const variant of variants) {
    assert.equal(plan(RIGHT.nat, variant + FILTER_JUMP), `*filter\n${FILTER_CHAIN}COMMIT\n`, variant);
  }
});

Deno.test("firewall iptables: of doubled jumps one is left", () => {
  const line = FILTER_JUMP.trim();
  const input = plan(RIGHT.nat, FILTER_CHAIN + FILTER_JUMP + FILTER_JUMP);
  assert.equal(input, `*filter\n${line.replace("-A", "-D")}\n${line.replace("-A", "-D")}\n${line}\nCOMMIT\n`);
});

Deno.test("firewall iptables: a jump behind something that refuses all packets comes before it", () => {
  const moved = `*filter\n${FILTER_JUMP.replace("-A", "-D")}-I FORWARD 2 ${
    FILTER_JUMP.slice("-A FORWARD ".length)
  }COMMIT\n`;
  const first = "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n";
  const refusals = [
    "-A FORWARD -j DROP\n",
    "-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n",
    `-A FORWARD -m comment --comment "the end" -j DROP\n`,
    ":site - [0:0]\n:site2 - [0:0]\n-A site -p tcp -j ACCEPT\n-A site -j site2\n-A site2 -j REJECT\n-A FORWARD -j site\n",
  ];
  for (const refusal of refusals) {
    assert.equal(plan(RIGHT.nat, FILTER_CHAIN + first + refusal + FILTER_JUMP), moved, refusal);
    assert.equal(plan(RIGHT.nat, FILTER_CHAIN + first + FILTER_JUMP + refusal), "", refusal);
  }
});

Deno.test("firewall iptables: network policies and people's own rules stay before the jump", () => {
  const chains = ":KUBE-ROUTER-FORWARD - [0:0]\n-A KUBE-ROUTER-FORWARD -d 10.5.72.3/32 -j DROP\n";
  const before = "-A FORWARD -j KUBE-ROUTER-FORWARD\n-A FORWARD -s 10.5.9.9/32 -j DROP\n";
  assert.equal(plan(RIGHT.nat, FILTER_CHAIN + chains + before + FILTER_JUMP), "");
  assert.equal(
    plan(RIGHT.nat, FILTER_CHAIN + chains + before),
    `*filter\n${FILTER_JUMP}COMMIT\n`,
    "a missing jump goes to the end",
  );
  const nat = "-A POSTROUTING -j KUBE-POSTROUTING\n-A POSTROUTING -s 10.5.0.0/16 -d 10.0.0.0/8 -j ACCEPT\n";
  assert.equal(plan(nat + RIGHT.nat, RIGHT.filter), "");
});

Deno.test("firewall iptables: somebody's masquerading comes after ours", () => {
  const docker = "-A POSTROUTING -s 10.5.72.0/24 ! -o docker0 -j MASQUERADE\n";
  const jump = NAT_JUMP.slice("-A POSTROUTING ".length);
  assert.equal(
    plan(NAT_CHAIN + "-A POSTROUTING -j KUBE-POSTROUTING\n" + docker + NAT_JUMP, RIGHT.filter),
    `*nat\n-D POSTROUTING ${jump}-I POSTROUTING 2 ${jump}COMMIT\n`,
  );
  assert.equal(plan(NAT_CHAIN + NAT_JUMP + docker, RIGHT.filter), "");
});

Deno.test("firewall iptables: in DOCKER-USER an administrator's rules stay before our accept", () => {
  const jump = `${FWD} -j FLANNEL-FWD`;
  const chain = (...rules: string[]) =>
    ":DOCKER-USER - [0:0]\n" + rules.map((rule) => `-A DOCKER-USER ${rule}\n`).join("");
  const inserted = (place: number) => `*filter\n-I DOCKER-USER ${place} ${jump}\nCOMMIT\n`;
  const drop = "-s 203.0.113.0/24 -i eth0 -j DROP";
  for (const end of ["-j RETURN", "-j DROP", "-j REJECT --reject-with icmp-port-unreachable"]) {
    assert.equal(plan(RIGHT.nat, RIGHT.filter + chain(end)), inserted(1), end);
    assert.equal(plan(RIGHT.nat, RIGHT.filter + chain(drop, end)), inserted(2), end);
    assert.equal(plan(RIGHT.nat, RIGHT.filter + chain(drop, jump, end)), "", end);
  }
  assert.equal(
    plan(RIGHT.nat, RIGHT.filter + chain(drop)),
    `*filter\n-A DOCKER-USER ${jump}\nCOMMIT\n`,
    "nothing ends the chain",
  );
  assert.equal(
    plan(RIGHT.nat, RIGHT.filter + chain(jump, drop, "-j RETURN")),
    `*filter\n-D DOCKER-USER ${jump}\n-I DOCKER-USER 2 ${jump}\nCOMMIT\n`,
    "a drop that came after our jump, or was behind it since an earlier release",
  );
  const other = "-j FLANNEL-FWD-0123abcd";
  for (const jumps of [[jump, other], [other, jump]]) {
    const held = chain(drop, ...jumps, "-j RETURN");
    assert.equal(plan(RIGHT.nat, RIGHT.filter + held), "", "two networks don't fight for a place");
  }
});

Deno.test("firewall iptables: whatever translates source addresses comes after ours", () => {
  const jump = NAT_JUMP.slice("-A POSTROUTING ".length);
  const moved = `*nat\n-D POSTROUTING ${jump}-I POSTROUTING 1 ${jump}COMMIT\n`;
  const before = [
    "-A POSTROUTING -j SNAT --to-source 192.0.2.1\n",
    "-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.1 --persistent\n",
    "-A POSTROUTING -s 10.5.0.0/16 -j NETMAP --to 192.0.2.0/24\n",
    "-A POSTROUTING -j MASQUERADE --random\n",
    ":SITE - [0:0]\n-A SITE -p tcp -j RETURN\n-A SITE ! -d 224.0.0.0/4 -j MASQUERADE\n" +
    "-A POSTROUTING -s 10.5.72.3/32 -j SITE\n",
    ":SITE - [0:0]\n:SITE2 - [0:0]\n-A SITE2 -j SNAT --to-source 192.0.2.1\n-A SITE -j SITE2\n" +
    "-A POSTROUTING -j SITE\n",
  ];
  for (const rules of before) {
    assert.equal(plan(NAT_CHAIN + rules + NAT_JUMP, RIGHT.filter), moved, rules);
    assert.equal(plan(NAT_CHAIN + NAT_JUMP + rules, RIGHT.filter), "", rules);
  }
  const harmless = [
    // kube-proxy's: only for packets with its mark, which our chain leaves alone.
    ":KUBE-POSTROUTING - [0:0]\n-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n" +
    "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n" +
    `-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic" -j MASQUERADE --random-fully\n` +
    "-A POSTROUTING -j KUBE-POSTROUTING\n",
    "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE\n",
    ":SITE - [0:0]\n-A SITE -j RETURN\n-A SITE -j MASQUERADE\n-A POSTROUTING -j SITE\n",
    ":SITE - [0:0]\n-A SITE -s 10.5.1.1/32 -j ACCEPT\n-A POSTROUTING -j SITE\n",
  ];
  for (const rules of harmless) assert.equal(plan(NAT_CHAIN + rules + NAT_JUMP, RIGHT.filter), "", rules);
});

Deno.test("firewall iptables: rules that old releases left in the base chains go", () => {
  const old = `\
-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 ${MASQ} -j RETURN
-A POSTROUTING -s 10.5.0.0/16 ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully
-A POSTROUTING ! -s 10.5.0.0/16 -d 10.5.33.0/24 ${MASQ} -j RETURN
`;
  const foreign = `\
-A POSTROUTING -s 10.9.0.0/16 -d 10.9.0.0/16 ${MASQ} -j RETURN
-A POSTROUTING -s 10.5.0.0/16 -d 10.5.0.0/16 -j RETURN
`;
  const jump = NAT_JUMP.slice("-A POSTROUTING ".length);
  assert.equal(
    plan(NAT_CHAIN + foreign + old + NAT_JUMP, RIGHT.filter),
    // The old rules masquerade before the jump: it moves, and they go.
    `*nat\n-D POSTROUTING ${jump}-I POSTROUTING 4 ${jump}${old.replaceAll("-A ", "-D ")}COMMIT\n`,
  );
  const oldForward = `-A FORWARD -s 10.5.0.0/16 ${FWD} -j ACCEPT\n`;
  assert.equal(
    plan(RIGHT.nat, RIGHT.filter + oldForward),
    `*filter\n${oldForward.replace("-A", "-D")}COMMIT\n`,
  );
});

Deno.test("firewall iptables: two networks on one host have chains of their own", () => {
  const id = "/other/network";
  const { masqueradeChain, forwardChain } = firewallNames(id);
  const elsewhere = ruleset({
    families: [{ family: IPV4, network: parsePrefix("10.9.0.0/16") }],
    subnets: { ipv4: parsePrefix("10.9.1.0/24") },
    masquerade: true,
    forward: true,
    fullyRandom: true,
    exclude: [],
  }).families[0]!;
  const input = plan(RIGHT.nat, RIGHT.filter, elsewhere, id);
  assert.ok(!/FLANNEL-(POSTRTG|FWD)(?!-)/.test(input), input);
  assert.ok(input.includes(`:${masqueradeChain} - [0:0]`) && input.includes(`-j ${forwardChain}\n`));
  // Removing the second one's leaves the first one's.
  const both = saved(
    RIGHT.nat + `:${masqueradeChain} - [0:0]\n-A POSTROUTING ${MASQ} -j ${masqueradeChain}\n`,
    RIGHT.filter,
  );
  assert.equal(
    restoreInput(planIptables(both, { family: IPV4 }, firewallNames(id), ABLE)),
    `*nat\n-D POSTROUTING ${MASQ} -j ${masqueradeChain}\n-F ${masqueradeChain}\n-X ${masqueradeChain}\nCOMMIT\n`,
  );
});

Deno.test("firewall iptables: the original's chains for this very network go when its chains are named anew", () => {
  const id = "/custom";
  const input = plan(RIGHT.nat.replaceAll(" --random-fully", ""), RIGHT.filter, RULES, id);
  assert.match(input, /-F FLANNEL-POSTRTG\n-X FLANNEL-POSTRTG\n/);
  assert.match(input, /-F FLANNEL-FWD\n-X FLANNEL-FWD\n/);
});

Deno.test("firewall iptables: without masquerading its chain goes, wherever it is jumped to from", () => {
  const { family, forward } = RULES;
  const extra = `-A OUTPUT -j FLANNEL-POSTRTG\n`;
  assert.equal(
    plan(RIGHT.nat + extra, RIGHT.filter, { family, forward: forward! }),
    `*nat\n-D POSTROUTING ${MASQ} -j FLANNEL-POSTRTG\n-D OUTPUT -j FLANNEL-POSTRTG\n` +
      `-F FLANNEL-POSTRTG\n-X FLANNEL-POSTRTG\nCOMMIT\n`,
  );
  assert.equal(plan("", RIGHT.filter, { family, forward: forward! }), "");
});

Deno.test("firewall iptables: what may cut off forwarding is seen", () => {
  const cut = (text: string) => mayCutForwarding(parseSavedTable(`*filter\n${text}`, "filter"), IPV4);
  assert.equal(cut(""), false);
  assert.equal(cut(":FORWARD ACCEPT [0:0]\n-A FORWARD -s 1.2.3.4/32 -j DROP\n"), false);
  assert.equal(cut(":FORWARD DROP [5:300]\n"), true);
  assert.equal(cut(":FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n"), true);
  assert.equal(
    cut(":FORWARD ACCEPT [0:0]\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable\n"),
    true,
  );
});

Deno.test("firewall iptables: targets, comments and prefixes are read past quotes", () => {
  const rule = `-s 10.5.0.1/32 -m comment --comment "to -j \\"DROP\\" -s 9.9.9.9/32" -j KUBE-MARK-MASQ`;
  assert.equal(ruleTarget(rule), "KUBE-MARK-MASQ");
  assert.equal(ruleComment(rule), `to -j "DROP" -s 9.9.9.9/32`);
  assert.deepEqual(rulePrefixes(rule, IPV4).map(formatPrefix), ["10.5.0.1/32"]);
  assert.equal(ruleTarget("-m comment --comment counted"), undefined);
  assert.equal(isUnconditional(`-m comment --comment "-s 1.1.1.1" -j DROP`, IPV4), true);
  assert.equal(isUnconditional("-m addrtype --dst-type LOCAL -j DROP", IPV4), false);
});

Deno.test("firewall iptables: versions are read and compared", () => {
  assert.deepEqual(parseIptablesVersion("iptables v1.8.9 (nf_tables)\n", "")?.backend, "nf_tables");
  assert.deepEqual(parseIptablesVersion("iptables v1.8.7 (legacy)\n", "-legacy"), {
    variant: "-legacy",
    backend: "legacy",
    version: [1, 8, 7],
  });
  assert.equal(parseIptablesVersion("iptables v1.4.21\n", "")?.backend, "legacy");
  assert.equal(parseIptablesVersion("usage: iptables", ""), undefined);
  assert.ok(isAtLeast([1, 8], [1, 6, 2]) && isAtLeast([1, 6, 2], [1, 6, 2]) && !isAtLeast([1, 6], [1, 6, 2]));
});

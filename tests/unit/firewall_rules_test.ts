import assert from "node:assert/strict";
import { firewallNames } from "../../lib/firewall/names.ts";
import { isEmptyRuleset, type Rule, ruleset, type RulesetInput } from "../../lib/firewall/rules.ts";
import { FAMILIES, IPV4, IPV6 } from "../../lib/net/family.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";

const INPUT: RulesetInput = {
  families: [
    { family: IPV4, network: parsePrefix("10.5.0.0/16") },
    { family: IPV6, network: parsePrefix("fc00::/48") },
  ],
  subnets: { ipv4: parsePrefix("10.5.72.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") },
  masquerade: true,
  forward: true,
  fullyRandom: true,
  exclude: [],
};

/** A rule in words. */
function words(rule: Rule): string {
  const match = (name: string, value: Rule["source"]) =>
    value ? [`${value.negated ? "!" : ""}${name} ${formatPrefix(value.prefix)}`] : [];
  const mark = rule.mark === undefined ? [] : [`mark ${rule.mark.toString(16)}`];
  return [...mark, ...match("from", rule.source), ...match("to", rule.destination), rule.action].join(" ");
}

Deno.test("firewall rules: order and matches are the contract's, for both families", () => {
  const { families, fullyRandom } = ruleset(INPUT);
  assert.equal(fullyRandom, true);
  assert.deepEqual(families.map(({ family }) => family), [IPV4, IPV6]);
  assert.deepEqual(families.map(({ masquerade }) => masquerade!.map(words)), [
    [
      "mark 4000 return",
      "from 10.5.72.0/24 to 10.5.0.0/16 return",
      "from 10.5.0.0/16 to 10.5.72.0/24 return",
      "!from 10.5.0.0/16 to 10.5.72.0/24 return",
      "from 10.5.0.0/16 !to 224.0.0.0/4 masquerade",
      "!from 10.5.0.0/16 to 10.5.0.0/16 masquerade",
    ],
    [
      "mark 4000 return",
      "from fc00:0:0:1::/64 to fc00::/48 return",
      "from fc00::/48 to fc00:0:0:1::/64 return",
      "!from fc00::/48 to fc00:0:0:1::/64 return",
      "from fc00::/48 !to ff00::/8 masquerade",
      "!from fc00::/48 to fc00::/48 masquerade",
    ],
  ]);
  assert.deepEqual(families.map(({ forward }) => forward!.map(words)), [
    ["from 10.5.0.0/16 accept", "to 10.5.0.0/16 accept"],
    ["from fc00::/48 accept", "to fc00::/48 accept"],
  ]);
});

Deno.test("firewall rules: excluded destinations return before masquerading, each in its own family", () => {
  const exclude = ["192.168.0.0/16", "fd00::/8", "10.0.0.1/32"].map(parsePrefix);
  const [v4, v6] = ruleset({ ...INPUT, exclude }).families;
  assert.deepEqual(v4!.masquerade!.map(words).slice(4, 7), [
    "from 10.5.0.0/16 to 192.168.0.0/16 return",
    "from 10.5.0.0/16 to 10.0.0.1/32 return",
    "from 10.5.0.0/16 !to 224.0.0.0/4 masquerade",
  ]);
  assert.deepEqual(v6!.masquerade!.map(words).slice(4, 6), [
    "from fc00::/48 to fd00::/8 return",
    "from fc00::/48 !to ff00::/8 masquerade",
  ]);
});

Deno.test("firewall rules: excluding everything is a rule without a destination", () => {
  const [v4] = ruleset({ ...INPUT, exclude: [parsePrefix("0.0.0.0/0")] }).families;
  assert.equal(words(v4!.masquerade![4]!), "from 10.5.0.0/16 return");
});

Deno.test("firewall rules: what is switched off has no chain", () => {
  const noMasquerade = ruleset({ ...INPUT, masquerade: false });
  assert.ok(noMasquerade.families.every((family) => !family.masquerade && family.forward));
  const noForward = ruleset({ ...INPUT, forward: false });
  assert.ok(noForward.families.every((family) => family.masquerade && !family.forward));
  assert.equal(isEmptyRuleset(noForward), false);
  assert.equal(isEmptyRuleset(ruleset({ ...INPUT, masquerade: false, forward: false })), true);
});

Deno.test("firewall rules: a family without a subnet of its own is not masqueraded", () => {
  const [v4, v6] = ruleset({ ...INPUT, subnets: { ipv6: INPUT.subnets.ipv6! } }).families;
  assert.equal(v4!.masquerade, undefined);
  assert.ok(v4!.forward && v6!.masquerade);
});

Deno.test("firewall names: the default network has the contract's, others have names of their own", () => {
  const plain = firewallNames("/coreos.com/network");
  assert.deepEqual(
    [plain.masqueradeChain, plain.forwardChain, ...FAMILIES.map(plain.table), plain.peerTable],
    ["FLANNEL-POSTRTG", "FLANNEL-FWD", "flannel-ipv4", "flannel-ipv6", "flannel-peers"],
  );
  assert.equal(firewallNames("/coreos.com/network/").forwardChain, "FLANNEL-FWD");
  const other = firewallNames("/other/network");
  assert.match(other.masqueradeChain, /^FLANNEL-POSTRTG-[0-9a-f]{8}$/);
  assert.ok(other.masqueradeChain.length <= 28, "iptables refuses longer names");
  assert.equal(firewallNames("/other/network/").masqueradeChain, other.masqueradeChain);
  assert.notEqual(firewallNames("/other/network2").masqueradeChain, other.masqueradeChain);
});

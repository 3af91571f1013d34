/** What input rules of other firewalls make of a tunnel's packet: dropped, let in, or not to be known. */
import assert from "node:assert/strict";
import type { ArrivingPacket } from "../../lib/firewall/arrival.ts";
import { fateOf } from "../../lib/firewall/iptables_input.ts";
import { parseSavedTable } from "../../lib/firewall/iptables_text.ts";
import { dropsForSure, inputChains } from "../../lib/firewall/nftables_input.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";

const VXLAN: ArrivingPacket = {
  ...{ family: IPV4, device: "eth0", udpPort: 8472, ipProtocol: 17 },
  from: parseIp("172.30.0.2"),
};
const IPIP: ArrivingPacket = { family: IPV4, device: "eth0", ipProtocol: 4, from: parseIp("172.30.0.2") };

/** The verdict and what gave it, of `iptables-save` with these rules. */
function fate(rules: readonly string[], packet = VXLAN, policy = "DROP"): string {
  const chains = [...new Set(rules.map((rule) => rule.split(" ")[1]!))].filter((name) => name !== "INPUT");
  const saved = ["*filter", `:INPUT ${policy} [0:0]`, ...chains.map((name) => `:${name} - [0:0]`), ...rules];
  const { verdict, by } = fateOf(parseSavedTable(saved.join("\n"), "filter"), packet);
  return `${verdict}: ${by}`;
}

Deno.test("iptables' INPUT: the policy, and rules that let a tunnel's packet in", () => {
  assert.equal(fate([]), "drop: -P INPUT DROP");
  assert.equal(fate([], VXLAN, "ACCEPT"), "accept: -P INPUT ACCEPT");
  for (
    const rule of [
      "-A INPUT -p udp -m udp --dport 8472 -j ACCEPT",
      "-A INPUT -p udp -m multiport --dports 53,8400:8500 -j ACCEPT",
      "-A INPUT -s 172.30.0.0/24 -j ACCEPT",
      "-A INPUT -s 172.30.0.2 -j ACCEPT",
      "-A INPUT -i eth+ -j ACCEPT",
      "-A INPUT ! -i lo -j ACCEPT",
      '-A INPUT -m comment --comment "all -j DROP" -j ACCEPT',
      "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
      "-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT",
    ]
  ) assert.equal(fate([rule]), `accept: ${rule}`, rule);
  for (
    const rule of [
      "-A INPUT -p udp -m udp --dport 8473 -j ACCEPT",
      "-A INPUT -p tcp -m tcp --dport 8472 -j ACCEPT",
      "-A INPUT -s 192.0.2.0/24 -j ACCEPT",
      "-A INPUT -i lo -j ACCEPT",
      "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
      "-A INPUT -p udp -m udp --dport 8472 -j LOG",
    ]
  ) assert.equal(fate([rule]), "drop: -P INPUT DROP", rule);
});

Deno.test("iptables' INPUT: a rule that drops decides though the policy accepts, and REJECT is a drop", () => {
  const rule = "-A INPUT -i eth0 -p udp -m udp --dport 8472 -j REJECT --reject-with icmp-port-unreachable";
  assert.equal(fate([rule], VXLAN, "ACCEPT"), `drop: ${rule}`);
  assert.equal(fate(["-A INPUT -p udp -m udp --dport 8472 -j ACCEPT", rule]).slice(0, 6), "accept");
});

Deno.test("iptables' INPUT: jumps, returns, gotos and chains within chains", () => {
  const jump = ["-A INPUT -j a", "-A a -i lo -j ACCEPT", "-A a -j b", "-A a -j DROP"];
  assert.equal(fate([...jump, "-A b -p udp -j ACCEPT"]), "accept: -A b -p udp -j ACCEPT");
  assert.equal(fate([...jump, "-A b -p udp -j RETURN", "-A b -j ACCEPT"]), "drop: -A a -j DROP");
  // A goto doesn't come back to the chain that it leaves.
  const goto = ["-A INPUT -j a", "-A INPUT -j ACCEPT", "-A a -g b", "-A a -j DROP", "-A b -p tcp -j DROP"];
  assert.equal(fate(goto), "accept: -A INPUT -j ACCEPT");
});

Deno.test("iptables' INPUT: what hangs on a set, a rate or a mark is unsure", () => {
  const set = "-A INPUT -m set --match-set peers src";
  assert.match(fate([`${set} -j ACCEPT`]), /^unsure/);
  assert.match(fate([`${set} -j DROP`], VXLAN, "ACCEPT"), /^unsure/);
  // Either way it is dropped.
  assert.match(fate([`${set} -j DROP`]), /^drop/);
  assert.match(fate(["-A INPUT -m mark --mark 0x1/0x1 -j a", "-A a -j ACCEPT"]), /^unsure/);
  assert.match(fate(["-A INPUT -m mark --mark 0x1/0x1 -j RETURN", "-A INPUT -j ACCEPT"]), /^unsure/);
  const { from: _, ...unknown } = VXLAN;
  assert.match(fate(["-A INPUT -s 172.30.0.0/24 -j ACCEPT"], unknown), /^unsure/);
});

Deno.test("iptables' INPUT: a tunnel without ports", () => {
  assert.match(fate(["-A INPUT -p udp -m udp --dport 8472 -j ACCEPT"], IPIP), /^drop/);
  for (const protocol of ["ipencap", "4", "all"]) {
    assert.match(fate([`-A INPUT -p ${protocol} -j ACCEPT`], IPIP), /^accept/, protocol);
  }
});

/** A chain as `nft -j list chain` prints it. */
function listing(rules: readonly object[][], policy = "drop", family = "inet"): string {
  const chain = { family, table: "t", name: "c", type: "filter", hook: "input", prio: 0, policy };
  return JSON.stringify({
    nftables: [{ metainfo: {} }, { chain }, ...rules.map((expr) => ({ rule: { family, chain: "c", expr } }))],
  });
}

const ACCEPT = { accept: null };
const match = (left: object, right: unknown, op = "==") => ({ match: { op, left, right } });
const udp = { payload: { protocol: "udp", field: "dport" } };
const saddr = { payload: { protocol: "ip", field: "saddr" } };

Deno.test("nftables' input chains: dropped for sure only where no rule may let the packet in", () => {
  assert.deepEqual(inputChains(listing([])), [{ family: "inet", table: "t", name: "c" }]);
  const drops = (...rules: object[][]) => dropsForSure(listing(rules), VXLAN);
  assert.ok(drops());
  assert.ok(!dropsForSure(listing([], "accept"), VXLAN));
  assert.ok(dropsForSure(listing([[match(udp, 8472), { counter: {} }, { drop: null }]], "accept"), VXLAN));
  for (
    const condition of [
      match(udp, 8472),
      match(udp, { range: [8000, 9000] }),
      match(udp, { set: [53, { range: [8000, 9000] }] }),
      match(udp, "@ports"),
      match(saddr, { prefix: { addr: "172.30.0.0", len: 24 } }),
      match(saddr, { set: ["192.0.2.1", "172.30.0.2"] }),
      match(saddr, "@hosts"),
      match({ meta: { key: "iifname" } }, "eth*"),
      match({ meta: { key: "iifname" } }, "lo", "!="),
      match({ meta: { key: "mark" } }, 1),
      match({ ct: { key: "state" } }, ["new", "established"], "in"),
    ]
  ) assert.ok(!drops([condition, ACCEPT]), JSON.stringify(condition));
  for (
    const condition of [
      match(udp, 53),
      match({ payload: { protocol: "tcp", field: "dport" } }, 8472),
      match(saddr, { prefix: { addr: "192.0.2.0", len: 24 } }),
      match({ meta: { key: "iif" } }, "lo"),
      match({ meta: { key: "l4proto" } }, { set: ["icmp", "ipv6-icmp"] }),
      match({ ct: { key: "state" } }, ["established", "related"], "in"),
    ]
  ) assert.ok(drops([condition, ACCEPT]), JSON.stringify(condition));
});

Deno.test("nftables' input chains: verdict maps, jumps, rates and another family", () => {
  const vmap = (pairs: unknown[]) => [{ vmap: { key: { ct: { key: "state" } }, data: { set: pairs } } }];
  const drops = (...rules: object[][]) => dropsForSure(listing(rules), VXLAN);
  assert.ok(drops(vmap([["established", ACCEPT], ["invalid", { drop: null }]])));
  assert.ok(!drops(vmap([["new", ACCEPT]])));
  assert.ok(!drops([{ jump: { target: "services" } }]));
  assert.ok(!drops([match(udp, 8472), { limit: { rate: 3 } }, ACCEPT]));
  // Above a rate: some packets get through.
  assert.ok(!dropsForSure(listing([[{ limit: { rate: 3 } }, { drop: null }]], "accept"), VXLAN));
  assert.ok(!dropsForSure(listing([], "drop", "ip6"), VXLAN));
  const v6 = { ...VXLAN, family: IPV6, from: parseIp("fd00::2") };
  assert.ok(dropsForSure(listing([], "drop", "ip6"), v6));
  assert.ok(dropsForSure(listing([[match(udp, 8472), ACCEPT]]), IPIP));
});

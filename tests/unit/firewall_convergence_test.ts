/**
 * Random tables against a small iptables-restore: whatever a host holds, one write makes it right, the second
 * writes nothing, and what isn't ours stays.
 */
import assert from "node:assert/strict";
import { planIptables, restoreInput, type SavedTables } from "../../lib/firewall/iptables_plan.ts";
import { parseSavedTable, ruleTarget } from "../../lib/firewall/iptables_text.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { ipv4Rules, NAMES } from "./firewall_fixtures.ts";
import { randomSource } from "../../scripts/lab/random.ts";

const RULES = ipv4Rules(["192.168.0.0/16"]);

const ABLE = { comment: true, fullyRandom: true };

/** A table's chains and rules: the oracle's state. */
type Table = Map<string, string[]>;

/** Carries out one table's lines of iptables-restore --noflush. @throws {Error} For what iptables refuses. */
function restore(table: Table, lines: readonly string[]): void {
  const chainOf = (name: string) => {
    const chain = table.get(name);
    if (!chain) throw new Error(`no chain ${name}`);
    return chain;
  };
  for (const line of lines) {
    const [, command, name, rest = ""] = /^(:|-[ADIFX] )(\S+) ?(.*)$/.exec(line)!;
    const target = ruleTarget(rest);
    if (target?.startsWith("FLANNEL")) chainOf(target);
    if (command === ":") table.set(name!, []);
    else if (command === "-A ") chainOf(name!).push(rest);
    else if (command === "-F ") chainOf(name!).length = 0;
    else if (command === "-D ") {
      const at = chainOf(name!).indexOf(rest);
      if (at < 0) throw new Error(`no such rule: ${line}`);
      chainOf(name!).splice(at, 1);
    } else if (command === "-X ") {
      if (chainOf(name!).length > 0) throw new Error(`${name} is not empty`);
      if ([...table.values()].flat().some((rule) => ruleTarget(rule) === name)) {
        throw new Error(`${name} is in use`);
      }
      table.delete(name!);
    } else {
      const [, place, rule] = /^(\d+) (.*)$/.exec(rest)!;
      if (Number(place) > chainOf(name!).length + 1) throw new Error(`too far behind: ${line}`);
      chainOf(name!).splice(Number(place) - 1, 0, rule!);
    }
  }
}

type Tables = Record<"nat" | "filter", Table>;

/** Carries out a whole input. */
function restoreAll(tables: Tables, input: string): void {
  for (const [, name, lines] of input.matchAll(/^\*(\w+)\n([^]*?)\nCOMMIT$/gm)) {
    restore(tables[name as keyof Tables], lines!.split("\n"));
  }
}

/** As iptables-save prints it. */
function save(tables: Tables): SavedTables {
  const print = (name: keyof Tables) => {
    const chains = [...tables[name].keys()].map((chain) => `:${chain} - [0:0]`);
    const rules = [...tables[name]].flatMap(([chain, list]) => list.map((rule) => `-A ${chain} ${rule}`));
    return parseSavedTable([`*${name}`, ...chains, ...rules, "COMMIT"].join("\n"), name);
  };
  return { nat: print("nat"), filter: print("filter") };
}

const MASQ = `-m comment --comment "flanneld masq"`;
const FORWARD = `-m comment --comment "flanneld forward"`;

/** Rules to choose from: ours, nearly ours, and others'. */
const CANDIDATES = [
  `${MASQ} -j FLANNEL-POSTRTG`,
  "-j FLANNEL-POSTRTG",
  `${FORWARD} -j FLANNEL-FWD`,
  "-s 10.5.1.0/24 -j FLANNEL-FWD",
  `-s 10.5.0.0/16 ${FORWARD} -j ACCEPT`,
  `-d 10.5.0.0/16 ${FORWARD} -j ACCEPT`,
  `-s 10.5.0.0/16 ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
  `-s 10.9.0.0/16 ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
  "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
  "-o eth0 -j SNAT --to-source 192.0.2.1",
  "-j RETURN",
  "-j FLANNEL-FWD-0123abcd",
  "-j DROP",
  "-j REJECT --reject-with icmp-port-unreachable",
  "-p tcp -m tcp --dport 25 -j DROP",
  "-j OTHER",
  "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
];

function isOurs(rule: string): boolean {
  return rule.includes("FLANNEL-") || (rule.includes("flanneld") && rule.includes("10.5."));
}

/** What others have: their rules in their order, by chain. */
function foreign(tables: Tables): string {
  const entries = Object.values(tables).flatMap((table) =>
    [...table].filter(([chain]) => !chain.startsWith("FLANNEL")).map((
      [chain, rules],
    ) => [chain, rules.filter((rule) => !isOurs(rule))])
  );
  return JSON.stringify(entries);
}

function randomTables(random: (bound: number) => number): Tables {
  const chains = { nat: ["POSTROUTING", "OTHER"], filter: ["FORWARD", "OTHER"] };
  if (random(2)) chains.filter.push("DOCKER-USER");
  if (random(2)) chains.nat.push("FLANNEL-POSTRTG");
  if (random(2)) chains.filter.push("FLANNEL-FWD");
  const make = (names: readonly string[]): Table =>
    new Map(names.map((name) => {
      const count = random(7);
      const rules = Array.from({ length: count }, () => CANDIDATES[random(CANDIDATES.length)]!);
      // The kernel takes no jump to a chain that isn't there, nor a loop.
      const isPossible = (rule: string) => {
        const target = ruleTarget(rule)!;
        return !/^(OTHER|FLANNEL)/.test(target) || (names.includes(target) && !/^(OTHER|FLANNEL)/.test(name));
      };
      return [name, rules.filter(isPossible)];
    }));
  return { nat: make(chains.nat), filter: make(chains.filter) };
}

Deno.test("firewall iptables: any tables become right in one write, and others' rules stay", () => {
  const { below: random } = randomSource(1);
  for (let round = 0; round < 3000; round++) {
    const tables = randomTables(random);
    const before = foreign(tables);
    const start = JSON.stringify([...tables.nat, ...tables.filter]);
    const input = restoreInput(planIptables(save(tables), RULES, NAMES, ABLE));
    restoreAll(tables, input);
    assert.deepEqual(
      planIptables(save(tables), RULES, NAMES, ABLE),
      [],
      `not settled from ${start} by\n${input}`,
    );
    assert.equal(foreign(tables), before, `others' rules changed from ${start} by\n${input}`);
    assert.equal(tables.filter.get("FLANNEL-FWD")!.length, 2);
    assert.equal(tables.nat.get("FLANNEL-POSTRTG")!.length, 7);
    const removal = restoreInput(planIptables(save(tables), { family: IPV4 }, NAMES, ABLE));
    restoreAll(tables, removal);
    assert.equal(JSON.stringify([...tables.nat, ...tables.filter]).includes("FLANNEL"), false, start);
    assert.equal(foreign(tables), before);
  }
});

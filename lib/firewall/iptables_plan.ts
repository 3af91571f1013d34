/**
 * What has to be written so that iptables holds a ruleset: a pure function of what it holds.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { containsPrefix, type Prefix } from "../net/prefix.ts";
import {
  formatJump,
  formatRule,
  type IptablesAbilities,
  isUnconditional,
  ruleComment,
  ruleOptions,
  rulePrefixes,
  ruleTarget,
  sameRule,
  type SavedTable,
} from "./iptables_text.ts";
import {
  DEFAULT_NETWORK_ID,
  type FirewallNames,
  firewallNames,
  FORWARD_COMMENT,
  isForwardChain,
  isMasqueradeChain,
  MASQUERADE_COMMENT,
} from "./names.ts";
import { type FamilyRuleset, multicast, type Rule } from "./rules.ts";

/** Docker's chain for other people's rules: Docker calls it before its own and never changes it. */
const DOCKER_USER = "DOCKER-USER";

/** The tables that hold rules of ours. */
export const TABLES = ["nat", "filter"] as const;

/** What iptables holds for one family. */
export type SavedTables = Readonly<Record<(typeof TABLES)[number], SavedTable>>;

/** One chain of ours: where it hangs and what it holds. */
interface ChainGoal {
  readonly family: Family;
  readonly chain: string;
  /** The built-in chain that jumps to it. */
  readonly base: "POSTROUTING" | "FORWARD";
  readonly comment: string;
  /** Undefined: the chain must not be there. */
  readonly rules: readonly Rule[] | undefined;
  readonly able: IptablesAbilities;
}

/**
 * The input for `iptables-restore --noflush` that makes the tables hold `rules`; empty when they do.
 *
 * Rules that are not ours are never touched. Ours are: the chains by name, jumps to them, and what old
 * releases of the original put straight into POSTROUTING and FORWARD, told by its comment and our network.
 */
export function planIptables(
  saved: SavedTables,
  rules: FamilyRuleset,
  names: FirewallNames,
  able: IptablesAbilities,
): string {
  const { family } = rules;
  const nat: ChainGoal = {
    family,
    chain: names.masqueradeChain,
    base: "POSTROUTING",
    comment: MASQUERADE_COMMENT,
    rules: rules.masquerade,
    able,
  };
  const filter: ChainGoal = {
    family,
    chain: names.forwardChain,
    base: "FORWARD",
    comment: FORWARD_COMMENT,
    rules: rules.forward,
    able,
  };
  const plain = firewallNames(DEFAULT_NETWORK_ID);
  return (
    section("nat", [...planChain(saved.nat, nat), ...planTakeover(saved.nat, nat, plain.masqueradeChain)]) +
    section("filter", [
      ...planChain(saved.filter, filter),
      ...planTakeover(saved.filter, filter, plain.forwardChain),
    ])
  );
}

/**
 * Whether packets between containers may be dropped by what the filter table holds besides our rules: by
 * FORWARD's policy (Docker sets it to DROP) or by rules that FORWARD or DOCKER-USER hold.
 */
export function mayCutForwarding(filter: SavedTable, family: Family): boolean {
  const policy = filter.policies.get("FORWARD");
  return (policy !== undefined && policy !== "ACCEPT") || filter.policies.has(DOCKER_USER) ||
    refuses(filter, family, "FORWARD", 0);
}

/** A table's part of iptables-restore's input. */
function section(table: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}

function planChain(saved: SavedTable, goal: ChainGoal): string[] {
  if (!goal.rules) return removeChain(saved, goal.chain);
  const bases = goal.base === "FORWARD" && saved.policies.has(DOCKER_USER)
    ? [goal.base, DOCKER_USER]
    : [goal.base];
  return [...fillChain(saved, goal, goal.rules), ...bases.flatMap((base) => placeJump(saved, goal, base))];
}

function fillChain(saved: SavedTable, goal: ChainGoal, rules: readonly Rule[]): string[] {
  const { chain, family } = goal;
  const wanted = rules.map((rule) => formatRule(rule, goal.comment, goal.able));
  const held = saved.rules.get(chain) ?? [];
  const same = saved.policies.has(chain) && held.length === wanted.length &&
    wanted.every((rule, i) => sameRule(rule, held[i]!, family));
  // Naming a chain empties it, within the same transaction as the filling.
  return same ? [] : [`:${chain} - [0:0]`, ...wanted.map((rule) => `-A ${chain} ${rule}`)];
}

/** Sees to one jump from `base` to our chain, at a place where it counts. */
function placeJump(saved: SavedTable, goal: ChainGoal, base: string): string[] {
  const held = saved.rules.get(base) ?? [];
  const wanted = formatJump(goal.chain, goal.comment, goal.able);
  const isOurs = (rule: string) => ruleTarget(rule) === goal.chain;
  const ours = held.filter(isOurs);
  const others = held.filter((rule) => !isOurs(rule));
  const first = others.findIndex((rule) => mustComeAfter(saved, goal.family, base, rule));
  const latest = first < 0 ? others.length : first;
  if (ours.length === 1 && sameRule(ours[0]!, wanted, goal.family) && held.indexOf(ours[0]!) <= latest) {
    return [];
  }
  const insert = latest === others.length ? `-A ${base} ${wanted}` : `-I ${base} ${latest + 1} ${wanted}`;
  return [...ours.map((rule) => `-D ${base} ${rule}`), insert];
}

/**
 * Whether our jump must stand before `rule` of chain `base`. Otherwise it stays where it is, or goes to the
 * end, as the original puts it: network policies and people's own exceptions come first and keep working.
 */
function mustComeAfter(saved: SavedTable, family: Family, base: string, rule: string): boolean {
  const target = ruleTarget(rule);
  if (target === undefined) return false;
  if (base === DOCKER_USER) return !isForwardChain(target);
  if (base === "POSTROUTING") {
    // It would masquerade packets between containers, or decide for all packets.
    return !isMasqueradeChain(target) &&
      (target === "MASQUERADE" || (isUnconditional(rule, family) && isVerdict(target)));
  }
  return isUnconditional(rule, family) && refuses(saved, family, target, 0);
}

function isVerdict(target: string): boolean {
  return ["ACCEPT", "DROP", "RETURN", "SNAT", "NETMAP"].includes(target);
}

/** Whether a packet that gets to `target` never comes back from it accepted: DROP, REJECT or a chain that ends so. */
function refuses(saved: SavedTable, family: Family, target: string, depth: number): boolean {
  if (target === "DROP" || target === "REJECT") return true;
  // The kernel refuses loops of chains; the bound is for tables that changed while they were read.
  if (isForwardChain(target) || depth > 16) return false;
  for (const rule of saved.rules.get(target) ?? []) {
    if (!isUnconditional(rule, family)) continue;
    const next = ruleTarget(rule);
    if (next === "ACCEPT" || next === "RETURN") return false;
    if (next !== undefined && refuses(saved, family, next, depth + 1)) return true;
  }
  return false;
}

function removeChain(saved: SavedTable, chain: string): string[] {
  const jumps: string[] = [];
  for (const [from, rules] of saved.rules) {
    if (from === chain) continue;
    for (const rule of rules) if (ruleTarget(rule) === chain) jumps.push(`-D ${from} ${rule}`);
  }
  return saved.policies.has(chain) ? [...jumps, `-F ${chain}`, `-X ${chain}`] : jumps;
}

/**
 * Removes what the original left for the same network under other names: rules straight in the base chain
 * (before its release 0.20), and its chain where this network's chain has a name of its own.
 */
function planTakeover(saved: SavedTable, goal: ChainGoal, plainChain: string): string[] {
  if (!goal.rules) return [];
  const stale = (saved.rules.get(goal.base) ?? []).filter((rule) => isLeftover(rule, goal, goal.rules!));
  const lines = stale.map((rule) => `-D ${goal.base} ${rule}`);
  if (goal.chain !== plainChain && holdsOnly(saved.rules.get(plainChain) ?? [], goal, goal.rules)) {
    lines.push(...removeChain(saved, plainChain));
  }
  return lines;
}

function isLeftover(rule: string, goal: ChainGoal, rules: readonly Rule[]): boolean {
  if (ruleComment(rule) !== goal.comment) return false;
  const target = ruleTarget(rule) ?? "";
  if (isForwardChain(target) || isMasqueradeChain(target)) return false;
  const networks = networksOf(goal.family, rules);
  return rulePrefixes(rule, goal.family).some((prefix) =>
    networks.some((network) => containsPrefix(network, prefix))
  );
}

/** Whether `held` is a ruleset of this very network: nothing in it that isn't among `rules`. */
function holdsOnly(held: readonly string[], goal: ChainGoal, rules: readonly Rule[]): boolean {
  const { family } = goal;
  const key = (rule: string) =>
    ruleOptions(rule, family).filter((option) => option !== "--random-fully").join("\n");
  const ours = new Set(rules.map((rule) => key(formatRule(rule, goal.comment, goal.able))));
  return held.some((rule) => rulePrefixes(rule, family).length > 0) &&
    held.every((rule) => ours.has(key(rule)));
}

/** The network that the rules are about. Rules that return may name other people's prefixes. */
function networksOf(family: Family, rules: readonly Rule[]): Prefix[] {
  const all = multicast(family);
  return rules.filter((rule) => rule.action !== "return")
    .flatMap((rule) => [rule.source, rule.destination])
    .filter((match) => match !== undefined)
    .map((match) => match.prefix)
    .filter((prefix) => !containsPrefix(all, prefix));
}

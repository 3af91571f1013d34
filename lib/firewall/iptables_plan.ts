/**
 * What has to be written so that iptables holds a ruleset: a pure function of what it holds.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { containsPrefix, type Prefix } from "../net/prefix.ts";
import type { PlannedChange } from "./change.ts";
import { DOCKER_USER, jumpRange, refuses } from "./iptables_place.ts";
import {
  formatJump,
  formatRule,
  type IptablesAbilities,
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

/** The tables that hold rules of ours. */
export const TABLES = ["nat", "filter"] as const;

/** A table that holds rules of ours. */
export type TableName = (typeof TABLES)[number];

/** What iptables holds for one family. A table that can't be read is left out, and nothing is written into it. */
export type SavedTables = Readonly<Partial<Record<TableName, SavedTable>>>;

/** A change of one table. */
export interface IptablesChange extends PlannedChange {
  readonly table: TableName;
}

/** One chain of ours: where it hangs and what it holds. */
interface ChainGoal {
  readonly table: TableName;
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
 * What has to change so that the tables hold `rules`; empty when they do.
 *
 * Rules that are not ours are never touched. Ours are: the chains by name, jumps to them, and what old
 * releases of the original put straight into POSTROUTING and FORWARD, recognized by its comment and our network.
 */
export function planIptables(
  saved: SavedTables,
  rules: FamilyRuleset,
  names: FirewallNames,
  able: IptablesAbilities,
): IptablesChange[] {
  const { family } = rules;
  const plain = firewallNames(DEFAULT_NETWORK_ID);
  const nat: ChainGoal = {
    table: "nat",
    family,
    chain: names.masqueradeChain,
    base: "POSTROUTING",
    comment: MASQUERADE_COMMENT,
    rules: rules.masquerade,
    able,
  };
  const filter: ChainGoal = {
    table: "filter",
    family,
    chain: names.forwardChain,
    base: "FORWARD",
    comment: FORWARD_COMMENT,
    rules: rules.forward,
    able,
  };
  return [
    ...(saved.nat ? planTable(saved.nat, nat, plain.masqueradeChain) : []),
    ...(saved.filter ? planTable(saved.filter, filter, plain.forwardChain) : []),
  ];
}

/** The input for `iptables-restore --noflush` that makes the changes; empty for none. */
export function restoreInput(changes: readonly IptablesChange[]): string {
  return TABLES.map((table) => {
    const lines = changes.filter((change) => change.table === table).flatMap((change) => change.lines);
    return lines.length === 0 ? "" : `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
  }).join("");
}

/** Chains of ours and jumps to them that the tables hold, as {@link PlannedChange} calls them. */
export function ownParts(saved: SavedTables, names: FirewallNames): ReadonlySet<string> {
  const parts = new Set<string>();
  for (const [table, chain] of [["nat", names.masqueradeChain], ["filter", names.forwardChain]] as const) {
    if (saved[table]?.policies.has(chain)) parts.add(chainPart(chain));
    for (const [base, rules] of saved[table]?.rules ?? []) {
      if (rules.some((rule) => ruleTarget(rule) === chain)) parts.add(jumpPart(chain, base));
    }
  }
  return parts;
}

/** Names of the parts, the same for iptables and nft. */
export const chainPart = (chain: string) => `chain ${chain}`;
export const jumpPart = (chain: string, base: string) => `jump to ${chain} in ${base}`;

/**
 * Whether packets between containers may be dropped by what the filter table holds besides our rules: by
 * FORWARD's policy (Docker sets it to DROP) or by rules that FORWARD or DOCKER-USER hold.
 */
export function mayCutForwarding(filter: SavedTable, family: Family): boolean {
  const policy = filter.policies.get("FORWARD");
  return (policy !== undefined && policy !== "ACCEPT") || filter.policies.has(DOCKER_USER) ||
    refuses(filter, family, "FORWARD");
}

function planTable(saved: SavedTable, goal: ChainGoal, plainChain: string): IptablesChange[] {
  if (!goal.rules) return removeChain(saved, goal.table, goal.chain);
  const bases = goal.base === "FORWARD" && saved.policies.has(DOCKER_USER)
    ? [goal.base, DOCKER_USER]
    : [goal.base];
  return [
    ...fillChain(saved, goal, goal.rules),
    ...bases.flatMap((base) => placeJump(saved, goal, base)),
    ...planTakeover(saved, goal, goal.rules, plainChain),
  ];
}

function fillChain(saved: SavedTable, goal: ChainGoal, rules: readonly Rule[]): IptablesChange[] {
  const { table, chain, family } = goal;
  const isThere = saved.policies.has(chain);
  const wanted = rules.map((rule) => formatRule(rule, goal.comment, goal.able));
  const held = saved.rules.get(chain) ?? [];
  const same = isThere && held.length === wanted.length &&
    wanted.every((rule, i) => sameRule(rule, held[i]!, family));
  if (same) return [];
  return [{
    table,
    what: chainPart(chain),
    state: isThere ? "changed" : "missing",
    // Naming a chain empties it, within the same transaction as the filling.
    lines: [`:${chain} - [0:0]`, ...wanted.map((rule) => `-A ${chain} ${rule}`)],
  }];
}

/** Sees to one jump from `base` to our chain, at a place where it counts. */
function placeJump(saved: SavedTable, goal: ChainGoal, base: string): IptablesChange[] {
  const held = saved.rules.get(base) ?? [];
  const wanted = formatJump(goal.chain, goal.comment, goal.able);
  const isOurs = (rule: string) => ruleTarget(rule) === goal.chain;
  const ours = held.filter(isOurs);
  const others = held.filter((rule) => !isOurs(rule));
  const { earliest, latest } = jumpRange(saved, goal.family, base, others);
  const isOne = ours.length === 1 && sameRule(ours[0]!, wanted, goal.family);
  const at = isOne ? held.indexOf(ours[0]!) : -1;
  if (isOne && at >= earliest && at <= latest) return [];
  const insert = latest === others.length ? `-A ${base} ${wanted}` : `-I ${base} ${latest + 1} ${wanted}`;
  return [{
    table: goal.table,
    what: jumpPart(goal.chain, base),
    state: isOne ? "misplaced" : ours.length === 0 ? "missing" : "changed",
    lines: [...ours.map((rule) => `-D ${base} ${rule}`), insert],
  }];
}

function removeChain(saved: SavedTable, table: TableName, chain: string): IptablesChange[] {
  const lines: string[] = [];
  for (const [from, rules] of saved.rules) {
    if (from === chain) continue;
    for (const rule of rules) if (ruleTarget(rule) === chain) lines.push(`-D ${from} ${rule}`);
  }
  if (saved.policies.has(chain)) lines.push(`-F ${chain}`, `-X ${chain}`);
  return lines.length === 0 ? [] : [{ table, what: chainPart(chain), state: "unwanted", lines }];
}

/**
 * Removes what the original left for the same network under other names: rules straight in the base chain
 * (before its release 0.20), and its chain where this network's chain has a name of its own.
 */
function planTakeover(
  saved: SavedTable,
  goal: ChainGoal,
  rules: readonly Rule[],
  plainChain: string,
): IptablesChange[] {
  const { table, base, chain } = goal;
  const stale = (saved.rules.get(base) ?? []).filter((rule) => isLeftover(rule, goal, rules));
  const changes: IptablesChange[] = stale.length === 0 ? [] : [{
    table,
    what: `rules of an earlier flanneld in ${base}`,
    state: "unwanted",
    lines: stale.map((rule) => `-D ${base} ${rule}`),
  }];
  if (chain !== plainChain && holdsOnly(saved.rules.get(plainChain) ?? [], goal, rules)) {
    changes.push(...removeChain(saved, table, plainChain));
  }
  return changes;
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

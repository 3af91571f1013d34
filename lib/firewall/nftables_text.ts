/**
 * Rules as `nft -f` reads them and `nft -j list table` prints them.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { tryParseIp } from "../net/ip.ts";
import { formatPrefix, prefixOf } from "../net/prefix.ts";
import { FORWARD_COMMENT, MASQUERADE_COMMENT } from "./names.ts";
import { type NftObject, objectOf, parseListing } from "./nft_json.ts";
import type { FamilyRuleset, PrefixMatch, Rule } from "./rules.ts";

/** One chain of our tables: how it hangs in the kernel and what it holds. */
interface ChainGoal {
  readonly name: string;
  readonly type: "nat" | "filter";
  readonly hook: "postrouting" | "forward";
  /** As nft names it, and its number (linux/netfilter_ipv4.h). */
  readonly priority: { readonly name: string; readonly value: number };
  readonly comment: string;
  readonly rules: readonly Rule[];
}

/** nft's name of a family's tables and address fields. */
export function nftFamily(family: Family): "ip" | "ip6" {
  return family.version === 4 ? "ip" : "ip6";
}

function chainGoals(rules: FamilyRuleset): ChainGoal[] {
  const goals: ChainGoal[] = [];
  if (rules.masquerade) {
    goals.push({
      name: "postrtg",
      type: "nat",
      hook: "postrouting",
      priority: { name: "srcnat", value: 100 },
      comment: MASQUERADE_COMMENT,
      rules: rules.masquerade,
    });
  }
  if (rules.forward) {
    goals.push({
      name: "forward",
      type: "filter",
      hook: "forward",
      priority: { name: "filter", value: 0 },
      comment: FORWARD_COMMENT,
      rules: rules.forward,
    });
  }
  return goals;
}

/** Commands that put the table in the place of whatever stands there, as a part of one transaction. */
export function tableScript(table: string, rules: FamilyRuleset, fullyRandom: boolean): string {
  const name = `${nftFamily(rules.family)} ${table}`;
  const lines = [removeScript(rules.family, table)];
  const goals = chainGoals(rules);
  if (goals.length > 0) lines.push(`add table ${name}`);
  for (const goal of goals) {
    const chain = `${name} ${goal.name}`;
    lines.push(
      `add chain ${chain} { type ${goal.type} hook ${goal.hook} priority ${goal.priority.name}; policy accept; }`,
      ...goal.rules.map((rule) =>
        `add rule ${chain} ${formatNftRule(rule, goal, rules.family, fullyRandom)}`
      ),
    );
  }
  return lines.join("\n") + "\n";
}

/** Commands that remove the table, whether it is there or not. */
export function removeScript(family: Family, table: string): string {
  const name = `${nftFamily(family)} ${table}`;
  // Adding first makes deleting one that isn't there no error (`destroy` came with nftables 1.0.7).
  return `add table ${name}\ndelete table ${name}`;
}

function formatNftRule(rule: Rule, goal: ChainGoal, family: Family, fullyRandom: boolean): string {
  const mark = rule.mark === undefined ? undefined : `0x${rule.mark.toString(16)}`;
  const match = (field: string, { prefix, negated }: PrefixMatch) =>
    `${nftFamily(family)} ${field} ${negated ? "!= " : ""}${formatPrefix(prefix)}`;
  return [
    ...(mark ? [`meta mark & ${mark} == ${mark}`] : []),
    ...(rule.source ? [match("saddr", rule.source)] : []),
    ...(rule.destination ? [match("daddr", rule.destination)] : []),
    rule.action === "masquerade" && fullyRandom ? "masquerade fully-random" : rule.action,
    `comment "${goal.comment}"`,
  ].join(" ");
}

/**
 * Whether the table that nft printed is the one that {@link tableScript} makes: nothing missing, nothing else
 * in it.
 *
 * @param listing What `nft -j list table` printed; undefined if there is no such table.
 */
export function tableHolds(listing: string | undefined, rules: FamilyRuleset, fullyRandom: boolean): boolean {
  const goals = chainGoals(rules);
  if (listing === undefined || goals.length === 0) return listing === undefined && goals.length === 0;
  const wanted = goals.flatMap((goal) => [
    chainKey(goal.name, goal.type, goal.hook, goal.priority.value, "accept"),
    ...goal.rules.map((rule, i) => `${goal.name} ${i}: ${ruleKey(rule, fullyRandom)} (${goal.comment})`),
  ]);
  const held = tableKeys(listing, rules.family);
  return held.length === wanted.length && held.toSorted().join("\n") === wanted.toSorted().join("\n");
}

const chainKey = (...parts: unknown[]) => `chain ${parts.join(" ")}`;

function ruleKey(rule: Rule, fullyRandom: boolean): string {
  const match = (name: string, value: PrefixMatch | undefined) =>
    value ? `${name} ${value.negated ? "!=" : "=="} ${formatPrefix(value.prefix)} ` : "";
  const random = rule.action === "masquerade" && fullyRandom ? " random" : "";
  const conditions = `mark ${rule.mark} ${match("s", rule.source)}${match("d", rule.destination)}`;
  return `${conditions}${rule.action}${random}`;
}

/** Everything in a printed table, a line each, in words that {@link tableHolds} also has for its goals. */
function tableKeys(listing: string, family: Family): string[] {
  const keys: string[] = [];
  const places = new Map<string, number>();
  for (const item of parseListing(listing)) {
    if (item.metainfo) continue;
    if (item.table) {
      // A dormant table is not looked at by the kernel.
      if (item.table.flags !== undefined) keys.push(`flags ${JSON.stringify(item.table.flags)}`);
    } else if (item.chain) {
      const { name, type, hook, prio, policy } = item.chain;
      keys.push(chainKey(name, type, hook, prio, policy));
    } else if (item.rule) {
      const chain = String(item.rule.chain);
      const place = places.get(chain) ?? 0;
      places.set(chain, place + 1);
      keys.push(`${chain} ${place}: ${readRule(item.rule, family)}`);
    } else {
      keys.push(`other ${JSON.stringify(item)}`);
    }
  }
  return keys;
}

/** A rule that is being read. */
type RuleDraft = { -readonly [name in keyof Rule]?: Rule[name] };

/** The key of a printed rule; one that holds anything we never write gets a key that nothing equals. */
function readRule(rule: NftObject, family: Family): string {
  const conditions = ruleConditions(rule.expr as NftObject[], family);
  return conditions === undefined
    ? `strange ${JSON.stringify(rule.expr)}`
    : `${conditions} (${rule.comment as string | undefined})`;
}

/** What printed expressions match and do, in words; undefined if there is anything that we never write. */
export function ruleConditions(expr: readonly NftObject[], family: Family): string | undefined {
  const found: RuleDraft = {};
  let random = false;
  for (const expression of expr) {
    const name = Object.keys(expression)[0];
    if (found.action) return undefined;
    if (name === "match") {
      if (!readMatch(objectOf(expression.match), family, found)) return undefined;
    } else if (name === "return" || name === "accept") {
      found.action = name;
    } else if (name === "masquerade") {
      const flags = [objectOf(expression.masquerade).flags ?? []].flat();
      random = flags.length === 1 && flags[0] === "fully-random";
      if (flags.length > 0 && !random) return undefined;
      found.action = name;
    } else {
      return undefined;
    }
  }
  const { action } = found;
  return action && ruleKey({ ...found, action }, random);
}

/** Adds a printed match to `found`. @returns Whether it is one of those that we write. */
function readMatch(
  match: NftObject,
  family: Family,
  found: RuleDraft,
): boolean {
  const left = objectOf(match.left);
  if (Array.isArray(left["&"])) {
    const [value, mask] = left["&"] as unknown[];
    const isMark = objectOf(objectOf(value).meta).key === "mark";
    if (!isMark || match.op !== "==" || mask !== match.right || typeof mask !== "number") return false;
    if (found.mark !== undefined) return false;
    found.mark = mask;
    return true;
  }
  const payload = objectOf(left.payload);
  const value = readPrefixMatch(match, family);
  if (payload.protocol !== nftFamily(family) || !value) return false;
  const side = payload.field === "saddr" ? "source" : payload.field === "daddr" ? "destination" : undefined;
  if (!side || found[side]) return false;
  found[side] = value;
  return true;
}

function readPrefixMatch(match: NftObject, family: Family): PrefixMatch | undefined {
  const { right } = match;
  const { addr, len } = typeof right === "string"
    ? { addr: right, len: family.bits }
    : objectOf(objectOf(right).prefix);
  const ip = tryParseIp(String(addr));
  const isLength = typeof len === "number" && Number.isInteger(len) && len >= 0 && len <= family.bits;
  if (ip?.family !== family || !isLength) return undefined;
  if (match.op !== "==" && match.op !== "!=") return undefined;
  return { prefix: prefixOf(ip, len), negated: match.op === "!=" };
}

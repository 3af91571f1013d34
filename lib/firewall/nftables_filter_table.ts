/**
 * Forward rules in iptables' own filter table, for hosts that have nft and no iptables program: Docker may have
 * set FORWARD's policy to DROP there, and an accept in a table of ours doesn't undo that.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { PlannedChange } from "./change.ts";
import { DOCKER_USER } from "./iptables_place.ts";
import { chainPart, jumpPart } from "./iptables_plan.ts";
import { isForwardChain } from "./names.ts";
import { type NftObject, objectOf, parseListing } from "./nft_json.ts";
import { nftFamily, ruleConditions } from "./nftables_text.ts";
import type { Rule } from "./rules.ts";

const TABLE = "filter";

/** A rule of the table as nft printed it. */
interface PrintedRule {
  readonly handle: number;
  readonly expr: readonly NftObject[];
}

/** The filter table: chains by name, each with its rules in order. */
type FilterTable = ReadonlyMap<string, { readonly chain: NftObject; readonly rules: PrintedRule[] }>;

function parseFilterTable(listing: string | undefined): FilterTable {
  const table = new Map<string, { chain: NftObject; rules: PrintedRule[] }>();
  if (listing === undefined) return table;
  for (const { chain, rule } of parseListing(listing)) {
    if (chain) table.set(String(chain.name), { chain, rules: [] });
    // Without its handle a rule can't be named: it is as if it weren't there.
    const isRule = Number.isInteger(rule?.handle);
    if (isRule) table.get(String(rule!.chain))?.rules.push(rule as unknown as PrintedRule);
  }
  return table;
}

/**
 * What has to change, in one transaction, so that iptables' filter table lets our networks through; empty where it
 * does or doesn't have to. What isn't needed any more is taken away.
 *
 * @param listing What `nft -j list table ip filter` (ip6) printed; undefined if there is no such table.
 * @param forward The rules to have; undefined for none.
 * @param target Name of our chain.
 */
export function planFilterTable(
  listing: string | undefined,
  family: Family,
  forward: readonly Rule[] | undefined,
  target: string,
): PlannedChange[] {
  const table = parseFilterTable(listing);
  const base = table.get("FORWARD");
  const needed = base?.chain.policy === "drop" || (base && table.has(DOCKER_USER));
  if (!forward || !needed) return removeChain(table, family, target);
  return [
    ...fillChain(table, family, forward, target),
    ...placeJump(table, family, "FORWARD", target),
    ...(table.has(DOCKER_USER) ? placeJump(table, family, DOCKER_USER, target) : []),
  ];
}

/** The chain of ours and the jumps to it that the table holds, as {@link PlannedChange} calls them. */
export function filterTableParts(listing: string | undefined, target: string): ReadonlySet<string> {
  const parts = new Set<string>();
  for (const [chain, { rules }] of parseFilterTable(listing)) {
    if (chain === target) parts.add(chainPart(chain));
    if (rules.some((rule) => jumpTarget(rule) === target)) parts.add(jumpPart(target, chain));
  }
  return parts;
}

function fillChain(
  table: FilterTable,
  family: Family,
  rules: readonly Rule[],
  target: string,
): PlannedChange[] {
  const held = table.get(target)?.rules;
  const wanted = rules.map((rule) => conditionsOf(rule, family));
  const same = held?.length === wanted.length &&
    held.every((rule, i) => ruleConditions(essence(rule.expr), family) === wanted[i]);
  if (same) return [];
  const name = `${nftFamily(family)} ${TABLE} ${target}`;
  return [{
    what: chainPart(target),
    state: held ? "changed" : "missing",
    lines: [
      `add chain ${name}`,
      `flush chain ${name}`,
      ...rules.map((rule) => `add rule ${name} ${formatForward(rule, family)} counter accept`),
    ],
  }];
}

function formatForward({ source, destination }: Rule, family: Family): string {
  const [field, match] = source ? ["saddr", source] : ["daddr", destination!];
  return `${nftFamily(family)} ${field} ${formatPrefix(match!.prefix)}`;
}

function conditionsOf({ source, destination }: Rule, family: Family): string | undefined {
  const [field, match] = source ? ["saddr", source] : ["daddr", destination!];
  const { prefix } = match!;
  const [addr, length] = formatPrefix(prefix).split("/");
  const right = Number(length) === family.bits ? addr! : { prefix: { addr, len: prefix.length } };
  const left = { payload: { protocol: nftFamily(family), field } };
  return ruleConditions([{ match: { op: "==", left, right } }, { accept: null }], family);
}

/** What a rule says without its counter and comment: iptables gives every rule a counter. */
function essence(expr: readonly NftObject[]): NftObject[] {
  return expr.filter((expression) => !("counter" in expression) && !isComment(expression));
}

/** A comment of iptables is a match of its own; before nft 1.0.7 all such matches are printed without a name. */
function isComment(expression: NftObject): boolean {
  if (!("xt" in expression)) return false;
  return expression.xt === null || objectOf(expression.xt).name === "comment";
}

/** Sees to one jump: in DOCKER-USER as {@link jumpRange} has it, elsewhere anywhere. */
function placeJump(table: FilterTable, family: Family, chain: string, target: string): PlannedChange[] {
  const { rules } = table.get(chain)!;
  const ours = rules.filter((rule) => jumpTarget(rule) === target);
  const others = rules.filter((rule) => !ours.includes(rule));
  const isDockerUser = chain === DOCKER_USER;
  const latest = isDockerUser ? endOf(others) : others.length;
  let earliest = isDockerUser ? latest : 0;
  while (earliest > 0 && isForwardChain(jumpTarget(others[earliest - 1]!) ?? "")) earliest--;
  const at = ours.length === 1 ? rules.indexOf(ours[0]!) : -1;
  if (at >= earliest && at <= latest) return [];
  const name = `${nftFamily(family)} ${TABLE} ${chain}`;
  const behind = others[latest];
  const verb = behind ? `insert rule ${name} handle ${behind.handle}` : `add rule ${name}`;
  return [{
    what: jumpPart(target, chain),
    state: ours.length === 0 ? "missing" : ours.length === 1 ? "misplaced" : "changed",
    lines: [
      ...ours.map(({ handle }) => `delete rule ${name} handle ${handle}`),
      `${verb} counter jump ${target}`,
    ],
  }];
}

/** Where the chain ends: at the first rule that lets no packet go on, or behind the last rule. */
function endOf(rules: readonly PrintedRule[]): number {
  const end = rules.findIndex(({ expr }) => isVerdict(expr.filter((one) => !isNamedComment(one))));
  if (end >= 0) return end;
  // A match that nft can't name may be a comment: a RETURN that comes last is taken as unconditional.
  const last = rules.at(-1);
  const isReturn = last !== undefined && isVerdict(essence(last.expr)) && "return" in essence(last.expr)[0]!;
  return isReturn ? rules.length - 1 : rules.length;
}

function isVerdict(expr: readonly NftObject[]): boolean {
  const [only, ...more] = expr.filter((expression) => !("counter" in expression));
  return more.length === 0 && only !== undefined &&
    ["accept", "drop", "reject", "return"].some((verdict) => verdict in only);
}

function isNamedComment(expression: NftObject): boolean {
  return objectOf(expression.xt).name === "comment";
}

function removeChain(table: FilterTable, family: Family, target: string): PlannedChange[] {
  if (!table.has(target)) return [];
  const name = `${nftFamily(family)} ${TABLE}`;
  const lines: string[] = [];
  for (const [chain, { rules }] of table) {
    for (const rule of rules) {
      if (jumpTarget(rule) === target) lines.push(`delete rule ${name} ${chain} handle ${rule.handle}`);
    }
  }
  lines.push(`flush chain ${name} ${target}`, `delete chain ${name} ${target}`);
  return [{ what: chainPart(target), state: "unwanted", lines }];
}

/** The chain that an unconditional jump leads to. */
function jumpTarget(rule: PrintedRule): string | undefined {
  const [only, ...more] = essence(rule.expr);
  const jump = only?.jump ?? only?.goto;
  return more.length === 0 && jump ? String(objectOf(jump).target) : undefined;
}

/**
 * Forward rules in iptables' own filter table, for hosts that have nft and no iptables program: Docker may have
 * set FORWARD's policy to DROP there, and an accept in a table of ours doesn't undo that.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import { isForwardChain } from "./names.ts";
import { nftFamily, type NftObject, parseListing, ruleConditions } from "./nftables_text.ts";
import type { Rule } from "./rules.ts";

const TABLE = "filter";
const DOCKER_USER = "DOCKER-USER";

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
    if (rule) table.get(String(rule.chain))?.rules.push(rule as unknown as PrintedRule);
  }
  return table;
}

/**
 * The commands, one transaction, that make iptables' filter table let our networks through; empty where it
 * does or doesn't have to. What isn't needed any more is taken away.
 *
 * @param listing What `nft -j list table ip filter` (ip6) printed; undefined if there is no such table.
 * @param forward The rules to have; undefined for none.
 * @param target Name of our chain.
 */
export function planBeside(
  listing: string | undefined,
  family: Family,
  forward: readonly Rule[] | undefined,
  target: string,
): string {
  const table = parseFilterTable(listing);
  const base = table.get("FORWARD");
  const needed = base?.chain.policy === "drop" || (base && table.has(DOCKER_USER));
  const lines = forward && needed
    ? [
      ...fillChain(table, family, forward, target),
      ...placeJump(table, family, "FORWARD", target, false),
      ...(table.has(DOCKER_USER) ? placeJump(table, family, DOCKER_USER, target, true) : []),
    ]
    : removeChain(table, family, target);
  return lines.length === 0 ? "" : lines.join("\n") + "\n";
}

function fillChain(table: FilterTable, family: Family, rules: readonly Rule[], target: string): string[] {
  const held = table.get(target)?.rules;
  const wanted = rules.map((rule) => conditionsOf(rule, family));
  const same = held?.length === wanted.length &&
    held.every((rule, i) => ruleConditions(essence(rule.expr), family) === wanted[i]);
  if (same) return [];
  const name = `${nftFamily(family)} ${TABLE} ${target}`;
  return [
    `add chain ${name}`,
    `flush chain ${name}`,
    ...rules.map((rule) => `add rule ${name} ${formatForward(rule, family)} counter accept`),
  ];
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
  const match = expression.xt as NftObject | null;
  return match === null || match.name === "comment";
}

function placeJump(
  table: FilterTable,
  family: Family,
  chain: string,
  target: string,
  first: boolean,
): string[] {
  const { rules } = table.get(chain)!;
  const ours = rules.filter((rule) => jumpTarget(rule) === target);
  const foreign = rules.findIndex((rule) => !isForwardChain(jumpTarget(rule) ?? ""));
  const isPlaced = ours.length === 1 && (!first || foreign < 0 || rules.indexOf(ours[0]!) < foreign);
  if (isPlaced) return [];
  const name = `${nftFamily(family)} ${TABLE} ${chain}`;
  return [
    ...ours.map(({ handle }) => `delete rule ${name} handle ${handle}`),
    `${first ? "insert" : "add"} rule ${name} counter jump ${target}`,
  ];
}

function removeChain(table: FilterTable, family: Family, target: string): string[] {
  if (!table.has(target)) return [];
  const name = `${nftFamily(family)} ${TABLE}`;
  const lines: string[] = [];
  for (const [chain, { rules }] of table) {
    for (const rule of rules) {
      if (jumpTarget(rule) === target) lines.push(`delete rule ${name} ${chain} handle ${rule.handle}`);
    }
  }
  return [...lines, `flush chain ${name} ${target}`, `delete chain ${name} ${target}`];
}

/** The chain that an unconditional jump leads to. */
function jumpTarget(rule: PrintedRule): string | undefined {
  const [only, ...more] = essence(rule.expr);
  const jump = (only?.jump ?? only?.goto) as NftObject | undefined;
  return more.length === 0 && jump ? String(jump.target) : undefined;
}

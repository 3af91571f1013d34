/**
 * Where the jump to a chain of ours stands among other programs' rules.
 *
 * It stays where it is, or goes to the end as the original puts it, so that network policies and people's own
 * exceptions come first. It moves only when a rule in front of it would defeat it.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { isUnconditional, ruleMark, ruleTarget, type SavedTable } from "./iptables_text.ts";
import { isForwardChain, isMasqueradeChain } from "./names.ts";
import { KUBE_PROXY_MARK } from "./rules.ts";

/** Docker's chain for other people's rules: Docker calls it before its own and never changes it. */
export const DOCKER_USER = "DOCKER-USER";

/** Chains that others made are walked this deep. The kernel refuses loops; tables may change while they are read. */
const MAX_DEPTH = 16;

const KUBE_MARK = `0x${KUBE_PROXY_MARK.toString(16)}`;
const HAS_KUBE_MARK = `--mark ${KUBE_MARK}/${KUBE_MARK}`;

/** Targets that end the walk through a chain. */
const VERDICTS = new Set(["ACCEPT", "DROP", "REJECT", "RETURN"]);

/** Targets that give a packet another source address, and with that end the walk through the nat table. */
const SOURCE_TRANSLATIONS = new Set(["MASQUERADE", "SNAT", "NETMAP"]);

/** The places that a jump may have, as indexes among the rules of others in its base chain. */
export interface JumpRange {
  /** It stands at or behind this index. */
  readonly earliest: number;
  /** It stands at or before this index; where it is missing, it goes here. */
  readonly latest: number;
}

/**
 * Where the jump from `base` may stand.
 *
 * @param others The rules of `base` without our jumps, in order.
 */
export function jumpRange(
  saved: SavedTable,
  family: Family,
  base: string,
  others: readonly string[],
): JumpRange {
  if (base === DOCKER_USER) return dockerUserRange(family, others);
  const first = others.findIndex((rule) =>
    base === "POSTROUTING" ? defeatsMasquerade(saved, family, rule) : defeatsAccept(saved, family, rule)
  );
  return { earliest: 0, latest: first < 0 ? others.length : first };
}

/** Whether a packet that gets to `target` never comes back from it accepted: DROP, REJECT or a chain that ends so. */
export function refuses(saved: SavedTable, family: Family, target: string, depth = 0): boolean {
  if (target === "DROP" || target === "REJECT") return true;
  if (isForwardChain(target) || depth > MAX_DEPTH) return false;
  for (const rule of saved.rules.get(target) ?? []) {
    if (!isUnconditional(rule, family)) continue;
    const next = ruleTarget(rule);
    if (next === "ACCEPT" || next === "RETURN") return false;
    if (next !== undefined && refuses(saved, family, next, depth + 1)) return true;
  }
  return false;
}

/**
 * An accept in DOCKER-USER lets packets past everything behind it, and what an administrator forbids stands
 * there: the jump comes last, right before the rule that ends the chain. Several networks' jumps stand side by
 * side in any order.
 */
function dockerUserRange(family: Family, others: readonly string[]): JumpRange {
  const end = others.findIndex((rule) =>
    isUnconditional(rule, family) && VERDICTS.has(ruleTarget(rule) ?? "")
  );
  const latest = end < 0 ? others.length : end;
  let earliest = latest;
  while (earliest > 0 && isForwardChain(ruleTarget(others[earliest - 1]!) ?? "")) earliest--;
  return { earliest, latest };
}

function defeatsAccept(saved: SavedTable, family: Family, rule: string): boolean {
  const target = ruleTarget(rule);
  return target !== undefined && isUnconditional(rule, family) && refuses(saved, family, target);
}

function defeatsMasquerade(saved: SavedTable, family: Family, rule: string): boolean {
  const target = ruleTarget(rule);
  if (target === undefined || isMasqueradeChain(target)) return false;
  if (VERDICTS.has(target)) return isUnconditional(rule, family);
  return translates(saved, family, rule, 0);
}

/** Whether the rule may give a packet another source address that our chain is to decide about. */
function translates(saved: SavedTable, family: Family, rule: string, depth: number): boolean {
  const target = ruleTarget(rule);
  // Our chain leaves packets with kube-proxy's mark alone, and so the order doesn't matter for these.
  if (target === undefined || isMasqueradeChain(target) || ruleMark(rule) === HAS_KUBE_MARK) return false;
  if (SOURCE_TRANSLATIONS.has(target)) return true;
  if (depth > MAX_DEPTH) return false;
  for (const inner of saved.rules.get(target) ?? []) {
    if (VERDICTS.has(ruleTarget(inner) ?? "") && takesUnmarked(inner, family)) return false;
    if (translates(saved, family, inner, depth + 1)) return true;
  }
  return false;
}

/** Whether the rule takes every packet that doesn't have kube-proxy's mark. */
function takesUnmarked(rule: string, family: Family): boolean {
  if (ruleMark(rule) !== `! ${HAS_KUBE_MARK}`) return isUnconditional(rule, family);
  return isUnconditional(rule.replace(`-m mark ! ${HAS_KUBE_MARK}`, ""), family);
}

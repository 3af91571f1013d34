/**
 * Rules as iptables-save prints them and iptables-restore reads them.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { tryParseIp } from "../net/ip.ts";
import { formatPrefix, type Prefix, prefixOf } from "../net/prefix.ts";
import type { PrefixMatch, Rule } from "./rules.ts";

/** What this host's iptables can do beyond the basics. */
export interface IptablesAbilities {
  /** The comment match (kernel module xt_comment). */
  readonly comment: boolean;
  /** `MASQUERADE --random-fully` (iptables 1.6.2, Linux 3.14). */
  readonly fullyRandom: boolean;
}

/** One table as iptables-save printed it. */
export interface SavedTable {
  /** Every chain with its policy; `-` for chains that users made. */
  readonly policies: ReadonlyMap<string, string>;
  /** Each chain's rules in order, without `-A CHAIN`. */
  readonly rules: ReadonlyMap<string, readonly string[]>;
}

/** Parses the part about `table` of what iptables-save prints. A table that isn't there is an empty one. */
export function parseSavedTable(text: string, table: string): SavedTable {
  const policies = new Map<string, string>();
  const rules = new Map<string, string[]>();
  let inside = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) inside = line === `*${table}`;
    if (!inside) continue;
    if (line.startsWith(":")) {
      const [chain = "", policy = "-"] = line.slice(1).split(" ");
      policies.set(chain, policy);
    } else if (line.startsWith("-A ")) {
      const space = line.indexOf(" ", 3);
      const chain = space < 0 ? line.slice(3) : line.slice(3, space);
      const list = rules.get(chain) ?? [];
      list.push(space < 0 ? "" : line.slice(space + 1));
      rules.set(chain, list);
    }
  }
  return { policies, rules };
}

/**
 * Whether iptables-save says that it can't show `table`. iptables-nft does so, and exits with 0, where nft has
 * put something into a table of iptables' that iptables has no words for.
 */
export function isIncompatible(text: string, table: string): boolean {
  return text.includes(`# Table \`${table}' is incompatible`);
}

/** A rule's text after `-A CHAIN`, in the order in which iptables-save prints it. */
export function formatRule(rule: Rule, comment: string, able: IptablesAbilities): string {
  const mark = rule.mark === undefined ? undefined : `0x${rule.mark.toString(16)}`;
  return [
    ...formatMatch("-s", rule.source),
    ...formatMatch("-d", rule.destination),
    ...(mark ? ["-m", "mark", "--mark", `${mark}/${mark}`] : []),
    ...formatComment(comment, able),
    "-j",
    rule.action.toUpperCase(),
    ...(rule.action === "masquerade" && able.fullyRandom ? ["--random-fully"] : []),
  ].join(" ");
}

/** A jump's text after `-A CHAIN`. */
export function formatJump(target: string, comment: string, able: IptablesAbilities): string {
  return [...formatComment(comment, able), "-j", target].join(" ");
}

function formatMatch(option: string, match: PrefixMatch | undefined): string[] {
  if (!match) return [];
  return [...(match.negated ? ["!"] : []), option, formatPrefix(match.prefix)];
}

function formatComment(comment: string, able: IptablesAbilities): string[] {
  return able.comment ? ["-m", "comment", "--comment", `"${comment}"`] : [];
}

/**
 * A rule's options, each with its arguments: what is left when order, quotes, leading zeros and other
 * matters of taste are taken away.
 */
export function ruleOptions(rule: string, family: Family): string[] {
  const options: string[] = [];
  let current: string[] = [];
  const finish = () => {
    const option = normalOption(current, family);
    if (option !== undefined) options.push(option);
    current = [];
  };
  for (const word of splitWords(rule)) {
    const starts = word.text === "!" || (!word.quoted && word.text.startsWith("-"));
    if (starts && !(current.length === 1 && current[0] === "!")) finish();
    current.push(word.text);
  }
  finish();
  return options.sort();
}

/** Whether two rules say the same. */
export function sameRule(a: string, b: string, family: Family): boolean {
  return a === b || ruleOptions(a, family).join("\n") === ruleOptions(b, family).join("\n");
}

/** The rule's target: an action or a chain; undefined for a rule that only counts. */
export function ruleTarget(rule: string): string | undefined {
  return /(?:^|\s)-[jg] (\S+)/.exec(withoutComments(rule))?.[1];
}

/** The rule's comment. */
export function ruleComment(rule: string): string | undefined {
  const words = splitWords(rule);
  const at = words.findIndex((word) => !word.quoted && word.text === "--comment");
  return at < 0 ? undefined : words[at + 1]?.text;
}

/** The prefixes that the rule names with -s and -d. */
export function rulePrefixes(rule: string, family: Family): Prefix[] {
  const matches = withoutComments(rule).matchAll(/(?:^|\s)-[sd] (\S+)/g);
  return [...matches].flatMap((match) => readPrefix(match[1]!, family) ?? []);
}

/** Whether the rule takes every packet. What follows the target are the target's own options, no conditions. */
export function isUnconditional(rule: string, family: Family): boolean {
  return ruleConditions(rule, family).every((option) => option.startsWith("--comment"));
}

/** The options that a packet must fulfil, as {@link ruleOptions} has them. */
export function ruleConditions(rule: string, family: Family): string[] {
  return ruleOptions(withoutComments(rule).split(/(?:^|\s)-[jg] /, 1)[0]!, family);
}

/** What the rule says of a packet's mark, as `--mark 0x4000/0x4000` or `! --mark 0x4000/0x4000`. */
export function ruleMark(rule: string): string | undefined {
  return /(?:^|\s)((?:! )?--mark \S+)/.exec(withoutComments(rule))?.[1];
}

/** Undefined for what says nothing: modules that do nothing without their options, and matches of everything. */
function normalOption(words: readonly string[], family: Family): string | undefined {
  const negated = words[0] === "!";
  const [name, ...values] = negated ? words.slice(1) : words;
  if (name === undefined) return undefined;
  if (name === "-m" && (values[0] === "comment" || values[0] === "mark")) return undefined;
  if (name === "-s" || name === "-d") {
    const prefix = readPrefix(values[0] ?? "", family);
    if (prefix?.length === 0 && !negated) return undefined;
    if (prefix) values[0] = formatPrefix(prefix);
  }
  return [negated ? `! ${name}` : name, ...values].join(" ");
}

function readPrefix(text: string, family: Family): Prefix | undefined {
  const [address = "", length] = text.split("/");
  const ip = tryParseIp(address);
  if (ip?.family !== family) return undefined;
  const bits = length === undefined ? family.bits : Number(length);
  return Number.isInteger(bits) && bits >= 0 && bits <= family.bits ? prefixOf(ip, bits) : undefined;
}

function withoutComments(rule: string): string {
  return rule.includes('"') ? rule.replace(/"(?:[^"\\]|\\.)*"/g, '""') : rule;
}

interface Word {
  readonly text: string;
  readonly quoted: boolean;
}

/** Splits at spaces; double quotes keep words together, a backslash keeps the next character as it is. */
function splitWords(text: string): Word[] {
  const words: Word[] = [];
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"|\S+/g)) {
    const inner = match[1];
    if (inner === undefined) words.push({ text: match[0], quoted: false });
    else words.push({ text: inner.replace(/\\(.)/g, "$1"), quoted: true });
  }
  return words;
}

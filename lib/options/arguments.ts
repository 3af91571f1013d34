/**
 * The command line's arguments → its words and its options, each as text.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import { findCommand, type Word } from "./command_words.ts";
import { COMMAND_OPTIONS, type CommandName, ownOptions } from "./commands.ts";
import { isFlag, type OptionTable } from "./spec.ts";
import { UsageError } from "./usage_error.ts";

/** Short for `-help`, as in Go. */
const ALIASES: Readonly<Record<string, string>> = { h: "help" };

/** An option as it stands on the command line. */
export interface Given {
  readonly name: string;
  readonly text: string;
}

/**
 * Separates words from options.
 *
 * @param table All that there is: which command is meant, and so which options, isn't known yet.
 * @throws {UsageError} If an option isn't known, or lacks its value.
 */
export function readArguments(
  args: readonly string[],
  table: OptionTable,
): { words: Word[]; given: Given[] } {
  const words: Word[] = [];
  const given: Given[] = [];
  let afterFlag: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") {
      words.push(...args.slice(i + 1).map((text) => ({ text })));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      words.push({ text: arg, ...(afterFlag === undefined ? {} : { afterFlag }) });
      afterFlag = undefined;
      continue;
    }
    const split = splitOption(arg);
    const name = optionNamed(split.name, table);
    if (name === undefined) throw unknownOption(split.name, commandIn(words, args.slice(i + 1)), table);
    const bare = split.text === undefined && isFlag(table[name]!);
    afterFlag = bare ? name : undefined;
    given.push({ name, text: bare ? "true" : split.text ?? valueAfter(name, args[++i], table) });
  }
  return { words, given };
}

/** `-name`, `--name`, `-name=value` or `--name=value`. */
function splitOption(arg: string): { name: string; text: string | undefined } {
  const match = /^--?([^-=][^=]*)(?:=([^]*))?$/.exec(arg);
  if (match) return { name: match[1]!, text: match[2] };
  throw new UsageError(`${arg}: no option looks like that; they are written -name or -name=value`);
}

function optionNamed(word: string, table: OptionTable): string | undefined {
  const name = Object.hasOwn(ALIASES, word) ? ALIASES[word]! : word;
  return Object.hasOwn(table, name) ? name : undefined;
}

/** The command that is meant where an option can't be read, as far as the words around it say. */
function commandIn(words: readonly Word[], rest: readonly string[]): CommandName {
  const texts = [...words.map(({ text }) => text), ...rest.filter((arg) => !arg.startsWith("-"))];
  return findCommand(texts) ?? "daemon";
}

function unknownOption(name: string, command: CommandName, all: OptionTable): UsageError {
  const isDaemon = command === "daemon";
  const known = Object.keys(all).filter((one) => !(one in COMMAND_OPTIONS) || one in ownOptions(command));
  const hint = didYouMean(name, known).replace("mean ", "mean -");
  const what = isDaemon ? "unknown option" : `unknown option of ${command}`;
  return new UsageError(
    `-${name}: ${what}${hint}; ${isDaemon ? "flanneld -help" : `flanneld help ${command}`} lists all`,
  );
}

function valueAfter(name: string, next: string | undefined, table: OptionTable): string {
  const option = next === undefined ? undefined : /^--?([^-=][^=]*)/.exec(next)?.[1];
  const isOption = option !== undefined && optionNamed(option, table) !== undefined;
  if (next !== undefined && !isOption) return next;
  const instead = isOption ? `, found the option ${next} instead` : "";
  throw new UsageError(`-${name}: needs a value (${table[name]!.placeholder})${instead}`);
}

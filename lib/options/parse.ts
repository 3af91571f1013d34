/**
 * Arguments and environment → command and options, in the style of Go's flag package.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import { COMMAND_NAMES, type CommandName, COMMANDS, type CommandSpec, SHELLS } from "./commands.ts";
import { hideUser } from "../observe/redact.ts";
import { BackendOptions, isFlag, type OptionSpec, type OptionTable, propertyOf, variableOf } from "./spec.ts";
import { OPTIONS, type Options, withBackendOptions } from "./table.ts";
import { UsageError } from "./usage_error.ts";

/** What the user asked for. */
export interface Invocation {
  readonly command: CommandName;
  /** The command's argument; empty where it takes none. */
  readonly argument: string;
  readonly options: Options;
  /** The options that were given, on the command line or in the environment. */
  readonly given: ReadonlySet<string>;
  /** Sentences for the log: FLANNELD_ variables that mean nothing. */
  readonly warnings: readonly string[];
}

/** Short for `-help`, as in Go. */
const ALIASES: Readonly<Record<string, string>> = { h: "help" };

/**
 * Reads the command line; what it doesn't say comes from the environment, then from the defaults.
 *
 * @param args The arguments without the program's name.
 * @param environment The process's environment variables.
 * @param backendOptions The options that backends declare.
 * @throws {UsageError} With one sentence that says which option or word, what it got and what it takes.
 */
export function parseCommandLine(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  backendOptions: OptionTable = {},
): Invocation {
  const table = withBackendOptions(backendOptions);
  const { words, values } = readArguments(args, table);
  const asked = values.get("help")?.value ? "help" : values.get("version")?.value ? "version" : undefined;
  const { command, argument } = asked
    ? { command: asked as CommandName, argument: "" }
    : readCommand(words, values, table);
  // Help must not fail for what stands in the environment.
  const variables = command === "help" || command === "version" ? {} : environment;
  const warnings = readEnvironment(variables, values, table);
  const options = optionsOf(values, backendOptions);
  const given = new Set(values.keys());
  checkTogether(options, given);
  return { command, argument, options, given, warnings };
}

/** The value of every option: what was given, else the default. */
function optionsOf(values: Values, backendOptions: OptionTable): Options {
  const valueOf = (name: string, spec: OptionSpec<unknown>) => values.get(name)?.value ?? spec.default;
  const own = Object.entries(OPTIONS).map(([name, spec]) => [propertyOf(name), valueOf(name, spec)]);
  const backend = Object.entries(backendOptions).map(([name, spec]) => [spec, valueOf(name, spec)] as const);
  return { ...Object.fromEntries(own), backend: new BackendOptions(new Map(backend)) } as Options;
}

/** A value that was read, and the word that it stood with. */
interface Given {
  readonly value: unknown;
}

type Values = Map<string, Given>;

/** Words that aren't options, each with the boolean option that stood before it, if any. */
interface Word {
  readonly text: string;
  readonly afterFlag?: string;
}

function readArguments(args: readonly string[], table: OptionTable): { words: Word[]; values: Values } {
  const words: Word[] = [];
  const values: Values = new Map();
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
    const { name, text } = splitOption(arg, table);
    const spec = table[name]!;
    const bare = text === undefined && isFlag(spec);
    afterFlag = bare ? name : undefined;
    const given = bare ? "true" : text ?? valueAfter(name, args[++i], table);
    take(values, name, spec, given, `-${name}`);
  }
  return { words, values };
}

/** `-name`, `--name`, `-name=value` or `--name=value`. */
function splitOption(arg: string, table: OptionTable): { name: string; text: string | undefined } {
  const match = /^--?([^-=][^=]*)(?:=([^]*))?$/.exec(arg);
  if (!match) {
    throw new UsageError(`${arg}: no option looks like that; they are written -name or -name=value`);
  }
  const name = optionNamed(match[1]!, table);
  if (name !== undefined) return { name, text: match[2] };
  const hint = didYouMean(match[1]!, Object.keys(table)).replace("mean ", "mean -");
  throw new UsageError(`-${match[1]}: unknown option${hint}; flanneld -help lists all`);
}

function optionNamed(word: string, table: OptionTable): string | undefined {
  const name = Object.hasOwn(ALIASES, word) ? ALIASES[word]! : word;
  return Object.hasOwn(table, name) ? name : undefined;
}

function valueAfter(name: string, next: string | undefined, table: OptionTable): string {
  const option = next === undefined ? undefined : /^--?([^-=][^=]*)/.exec(next)?.[1];
  const isOption = option !== undefined && optionNamed(option, table) !== undefined;
  if (next !== undefined && !isOption) return next;
  const instead = isOption ? `, found the option ${next} instead` : "";
  throw new UsageError(`-${name}: needs a value (${table[name]!.placeholder})${instead}`);
}

/** Reads one value and keeps it; `label` is what messages call its source. */
function take(
  values: Values,
  name: string,
  spec: OptionSpec<unknown>,
  text: string,
  label: string,
): void {
  const value = readValue(name, spec, text, label);
  const before = values.get(name)?.value;
  const all = spec.repeatable && Array.isArray(before) ? [...before, ...value as unknown[]] : value;
  values.set(name, { value: all });
}

function readValue(name: string, spec: OptionSpec<unknown>, text: string, label: string): unknown {
  try {
    return spec.parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const shown = name === "etcd-password"
      ? ""
      : ` ${JSON.stringify(name === "etcd-endpoints" ? hideUser(text) : text)}`;
    throw new UsageError(`${label}${shown}: ${error.message}`);
  }
}

function readCommand(
  words: readonly Word[],
  values: Values,
  table: OptionTable,
): { command: CommandName; argument: string } {
  const texts = words.map((word) => word.text);
  if (texts.length === 0) return checkOptions("daemon", "", values, table);
  const command = [2, 1].map((count) => texts.slice(0, count).join(" "))
    .find((name): name is CommandName => Object.hasOwn(COMMANDS, name));
  if (command === undefined) throw new UsageError(unknownCommand(words));
  const spec: CommandSpec = COMMANDS[command];
  const rest = words.slice(command.split(" ").length);
  const extra = rest[spec.argument === undefined ? 0 : 1];
  if (extra) throw new UsageError(strayWord(extra) ?? `${extra.text}: ${command} takes nothing more`);
  const argument = rest[0]?.text;
  if (spec.argument !== undefined && argument === undefined) {
    throw new UsageError(`${command}: needs ${spec.argument}`);
  }
  if (command === "completion" && !SHELLS.some((shell) => shell === argument)) {
    throw new UsageError(`completion ${JSON.stringify(argument)}: must be one of ${SHELLS.join(", ")}`);
  }
  return checkOptions(command, argument ?? "", values, table);
}

function unknownCommand(words: readonly Word[]): string {
  const first = words[0]!;
  const stray = strayWord(first);
  if (stray) return stray;
  if (first.text === "config") {
    const found = words[1] ? `, found ${JSON.stringify(words[1].text)}` : "";
    return `config: needs set, get or check after it${found}`;
  }
  const hint = didYouMean(first.text, COMMAND_NAMES);
  return `${first.text}: unknown command${hint}; flanneld -help lists all`;
}

/** The usual mistake with Go's booleans: `-ip-masq false`. */
function strayWord(word: Word): string | undefined {
  if (word.afterFlag === undefined || !/^(true|false|1|0|t|f|yes|no|on|off)$/i.test(word.text)) {
    return undefined;
  }
  const meant = /^(true|1|t|yes|on)$/i.test(word.text);
  return `-${word.afterFlag} ${word.text}: a boolean takes its value after "=", as -${word.afterFlag}=${meant}`;
}

function checkOptions(command: CommandName, argument: string, values: Values, table: OptionTable) {
  for (const name of values.keys()) {
    const { commands } = table[name]!;
    if (commands && !commands.includes(command)) {
      throw new UsageError(`-${name}: is an option of ${commands.join(", ")}, not of ${command}`);
    }
  }
  return { command, argument };
}

/** Adds what the command line leaves open. @returns Warnings for variables that mean nothing. */
function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  values: Values,
  table: OptionTable,
): string[] {
  const known = new Map<string, string>();
  for (const name of Object.keys(table)) known.set(variableOf(name), name);
  const warnings: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith("FLANNELD_") || !text) continue;
    const name = known.get(variable);
    if (name === undefined) {
      warnings.push(`${variable}: no option has this variable${didYouMean(variable, known.keys())}`);
      continue;
    }
    const spec = table[name]!;
    if (spec.noEnvironment || values.has(name)) continue;
    const isList = spec.repeatable && !spec.singleVariable;
    const parts = isList ? text.split(",").map((part) => part.trim()).filter(Boolean) : [text];
    for (const part of parts) take(values, name, spec, part, variable);
  }
  return warnings;
}

/** Rules over several options. */
function checkTogether(options: Options, given: ReadonlySet<string>): void {
  const margin = options.subnetLeaseRenewMargin * 60;
  // The default margin yields to a short lease; a margin that was asked for must fit.
  if (given.has("subnet-lease-renew-margin") && margin >= options.subnetLeaseTtl) {
    const ttl = `-subnet-lease-ttl (${options.subnetLeaseTtl} seconds)`;
    throw new UsageError(
      `-subnet-lease-renew-margin ${options.subnetLeaseRenewMargin}: must be shorter than ${ttl}`,
    );
  }
  const cert = options.etcdCertfile !== "";
  if (cert !== (options.etcdKeyfile !== "")) {
    const [have, lack] = cert ? ["etcd-certfile", "etcd-keyfile"] : ["etcd-keyfile", "etcd-certfile"];
    throw new UsageError(`-${have}: needs -${lack} as well`);
  }
}

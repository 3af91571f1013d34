/**
 * Arguments and environment → command and options, in the style of Go's flag package.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import { hideUser } from "../observe/redact.ts";
import {
  COMMAND_NAMES,
  COMMAND_OPTIONS,
  type CommandName,
  COMMANDS,
  type CommandSpec,
  commandsUnder,
  commandsWith,
  ownOptions,
  SHELLS,
} from "./commands.ts";
import {
  DeclaredOptions,
  isFlag,
  type OptionSpec,
  type OptionTable,
  propertyOf,
  variableOf,
} from "./spec.ts";
import { OPTIONS, type Options, withBackendOptions } from "./table.ts";
import { UsageError } from "./usage_error.ts";

/** What the user asked for. */
export interface Invocation {
  readonly command: CommandName;
  /** The command's argument; empty where it takes none or none was given. */
  readonly argument: string;
  readonly options: Options;
  /** The values of the options that the command declares. */
  readonly own: DeclaredOptions;
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
  const daemon = withBackendOptions(backendOptions);
  const { words, given } = readArguments(args, { ...daemon, ...COMMAND_OPTIONS });
  const { command, argument } = readAsked(words, given) ?? readCommand(words);
  try {
    const table = { ...daemon, ...ownOptions(command) };
    const values: Values = new Map();
    for (const { name, text } of given) {
      const spec = table[name];
      if (!spec) {
        throw new UsageError(`-${name}: is an option of ${commandsWith(name).join(", ")}, not of ${command}`);
      }
      take(values, name, spec, text, `-${name}`);
    }
    // Help must not fail for what stands in the environment.
    const variables = command === "help" || command === "version" ? {} : environment;
    const warnings = readEnvironment(variables, values, table);
    const options = optionsOf(values, backendOptions);
    const names = new Set(values.keys());
    checkTogether(options, names);
    const own = declared(ownOptions(command), values);
    return { command, argument, options, own, given: names, warnings };
  } catch (error) {
    if (error instanceof UsageError && command !== "daemon") throw new UsageError(error.message, command);
    throw error;
  }
}

/** The value of every option of the daemon: what was given, else the default. */
function optionsOf(values: Values, backendOptions: OptionTable): Options {
  const own = Object.entries(OPTIONS).map(([name, spec]) => [propertyOf(name), valueOf(values, name, spec)]);
  return { ...Object.fromEntries(own), backend: declared(backendOptions, values) } as Options;
}

function declared(table: OptionTable, values: Values): DeclaredOptions {
  return new DeclaredOptions(
    new Map(Object.entries(table).map(([name, spec]) => [spec, valueOf(values, name, spec)])),
  );
}

function valueOf(values: Values, name: string, spec: OptionSpec<unknown>): unknown {
  return values.has(name) ? values.get(name) : spec.default;
}

/** What was given or stands in the environment, by the option's name. */
type Values = Map<string, unknown>;

/** An option as it stands on the command line. */
interface Given {
  readonly name: string;
  readonly text: string;
}

/** A word that isn't an option, with the boolean option that stood before it, if any. */
interface Word {
  readonly text: string;
  readonly afterFlag?: string;
}

/** @param table All that there is: which command is meant, and so which options, isn't known yet. */
function readArguments(args: readonly string[], table: OptionTable): { words: Word[]; given: Given[] } {
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

/** Reads one value and keeps it; `label` is what messages call its source. */
function take(
  values: Values,
  name: string,
  spec: OptionSpec<unknown>,
  text: string,
  label: string,
): void {
  const value = readValue(name, spec, text, label);
  const before = values.get(name);
  values.set(name, spec.repeatable && Array.isArray(before) ? [...before, ...value as unknown[]] : value);
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

/** A command with its argument. */
type Asked = Pick<Invocation, "command" | "argument">;

/** What -help or -version ask for; -help beside a command's words asks for the help of that command. */
function readAsked(words: readonly Word[], given: readonly Given[]): Asked | undefined {
  const isAsked = (option: string) => {
    const last = given.findLast(({ name }) => name === option);
    return last !== undefined && readValue(option, OPTIONS.help, last.text, `-${option}`) === true;
  };
  if (isAsked("help")) {
    const texts = words.map(({ text }) => text);
    const [first = ""] = texts;
    return {
      command: "help",
      argument: findCommand(texts) ?? (commandsUnder(first).length > 0 ? first : ""),
    };
  }
  return isAsked("version") ? { command: "version", argument: "" } : undefined;
}

/** The command that these words begin with. */
function findCommand(words: readonly string[]): CommandName | undefined {
  return [2, 1].map((count) => words.slice(0, count).join(" "))
    .find((name): name is CommandName => Object.hasOwn(COMMANDS, name));
}

function readCommand(words: readonly Word[]): Asked {
  const texts = words.map((word) => word.text);
  if (texts.length === 0) return { command: "daemon", argument: "" };
  const command = findCommand(texts);
  if (command === undefined) throw new UsageError(unknownCommand(words));
  const rest = words.slice(command.split(" ").length);
  if (command === "help") return { command, argument: readTopic(rest) };
  const { argument: takes }: CommandSpec = COMMANDS[command];
  const extra = rest[takes === undefined ? 0 : 1];
  if (extra) {
    throw new UsageError(strayWord(extra) ?? `${extra.text}: ${command} takes nothing more`, command);
  }
  const argument = rest[0]?.text;
  if (takes !== undefined && !takes.startsWith("[") && argument === undefined) {
    throw new UsageError(`${command}: needs ${takes}`, command);
  }
  if (command === "completion" && !SHELLS.some((shell) => shell === argument)) {
    throw new UsageError(
      `completion ${JSON.stringify(argument)}: must be one of ${SHELLS.join(", ")}`,
      command,
    );
  }
  return { command, argument: argument ?? "" };
}

/** The words after `help`: a command, or the first word of several. */
function readTopic(words: readonly Word[]): string {
  const topic = words.map(({ text }) => text).join(" ");
  if (topic === "" || commandsUnder(topic).length > 0) return topic;
  throw new UsageError(unknownCommand(words));
}

function unknownCommand(words: readonly Word[]): string {
  const first = words[0]!;
  const stray = strayWord(first);
  if (stray) return stray;
  const under = commandsUnder(first.text).map((name) => name.slice(first.text.length + 1)).filter(Boolean);
  if (under.length > 0) {
    const found = words[1] ? `, found ${JSON.stringify(words[1].text)}` : "";
    const last = under.pop()!;
    return `${first.text}: needs ${
      under.length > 0 ? `${under.join(", ")} or ` : ""
    }${last} after it${found}`;
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

/** Adds what the command line leaves open. @returns Warnings for variables that mean nothing. */
function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  values: Values,
  table: OptionTable,
): string[] {
  const known = new Map<string, string>();
  for (const name of Object.keys({ ...COMMAND_OPTIONS, ...table })) known.set(variableOf(name), name);
  const warnings: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith("FLANNELD_") || !text) continue;
    const name = known.get(variable);
    if (name === undefined) {
      warnings.push(`${variable}: no option has this variable${didYouMean(variable, known.keys())}`);
      continue;
    }
    // Of another command: as little to do with this one as its words.
    const spec = table[name];
    if (!spec || spec.noEnvironment || values.has(name)) continue;
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

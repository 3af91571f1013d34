/**
 * Arguments and environment → command and options, in the style of Go's flag package.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import { hideUser } from "../observe/redact.ts";
import { type Given, readArguments } from "./arguments.ts";
import { type Asked, findCommand, readCommand, type Word } from "./command_words.ts";
import { COMMAND_OPTIONS, commandsUnder, commandsWith, ownOptions } from "./commands.ts";
import { DeclaredOptions, type OptionSpec, type OptionTable, propertyOf, variableOf } from "./spec.ts";
import { OPTIONS, type Options, withBackendOptions } from "./table.ts";
import { UsageError } from "./usage_error.ts";

/** What the user asked for. */
export interface Invocation extends Asked {
  readonly options: Options;
  /** The values of the options that the command declares. */
  readonly own: DeclaredOptions;
  /** The options that stand on the command line. */
  readonly typed: ReadonlySet<string>;
  /** The options that were given, on the command line or in the environment. */
  readonly given: ReadonlySet<string>;
  /** Sentences for the log: FLANNELD_ variables that mean nothing. */
  readonly warnings: readonly string[];
}

/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

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
  environment: Environment,
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
    const typed = new Set(values.keys());
    // Help must not fail for what stands in the environment.
    const variables = command === "help" || command === "version" ? {} : environment;
    const warnings = readEnvironment(variables, values, table);
    const options = optionsOf(values, backendOptions);
    const names = new Set(values.keys());
    checkTogether(options, names);
    const own = declared(ownOptions(command), values);
    return { command, argument, options, own, typed, given: names, warnings };
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

/** Adds what the command line leaves open. @returns Warnings for variables that mean nothing. */
function readEnvironment(
  environment: Environment,
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

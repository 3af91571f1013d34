/**
 * What an option is: its value, its help, how it is read. The table of options and the backends declare them alike.
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import * as value from "./values.ts";

/** Headings of the help text, in their order. */
export const GROUPS = [
  "Store",
  "Interface and addresses",
  "Subnet",
  "Firewall",
  "Health and log",
  "Backends",
  "Kubernetes",
  "Other",
] as const;

/** One option. */
export interface OptionSpec<T> {
  readonly group: (typeof GROUPS)[number];
  /** One sentence without a full stop. */
  readonly help: string;
  /** What its value is, for the help text; absent for booleans. */
  readonly placeholder?: string;
  readonly default: T;
  /** Which values it may have, for the reference; absent: what the placeholder says. */
  readonly values?: string;
  /** How the help text writes the default; absent: nothing to say. */
  readonly defaultText?: string;
  /** Reads one value. @throws {RangeError} With the rule as message. */
  parse(text: string): T;
  /** May be given several times; T is then an array, and what each reading gives is appended. */
  readonly repeatable?: true;
  /** Its variable holds one value, commas and all; otherwise commas separate several. */
  readonly singleVariable?: true;
  /** What completion offers for the value. */
  readonly completes?: "file" | "interface" | readonly string[];
  /** Not taken from the environment. */
  readonly noEnvironment?: true;
}

type Group = OptionSpec<unknown>["group"];
type Extra<T> = Partial<Omit<OptionSpec<T>, "group" | "help" | "default" | "parse">>;

/** A boolean: `-x` or `-x=false`. */
export function flag(
  group: Group,
  help: string,
  fallback: boolean,
  extra: Extra<boolean> = {},
): OptionSpec<boolean> {
  return { group, help, default: fallback, defaultText: String(fallback), parse: value.boolean, ...extra };
}

/** A whole number in a range. */
export function integer(
  group: Group,
  help: string,
  placeholder: string,
  fallback: number,
  [min, max]: readonly [number, number],
): OptionSpec<number> {
  const parse = value.integer(min, max);
  const values = `${min} to ${max}`;
  return { group, help, placeholder, values, default: fallback, defaultText: String(fallback), parse };
}

/** Any text. */
export function text(
  group: Group,
  help: string,
  placeholder: string,
  fallback = "",
  extra: Extra<string> = {},
): OptionSpec<string> {
  const shown = fallback === "" ? {} : { defaultText: fallback };
  return { group, help, placeholder, default: fallback, parse: value.text, ...shown, ...extra };
}

/** A repeatable option; an empty value adds nothing. */
export function many<T>(
  group: Group,
  help: string,
  placeholder: string,
  parse: (text: string) => readonly T[],
  extra: Extra<readonly T[]> = {},
): OptionSpec<readonly T[]> {
  const orNone = (text: string) => text === "" ? [] : parse(text);
  return { group, help, placeholder, default: [], parse: orNone, repeatable: true, ...extra };
}

/** A path; completion offers files. */
export function file(group: Group, help: string, fallback = ""): OptionSpec<string> {
  return text(group, help, "FILE", fallback, { completes: "file" });
}

/** An IP address; the empty text is none. */
export function address(group: Group, help: string, parse: (text: string) => Ip): OptionSpec<Ip | undefined> {
  // Scripts pass -public-ip "$ADDRESS" with an empty variable; as in the original that means none.
  const orNone = (text: string) => text === "" ? undefined : parse(text);
  return { group, help, placeholder: "ADDRESS", default: undefined, parse: orNone };
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;

/** The property of {@link Options} that holds an option's value. */
export function propertyOf(name: string): string {
  return name.replace(/[-_](.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The environment variable of an option. */
export function variableOf(name: string): string {
  return `FLANNELD_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** Whether the option is given without a value. */
export function isFlag(spec: OptionSpec<unknown>): boolean {
  return spec.placeholder === undefined;
}

/** The values of options that backends or commands declare, by their declaration. */
export class DeclaredOptions {
  readonly #values: ReadonlyMap<OptionSpec<unknown>, unknown>;

  /** @param values What was given; the rest has its default. */
  constructor(values: ReadonlyMap<OptionSpec<unknown>, unknown> = new Map()) {
    this.#values = values;
  }

  /** The value of an option: what was given, or its default. */
  get<T>(spec: OptionSpec<T>): T {
    return this.#values.has(spec) ? this.#values.get(spec) as T : spec.default;
  }
}

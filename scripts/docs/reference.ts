/**
 * The reference as a value: what docs/configuration.md and the man pages are made of. Options, commands and the fields
 * of the network config come from their declarations in the program, what no declaration has from facts.ts.
 *
 * @module
 */
import { BACKENDS } from "../../backends/registry.ts";
import type { BackendType } from "../../lib/backend/types.ts";
import type { ConfigField } from "../../lib/config/fields.ts";
import { parseNetworkConfig } from "../../lib/config/network_config.ts";
import { COMMAND_NAMES, COMMANDS, type CommandSpec } from "../../lib/options/commands.ts";
import { GROUPS, isFlag, type OptionSpec, type OptionTable, variableOf } from "../../lib/options/spec.ts";
import { withBackendOptions } from "../../lib/options/table.ts";
import { FAMILIES, IPV4 } from "../../lib/net/family.ts";

/** One option. */
export interface OptionEntry {
  /** `-iface NAME|ADDRESS`. */
  readonly term: string;
  /** Undefined where it isn't taken from the environment. */
  readonly variable: string | undefined;
  readonly default: string;
  /** Which values it may have, where the term doesn't say it. */
  readonly values: string;
  readonly help: string;
}

/** Options under one heading. */
export interface OptionGroup {
  readonly title: string;
  readonly options: readonly OptionEntry[];
}

/** One command with the options that it alone takes. */
export interface CommandEntry {
  readonly term: string;
  readonly help: string;
  readonly options: readonly OptionEntry[];
  readonly notes: readonly string[];
}

/** One key of the network config. */
export interface FieldEntry {
  readonly key: string;
  readonly values: string;
  readonly default: string;
  readonly help: string;
}

/** The keys of one backend. */
export interface BackendEntry {
  readonly type: string;
  readonly fields: readonly FieldEntry[];
}

/** All of it. */
export interface Reference {
  readonly groups: readonly OptionGroup[];
  readonly commands: readonly CommandEntry[];
  readonly fields: readonly FieldEntry[];
  readonly backends: readonly BackendEntry[];
}

/** A config in which every field is read. */
const WHOLE = JSON.stringify({
  Network: "10.5.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fc00::/48",
  Backend: { Type: "vxlan" },
});

/** Reads it out of the program. @throws {Error} If a field has no help. */
export async function readReference(): Promise<Reference> {
  const table = withBackendOptions(BACKENDS.options);
  const entries = Object.entries(table);
  const groups = GROUPS.map((title) => ({
    title,
    options: entries.filter(([, spec]) => spec.group === title).map(([name, spec]) =>
      optionEntry(name, spec)
    ),
  })).filter(({ options }) => options.length > 0);
  const commands = COMMAND_NAMES.map((name) => {
    const { argument, help, options = {}, notes = [] }: CommandSpec = COMMANDS[name];
    return { term: [name, argument].filter(Boolean).join(" "), help, options: optionEntries(options), notes };
  });
  const backends = await Promise.all(BACKENDS.types.map(async (type) => {
    const backend = await BACKENDS.load(type) as BackendType;
    return { type, fields: fieldsOf(backend) };
  }));
  return { groups, commands, fields: parseNetworkConfig(WHOLE).fields.map(fieldEntry), backends };
}

/** A backend's fields; ranges that IPv6 narrows are shown as IPv4 has them. */
function fieldsOf(backend: BackendType): FieldEntry[] {
  const { fields } = backend.parse({}, [IPV4]);
  const all = backend.parse({}, FAMILIES).fields;
  const known = new Set(fields.map(({ key }) => key));
  return [...fields, ...all.filter(({ key }) => !known.has(key))].map(fieldEntry);
}

function optionEntries(options: OptionTable): OptionEntry[] {
  return Object.entries(options).map(([name, spec]) => optionEntry(name, spec));
}

function optionEntry(name: string, spec: OptionSpec<unknown>): OptionEntry {
  const isPlainFlag = isFlag(spec) && spec.noEnvironment && spec.default === false;
  return {
    term: [`-${name}`, spec.placeholder].filter(Boolean).join(" "),
    variable: spec.noEnvironment ? undefined : variableOf(name),
    default: isPlainFlag ? "" : spec.defaultText ?? "",
    values: spec.values ?? "",
    help: spec.repeatable ? `${spec.help}; may be given several times` : spec.help,
  };
}

function fieldEntry({ key, values, default: fallback, defaultText, help }: ConfigField): FieldEntry {
  if (help === undefined) throw new Error(`the field ${key} has no help: give its reader one`);
  const plain = fallback === undefined ? "" : `\`${JSON.stringify(fallback)}\``;
  return { key, values, default: defaultText ?? plain, help };
}

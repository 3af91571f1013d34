/**
 * The man pages, in the macros of man(7). Pure.
 *
 * @module
 */
import { type Fact, FILES, SIGNALS, STATUSES, STORE_KEYS, VARIABLES } from "./facts.ts";
import type { FieldEntry, OptionEntry, Reference } from "./reference.ts";

const EXAMPLE = [
  "{",
  '  "Network": "10.5.0.0/16",',
  '  "Backend": { "Type": "vxlan", "DirectRouting": true }',
  "}",
];

/** When the pages last said something new, for their last line: not the build's time, so that two builds are equal. */
const REVISED = "2026-11-21";
/** The longest line of a page's source, as mandoc's style has it, in bytes. */
const WIDTH = 80;

/** flanneld(8). */
export function daemonPage({ groups, commands }: Reference, version: string): string {
  return page("flanneld", 8, version, [
    ...section("NAME", ["flanneld \\- network for containers: a subnet for every host"]),
    ...section("SYNOPSIS", [".B flanneld", '.RI [ option " ...] [" command ]']),
    ...section("DESCRIPTION", [
      "flanneld gives this host a subnet of a network, writes it where container runtimes read it, and carries packets",
      "to the other hosts of the network.",
      "The hosts agree by way of etcd, the Kubernetes API or, on one machine, an SQLite file.",
      "The network config, see",
      ".BR flanneld-config (5),",
      "stands there, too.",
    ]),
    ".SH OPTIONS",
    "Values follow as \\-name value or \\-name=value; booleans only as \\-name or \\-name=false.",
    "Two dashes do as well.",
    "Every option can come from its environment variable; the command line wins.",
    ...groups.flatMap(({ title, options }) => [`.SS ${quote(title)}`, ...options.flatMap(optionParagraph)]),
    ".SH COMMANDS",
    ...commands.flatMap(({ term, help, options, notes }) => [
      ".TP",
      `.B ${escape(term)}`,
      `${escape(help)}.`,
      ...options.length === 0 ? [] : [".RS", ...options.flatMap(optionParagraph), ".RE"],
      ...notes.flatMap((note) => [".IP", escape(note)]),
    ]),
    ...facts("FILES", FILES),
    ...facts("ENVIRONMENT", VARIABLES),
    ...facts("EXIT STATUS", STATUSES),
    ...facts("SIGNALS", SIGNALS),
    ...section("SEE ALSO", [".BR flanneld-config (5),", ".BR systemctl (1)"]),
  ]);
}

/** flanneld-config(5). */
export function configPage({ fields, backends }: Reference, version: string): string {
  return page("flanneld-config", 5, version, [
    ...section("NAME", ["flanneld-config \\- the network config of flanneld"]),
    ...section("DESCRIPTION", [
      "A JSON object that all hosts of a network share.",
      "Keys match whatever their case, the last of several that match one key wins, null leaves a key unset, and unknown",
      "keys are named in a warning.",
      ".B flanneld config check FILE",
      "prints a config with all defaults, or all that is wrong with it;",
      ".B flanneld config set FILE",
      "writes it to the store.",
    ]),
    ".SH KEYS",
    ...fields.flatMap(fieldParagraph),
    ".SH BACKENDS",
    "Keys of the object Backend beside Type.",
    ...backends.flatMap(({ type, fields: own }) => [
      `.SS ${quote(type)}`,
      ...own.length === 0 ? ["No keys but Type."] : own.flatMap(fieldParagraph),
    ]),
    ...facts("STORE", STORE_KEYS),
    ...section("EXAMPLE", [".nf", ...EXAMPLE.map(escape), ".fi"]),
    ...section("SEE ALSO", [".BR flanneld (8)"]),
  ]);
}

function page(name: string, number: number, version: string, lines: readonly string[]): string {
  const head = [
    '.\\" Made by deno task docs of the declarations in the program: change those.',
    `.TH ${name.toUpperCase()} ${number} "${REVISED}" "flanneld ${version}" "flanneld"`,
    // No hyphens at the ends of lines: names of options are copied from there.
    ".nh",
    ".ad l",
  ];
  return `${[...head, ...lines.flatMap(wrap)].join("\n")}\n`;
}

/** A long line of text as several; a macro's stays as it is. */
function wrap(line: string): string[] {
  if (line.startsWith(".") || line.length <= WIDTH) return [line];
  const lines: string[] = [];
  for (const word of line.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) {
      lines[lines.length - 1] = `${last} ${word}`;
    } // At the beginning of a line a dot would be a macro's.
    else lines.push(word.startsWith(".") ? `\\&${word}` : word);
  }
  return lines;
}

function section(title: string, lines: readonly string[]): string[] {
  return [`.SH ${quote(title)}`, ...lines];
}

function facts(title: string, list: readonly Fact[]): string[] {
  return [
    `.SH ${quote(title)}`,
    ...list.flatMap(([name, meaning]) => [".TP", `.B ${escape(name)}`, `${escape(meaning)}.`]),
  ];
}

function optionParagraph({ term, variable, default: fallback, values, help }: OptionEntry): string[] {
  return [
    ".TP",
    `.B ${escape(term)}`,
    `${escape(help)}.`,
    ...values === "" ? [] : [`Values: ${escape(values)}.`],
    ...fallback === "" ? [] : [`Default: ${escape(fallback)}.`],
    ...variable === undefined ? [] : [`Variable: ${escape(variable)}.`],
  ];
}

function fieldParagraph({ key, values, default: fallback, help }: FieldEntry): string[] {
  return [
    ".TP",
    `.B ${escape(key)}`,
    `${escape(help)}.`,
    `Value: ${escape(values.replaceAll("`", ""))}.`,
    ...fallback === "" ? [] : [`Default: ${escape(fallback.replaceAll("`", ""))}.`],
  ];
}

/** An argument of a macro. */
function quote(text: string): string {
  return `"${escape(text).replaceAll('"', "\\(dq")}"`;
}

/** Text as roff takes it: a dash is a minus, and no line begins with a control character. */
function escape(text: string): string {
  const plain = text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq").replaceAll(
    "…",
    "...",
  );
  return plain.startsWith(".") ? `\\&${plain}` : plain;
}

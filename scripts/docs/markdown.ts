/**
 * docs/configuration.md. Pure.
 *
 * @module
 */
import { type Fact, FILES, SIGNALS, STATUSES, STORE_KEYS, VARIABLES } from "./facts.ts";
import type { CommandEntry, FieldEntry, OptionEntry, Reference } from "./reference.ts";

/** The page. */
export function configurationPage({ groups, commands, fields, backends }: Reference): string {
  return [
    "# Configuration",
    "",
    "<!-- Made by deno task docs of the declarations in the program: change those. -->",
    "",
    "Every option, command and key. The same is in `man flanneld` and `man flanneld-config`; `flanneld -help` has",
    "the short form.",
    "",
    ...["- [Options](#options)", "- [Commands](#commands)", "- [Network config](#network-config)"],
    ...[
      "- [Files](#files)",
      "- [Variables](#variables)",
      "- [Exit status and signals](#exit-status-and-signals)",
    ],
    "",
    "## Options",
    "",
    "`-name value` or `-name=value`; booleans only `-name` or `-name=false`. Two dashes do as well. Every option can",
    "come from its variable, and the command line wins. What may be given several times is separated by commas in a",
    "variable, except regular expressions.",
    "",
    ...groups.flatMap(({ title, options }) => [`### ${title}`, "", ...optionTable(options), ""]),
    "## Commands",
    "",
    "`flanneld COMMAND`; without one it is `daemon`. `flanneld help COMMAND` says which of the daemon's options it",
    "takes. Given none of them, it takes those of the flanneld that runs on this host, or else of",
    "`/etc/default/flanneld`.",
    "",
    ...commandTable(commands),
    "",
    ...commands.flatMap(commandPart),
    ...networkConfigPart(fields, backends),
    "## Files",
    "",
    ...factTable("file", FILES),
    "",
    "Those in `/run/flannel` stand beside `-subnet-file`. In the store, below `-etcd-prefix`:",
    "",
    ...factTable("key", STORE_KEYS),
    "",
    "## Variables",
    "",
    "Beside those of the options:",
    "",
    ...factTable("variable", VARIABLES),
    "",
    "## Exit status and signals",
    "",
    ...factTable("status", STATUSES),
    "",
    ...factTable("signal", SIGNALS),
    "",
  ].join("\n");
}

function networkConfigPart(fields: Reference["fields"], backends: Reference["backends"]): string[] {
  return [
    "## Network config",
    "",
    "A JSON object in the store, at `PREFIX/config` (with `-kube-subnet-mgr` in a file). Keys match whatever their",
    "case; of several that match one key the last wins, `null` leaves it unset, unknown ones are named in a warning.",
    "`flanneld config check FILE` prints a config with all defaults, or all that is wrong with it. A running host",
    "keeps the config that it started with, but for PeerFilter.",
    "",
    ...fieldTable(fields),
    "",
    ...backends.flatMap(({ type, fields }) => [
      `### Backend: ${type}`,
      "",
      ...fields.length === 0 ? ["No keys but `Type`."] : fieldTable(fields),
      "",
    ]),
  ];
}

function optionTable(options: readonly OptionEntry[]): string[] {
  const rows = options.map(({ term, variable, default: fallback, values, help }) => [
    code(term),
    variable === undefined ? "" : code(variable),
    fallback === "" ? "" : code(fallback),
    values,
    help,
  ]);
  return table(["option", "variable", "default", "values", "meaning"], rows);
}

function commandTable(commands: readonly CommandEntry[]): string[] {
  return table(["command", "what it does"], commands.map(({ term, help }) => [code(term), help]));
}

/** What a command has beside its line in the table. */
function commandPart({ term, options, notes }: CommandEntry): string[] {
  if (options.length === 0 && notes.length === 0) return [];
  const rows = options.map(({ term: option, default: fallback, values, help }) => [
    code(option),
    fallback === "" ? "" : code(fallback),
    values,
    help,
  ]);
  return [
    `### ${term.replace(/ .*\[.*|\s*\[.*/, "")}`,
    "",
    ...rows.length === 0 ? [] : [...table(["option", "default", "values", "meaning"], rows), ""],
    ...notes.length === 0 ? [] : [...notes, ""],
  ];
}

function fieldTable(fields: readonly FieldEntry[]): string[] {
  const rows = fields.map(({ key, values, default: fallback, help }) => [code(key), values, fallback, help]);
  return table(["key", "value", "default", "meaning"], rows);
}

function factTable(name: string, facts: readonly Fact[]): string[] {
  return table([name, "meaning"], facts.map(([term, meaning]) => [code(term), meaning]));
}

function code(text: string): string {
  return `\`${text}\``;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)];
}

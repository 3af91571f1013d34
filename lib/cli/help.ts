/**
 * The help texts, made of the tables of options and commands.
 *
 * @module
 */
import {
  COMMAND_NAMES,
  type CommandName,
  COMMANDS,
  type CommandSpec,
  commandsUnder,
  ownOptions,
} from "../options/commands.ts";
import { GROUPS, type OptionSpec, type OptionTable } from "../options/spec.ts";

/** Column at which descriptions begin, and the width that they are wrapped at. */
const INDENT = 34;
const WIDTH = 100;

/**
 * What `flanneld -help` and `flanneld help COMMAND` print.
 *
 * @param options The daemon's, with those of the backends.
 * @param topic A command, or the first word of several (`config`); empty: everything.
 */
export function helpText(options: OptionTable, topic = ""): string {
  const commands = topic === "" ? [] : commandsUnder(topic);
  const [only] = commands;
  const lines = only === undefined || only === "daemon"
    ? fullHelp(options)
    : commands.length === 1
    ? commandHelp(only, options)
    : [
      `Usage: flanneld ${topic} ...`,
      "",
      ...commandList(commands),
      "",
      "flanneld help COMMAND says more of one.",
    ];
  return lines.map((line) => `${line}\n`).join("");
}

function fullHelp(options: OptionTable): string[] {
  const lines = [
    "flanneld gives this host a subnet of a network and carries packets to the other hosts of it.",
    "",
    "Usage: flanneld [OPTION...] [COMMAND]",
    "",
    ...commandList(COMMAND_NAMES),
    "",
    "flanneld help COMMAND lists the options that only a command takes.",
  ];
  for (const group of GROUPS) {
    lines.push("", `${group}:`, ...optionList(options, (spec) => spec.group === group));
  }
  lines.push(
    "",
    "Values follow as -name value or -name=value; booleans only as -name or -name=false. Two dashes do as well.",
    "Every option can come from the environment: -etcd-endpoints from FLANNELD_ETCD_ENDPOINTS and so on; what may",
    "be given several times is separated by commas there, except regular expressions. The command line wins.",
    "A command that is given none of the daemon's options takes those of the flanneld that runs on this host, or",
    "else those of /etc/default/flanneld.",
  );
  return lines;
}

function commandHelp(name: CommandName, options: OptionTable): string[] {
  const spec: CommandSpec = COMMANDS[name];
  const own = ownOptions(name);
  const usage = ["flanneld", termOf(name), ...Object.keys(own).length > 0 ? ["[OPTION...]"] : []].join(" ");
  const lines = [`Usage: ${usage}`, "", ...wrap(`${spec.help}.`, WIDTH)];
  if (Object.keys(own).length > 0) lines.push("", "Options:", ...optionList(own, () => true));
  const { uses } = spec;
  if (uses === undefined) lines.push("", "It takes the daemon's options: flanneld -help lists them.");
  const named = optionList(options, (_, option) => uses?.includes(`-${option}`) ?? false);
  if (named.length > 0) lines.push("", "Of the daemon's options it takes:", ...named);
  for (const group of GROUPS) {
    if (uses?.includes(group)) {
      lines.push(
        "",
        `${group}:`,
        ...optionList(options, (one) => one.group === group),
      );
    }
  }
  if (spec.notes) lines.push("", ...spec.notes);
  return lines;
}

function commandList(names: readonly CommandName[]): string[] {
  return ["Commands:", ...names.flatMap((name) => entry(termOf(name), COMMANDS[name].help))];
}

/** A command with its argument. */
function termOf(name: CommandName): string {
  const spec: CommandSpec = COMMANDS[name];
  return [name, spec.argument].filter(Boolean).join(" ");
}

function optionList(
  options: OptionTable,
  isShown: (spec: OptionSpec<unknown>, name: string) => boolean,
): string[] {
  return Object.entries(options).filter(([name, spec]) => isShown(spec, name)).flatMap(([name, spec]) =>
    entry([`-${name}`, spec.placeholder].filter(Boolean).join(" "), describe(spec))
  );
}

function describe(spec: OptionSpec<unknown>): string {
  const isPlain = spec.placeholder === undefined && spec.noEnvironment && spec.default === false;
  const notes = [
    spec.defaultText === undefined || isPlain ? "" : `default: ${spec.defaultText}`,
    spec.repeatable ? "may be given several times" : "",
  ].filter(Boolean).join("; ");
  return notes === "" ? spec.help : `${spec.help} (${notes})`;
}

/** A term and its description, wrapped. */
function entry(term: string, description: string): string[] {
  const lines = wrap(description, WIDTH - INDENT);
  const head = `  ${term}`;
  const indent = " ".repeat(INDENT);
  const first = head.length < INDENT ? [head.padEnd(INDENT) + lines[0]] : [head, indent + lines[0]];
  return [...first, ...lines.slice(1).map((rest) => indent + rest)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  lines.push(line);
  return lines;
}

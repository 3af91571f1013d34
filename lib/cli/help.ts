/**
 * The help text, made of the option table.
 *
 * @module
 */
import { COMMAND_NAMES, COMMANDS, type CommandSpec } from "../options/commands.ts";
import { GROUPS, type OptionSpec, type OptionTable } from "../options/spec.ts";

/** Column at which descriptions begin, and the width that they are wrapped at. */
const INDENT = 34;
const WIDTH = 100;

/** What `flanneld -help` prints. */
export function helpText(options: OptionTable): string {
  const lines = [
    "flanneld gives this host a subnet of a network and carries packets to the other hosts of it.",
    "",
    "Usage: flanneld [OPTION...] [COMMAND]",
    "",
    "Commands:",
    ...COMMAND_NAMES.flatMap((name) => {
      const spec: CommandSpec = COMMANDS[name];
      return entry([name, spec.argument].filter(Boolean).join(" "), spec.help);
    }),
  ];
  for (const group of GROUPS) {
    lines.push("", `${group}:`);
    for (const [name, spec] of Object.entries(options)) {
      if (spec.group !== group) continue;
      lines.push(...entry([`-${name}`, spec.placeholder].filter(Boolean).join(" "), describe(spec)));
    }
  }
  lines.push(
    "",
    "Values follow as -name value or -name=value; booleans only as -name or -name=false. Two dashes do as well.",
    "Every option can come from the environment: -etcd-endpoints from FLANNELD_ETCD_ENDPOINTS and so on; what may",
    "be given several times is separated by commas there, except regular expressions. The command line wins.",
  );
  return lines.map((line) => `${line}\n`).join("");
}

function describe(spec: OptionSpec<unknown>): string {
  const notes = [
    spec.defaultText === undefined ? "" : `default: ${spec.defaultText}`,
    spec.repeatable ? "may be given several times" : "",
  ].filter(Boolean).join("; ");
  return notes === "" ? spec.help : `${spec.help} (${notes})`;
}

/** A term and its description, wrapped. */
function entry(term: string, description: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of description.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > WIDTH - INDENT) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  lines.push(line);
  const head = `  ${term}`;
  const indent = " ".repeat(INDENT);
  const first = head.length < INDENT ? [head.padEnd(INDENT) + lines[0]] : [head, indent + lines[0]];
  return [...first, ...lines.slice(1).map((rest) => indent + rest)];
}

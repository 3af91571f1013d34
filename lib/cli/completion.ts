/**
 * Completion scripts for shells, made of the option table. The scripts are complete in themselves: completing
 * a word doesn't start flanneld.
 *
 * @module
 */
import {
  COMMAND_NAMES,
  COMMAND_OPTIONS,
  COMMANDS,
  type CommandSpec,
  commandsWith,
  ownOptions,
  SHELLS,
} from "../options/commands.ts";
import { isFlag, type OptionSpec, type OptionTable } from "../options/spec.ts";

type Completes = OptionSpec<unknown>["completes"];

/** One option as completion sees it. */
interface Candidate {
  readonly name: string;
  readonly help: string;
  readonly takesValue: boolean;
  readonly completes: Completes;
  readonly repeatable: boolean;
  /** The commands that alone take it; none: the daemon and all that work like it. */
  readonly commands: readonly string[];
}

function candidatesOf(options: OptionTable): Candidate[] {
  return Object.entries({ ...options, ...COMMAND_OPTIONS }).map(([name, spec]) => ({
    name,
    commands: commandsWith(name),
    help: spec.help,
    takesValue: !isFlag(spec),
    completes: spec.completes,
    repeatable: spec.repeatable ?? false,
  }));
}

/** First words of the commands. */
const FIRST_WORDS = [...new Set(COMMAND_NAMES.map((name) => name.split(" ")[0]!))];

/** Commands with options of their own, those of two words first: `leases list` before `leases`. */
const WITH_OPTIONS = COMMAND_NAMES.filter((name) => Object.keys(ownOptions(name)).length > 0)
  .sort((a, b) => b.split(" ").length - a.split(" ").length);

/** The options of every command. */
function general(candidates: readonly Candidate[]): Candidate[] {
  return candidates.filter(({ commands }) => commands.length === 0);
}

/** Words that may follow a first word: a second word, or the values of an argument. */
function wordsAfter(first: string): readonly string[] {
  const second = COMMAND_NAMES.filter((name) => name.startsWith(`${first} `)).map((name) =>
    name.split(" ")[1]!
  );
  const spec: CommandSpec | undefined = COMMANDS[first as keyof typeof COMMANDS];
  const values = Array.isArray(spec?.completes) ? spec.completes as readonly string[] : [];
  return [...second, ...values];
}

/** The completion script for `shell`. @throws {RangeError} If there is none for it. */
export function completionScript(shell: string, options: OptionTable): string {
  const candidates = candidatesOf(options);
  if (shell === "bash") return bash(candidates);
  if (shell === "zsh") return zsh(candidates);
  if (shell === "fish") return fish(candidates);
  throw new RangeError(`must be one of ${SHELLS.join(", ")}`);
}

function bash(candidates: readonly Candidate[]): string {
  const cases = candidates.filter((one) => one.takesValue).map((one) =>
    `    -${one.name}|--${one.name}) ${bashValue(one.completes)}; return ;;`
  );
  const commands = FIRST_WORDS.map((first) => [first, wordsAfter(first)] as const)
    .filter(([, words]) => words.length > 0)
    .map(([first, words]) =>
      `    ${first}) COMPREPLY=($(compgen -W ${quote(words.join(" "))} -- "$word")); return ;;`
    );
  return [
    "# flanneld completion for bash: source it, or put it into /usr/share/bash-completion/completions/flanneld",
    "_flanneld() {",
    '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" own=""',
    '  case "$before" in',
    ...cases,
    ...commands,
    '    set|check) COMPREPLY=($(compgen -f -- "$word")); return ;;',
    "  esac",
    '  case " ${COMP_WORDS[*]} " in',
    ...WITH_OPTIONS.map((name) =>
      `    *${quote(` ${name} `)}*) own=${quote(dashed(Object.keys(ownOptions(name))))} ;;`
    ),
    "  esac",
    '  case "$word" in',
    `    -*) COMPREPLY=($(compgen -W "$own "${
      quote(dashed(general(candidates).map(({ name }) => name)))
    } -- "$word")) ;;`,
    `    *) COMPREPLY=($(compgen -W ${quote(FIRST_WORDS.join(" "))} -- "$word")) ;;`,
    "  esac",
    "}",
    "complete -F _flanneld flanneld",
    "",
  ].join("\n");
}

function dashed(names: readonly string[]): string {
  return names.map((name) => `-${name}`).join(" ");
}

function bashValue(completes: Completes): string {
  if (completes === "file") return 'COMPREPLY=($(compgen -f -- "$word"))';
  if (completes === "interface") return 'COMPREPLY=($(compgen -W "$(ls /sys/class/net)" -- "$word"))';
  if (completes) return `COMPREPLY=($(compgen -W ${quote(completes.join(" "))} -- "$word"))`;
  return "COMPREPLY=()";
}

function zsh(candidates: readonly Candidate[]): string {
  const line = (one: Candidate) => {
    const repeat = one.repeatable ? "*" : "";
    const value = one.takesValue ? `:${one.name}:${zshValue(one.completes)}` : "";
    return `    ${quote(`${repeat}-${one.name}[${one.help.replace(/[\[\]]/g, "\\$&")}]${value}`)}`;
  };
  const own = WITH_OPTIONS.map((name) => {
    const lines = candidates.filter(({ commands }) => commands.includes(name)).map(line);
    return `    *${quote(` ${name} `)}*) own=(${lines.map((each) => each.trim()).join(" ")}) ;;`;
  });
  const second = FIRST_WORDS.map((first) => [first, wordsAfter(first)] as const)
    .filter(([, words]) => words.length > 0)
    .map(([first, words]) => `    ${first}) compadd -- ${words.join(" ")} ;;`);
  return [
    "#compdef flanneld",
    "# flanneld completion for zsh: put it as _flanneld into a folder of $fpath",
    "_flanneld_argument() {",
    '  case "$words[CURRENT-1]" in',
    ...second,
    "    *) _files ;;",
    "  esac",
    "}",
    "_flanneld() {",
    "  local -a own",
    '  case " ${words[*]} " in',
    ...own,
    "  esac",
    '  _arguments "${own[@]}" \\',
    ...general(candidates).map((one) => `${line(one)} \\`),
    `    ${quote(`1:command:(${FIRST_WORDS.join(" ")})`)} \\`,
    "    '*:argument:_flanneld_argument'",
    "}",
    "compdef _flanneld flanneld",
    "",
  ].join("\n");
}

function zshValue(completes: Completes): string {
  if (completes === "file") return "_files";
  if (completes === "interface") return "_net_interfaces";
  return completes ? `(${completes.join(" ").replaceAll(":", "\\:")})` : " ";
}

function fish(candidates: readonly Candidate[]): string {
  const lines = ["# flanneld completion for fish: put it into /etc/fish/completions/flanneld.fish"];
  lines.push("complete -c flanneld -f");
  for (const one of candidates) {
    const value = one.takesValue ? ` ${fishValue(one.completes)}` : "";
    const words = [...new Set(one.commands.flatMap((name) => name.split(" ").at(-1)!))];
    const when = words.length === 0 ? "" : ` -n ${quote(`__fish_seen_subcommand_from ${words.join(" ")}`)}`;
    lines.push(`complete -c flanneld${when} -o ${one.name}${value} -d ${quote(one.help)}`);
  }
  const first = quote(FIRST_WORDS.join(" "));
  lines.push(`complete -c flanneld -n __fish_use_subcommand -a ${first}`);
  for (const word of FIRST_WORDS) {
    const words = wordsAfter(word);
    if (words.length === 0) continue;
    const condition = quote(`__fish_seen_subcommand_from ${word}`);
    lines.push(`complete -c flanneld -n ${condition} -a ${quote(words.join(" "))}`);
  }
  lines.push("complete -c flanneld -n '__fish_seen_subcommand_from set check' -F", "");
  return lines.join("\n");
}

function fishValue(completes: Completes): string {
  if (completes === "file") return "-r -F";
  if (completes === "interface") return "-x -a '(ls /sys/class/net)'";
  return completes ? `-x -a ${quote(completes.join(" "))}` : "-x";
}

/** One word for a shell, whatever is in it. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * The command line's words → the command and its argument.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import {
  COMMAND_NAMES,
  type CommandName,
  COMMANDS,
  type CommandSpec,
  commandsUnder,
  SHELLS,
} from "./commands.ts";
import { UsageError } from "./usage_error.ts";

/** A word that isn't an option, with the boolean option that stood before it, if any. */
export interface Word {
  readonly text: string;
  readonly afterFlag?: string;
}

/** A command with its argument. */
export interface Asked {
  readonly command: CommandName;
  /** Empty where the command takes none or none was given. */
  readonly argument: string;
}

/** The command that these words begin with. */
export function findCommand(words: readonly string[]): CommandName | undefined {
  return [2, 1].map((count) => words.slice(0, count).join(" "))
    .find((name): name is CommandName => Object.hasOwn(COMMANDS, name));
}

/** The command that all the words mean. @throws {UsageError} If there is none, or its argument is missing. */
export function readCommand(words: readonly Word[]): Asked {
  const texts = words.map((word) => word.text);
  if (texts.length === 0) return { command: "daemon", argument: "" };
  const command = findCommand(texts);
  if (command === undefined) throw new UsageError(unknownCommand(words), groupOf(texts[0]!));
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
  // A script whose variable is empty doesn't mean all peers.
  if (argument === "") throw new UsageError(`${command} "": the argument is empty`, command);
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

/** The word if commands of several words begin with it: `help` knows it. */
function groupOf(word: string): string | undefined {
  return commandsUnder(word).length > 0 ? word : undefined;
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

/**
 * The one declaration of commands: parsing, help and completion derive from it.
 *
 * @module
 */

/** One command. */
export interface CommandSpec {
  /** What its argument is, if it takes one. */
  readonly argument?: string;
  readonly help: string;
  /** What completion offers for the argument. */
  readonly completes?: "file" | readonly string[];
}

/** The shells that completion scripts are made for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** Every command by its words; `daemon` is what runs when no word is given. */
export const COMMANDS = {
  "daemon": { help: "Join the network and keep it working (also without any command)" },
  "config set": {
    argument: "FILE|-",
    help: "Check a network config and write it to the store",
    completes: "file",
  },
  "config get": { help: "Print the network config of the store" },
  "config check": {
    argument: "FILE|-",
    help: "Print a network config with all defaults, or all that is wrong with it",
    completes: "file",
  },
  "cleanup": { help: "Remove everything that flanneld made on this host" },
  "status": { help: "Show what a running flanneld does (-json: for programs)" },
  "doctor": { help: "Look for what would keep flanneld from working here" },
  "cni": { help: "The CNI plugin flannel: container runtimes call it" },
  "cni install": { help: "Put the CNI plugin and its network configuration where container runtimes look" },
  "wireguard rotate": { help: "Replace this host's WireGuard key; a running daemon publishes the new one" },
  "version": { help: "Print the version" },
  "completion": {
    argument: "SHELL",
    help: `Print a completion script for ${SHELLS.join(", ")}`,
    completes: SHELLS,
  },
  "help": { help: "Print this text" },
} satisfies Record<string, CommandSpec>;

/** A command's words. */
export type CommandName = keyof typeof COMMANDS;

/** All commands, in the order of the declaration. */
export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

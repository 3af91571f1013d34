/**
 * The one declaration of commands: parsing, help and completion derive from it.
 *
 * @module
 */

import type { Ip } from "../net/ip.ts";
import { file, flag, integer, many, type OptionSpec, type OptionTable, text } from "./spec.ts";
import { address, milliseconds } from "./values.ts";

/** One command. */
export interface CommandSpec {
  /** What its argument is, if it takes one; in brackets where it may be left out: `[PEER]`. */
  readonly argument?: string;
  readonly help: string;
  /** What completion offers for the argument. */
  readonly completes?: "file" | readonly string[];
  /** Options that only this command, or a few, take: {@link Invocation.own} has their values. */
  readonly options?: OptionTable;
  /** The daemon's options that matter to it, for its help: groups of them, or `-name`; absent: all. */
  readonly uses?: readonly (OptionSpec<unknown>["group"] | `-${string}`)[];
  /** What its help says after the options: lines of at most 100 characters. */
  readonly notes?: readonly string[];
}

/** A boolean option of a command. */
function own(help: string): OptionSpec<boolean> {
  return flag("Other", help, false, { noEnvironment: true });
}

/** A number that a command takes. */
function counted(
  help: string,
  placeholder: string,
  fallback: number,
  range: readonly [number, number],
): OptionSpec<number> {
  return { ...integer("Other", help, placeholder, fallback, range), noEnvironment: true };
}

/** For programs: what a command prints is then part of what stays the same. */
const JSON_OUTPUT = own("JSON instead of text");

/** For stores in which each lease's time costs a request. */
const EXPIRY = own(
  "Ask when leases expire: each costs a request to etcd; with -json and -csv, and up to 2000 leases, it is done unless -expiry=false",
);

/** For scripts. */
const YES = own("Don't ask");

/** What finds the store; commands that work with it take these. */
const STORE = ["Store", "Kubernetes"] as const;

/** Options of `cni install`. */
const CNI_OPTIONS = {
  "cni-bin-dir": text("Other", "Folder for the plugin; empty: don't install it", "FOLDER", "/opt/cni/bin"),
  "cni-conf": file(
    "Other",
    "The network configuration; empty: don't install it",
    "/etc/cni/net.d/10-flannel.conflist",
  ),
  "cni-conf-from": file("Other", "A network configuration to install; default: the usual one"),
};

/** Addresses of one host, separated by commas. */
function addresses(value: string): Ip[] {
  return value.split(",").map((part) => address()(part.trim()));
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
    uses: STORE,
  },
  "config get": { help: "Print the network config of the store", uses: STORE },
  "config check": {
    argument: "FILE|-",
    help: "Print a network config with all defaults, or all that is wrong with it",
    completes: "file",
    uses: [],
  },
  "cleanup": { help: "Remove everything that flanneld made on this host" },
  "status": {
    help: "Show how this host is: ready or not and why, its lease, the store, the peers",
    options: {
      "json": JSON_OUTPUT,
      "peers": own("Show every peer of a large network; with -json: add the peers to the document"),
      "watch": own("Show it again every 2 seconds, until Ctrl-C"),
    },
    uses: ["-subnet-file"],
    notes: ["Exit status: 0 if the host is ready, 1 if it isn't or no daemon answers."],
  },
  "probe": {
    argument: "[PEER|SUBNET|all]",
    help: "Ask peers for an echo, through the overlay and beside it, and say whose fault it is",
    options: {
      "count": counted("Echo requests through each of both", "COUNT", 5, [1, 1000]),
      "interval": {
        group: "Other",
        help: "Time between them",
        placeholder: "DURATION",
        default: 200,
        defaultText: "200ms",
        parse: milliseconds(10, 60_000),
        noEnvironment: true,
      } as OptionSpec<number>,
      "json": JSON_OUTPUT,
    },
    uses: ["-subnet-file", ...STORE, "Interface and addresses"],
    notes: [
      "PEER is a host's name, its public address, its subnet, or any address in its subnet; without one: all.",
      "At most 100 packets leave in a second. A running daemon names the peers, or else the store. Needs root.",
      "Exit status: 0 if all peers are well, 3 if there are warnings, 1 if there are faults.",
    ],
  },
  "capture": {
    argument: "[PEER]",
    help: "Write the packets from and to a peer to a pcapng file, outer and inner ones",
    options: {
      "o": {
        ...file("Other", "The file, - for stdout; default: flannel-HOST-TIME.pcapng"),
        noEnvironment: true,
      },
      "seconds": counted("Ends after so many seconds", "SECONDS", 60, [1, 86_400]),
      "megabytes": counted("Ends when the file has so many megabytes", "MEGABYTES", 100, [1, 100_000]),
      "force": own("Overwrite a file that is there"),
    },
    uses: ["-subnet-file", ...STORE, "Interface and addresses"],
    notes: [
      "PEER is a host's name, its public address, its subnet, or any address in its subnet; without one: all.",
      "Ctrl-C ends it, too; the file is whole then. It holds what containers send: keep it safe. Needs root.",
    ],
  },
  "leases map": {
    argument: "[FILE]",
    help: "Show which subnets of the network are used, reserved and free; without FILE: print it",
    completes: "file",
    options: { "svg": own("A picture (SVG) instead of text") },
    uses: STORE,
  },
  "leases list": {
    help: "List all leases of the network, from the store, and what is left of the pool",
    options: {
      "json": JSON_OUTPUT,
      "csv": own("Comma-separated values (RFC 4180) instead of a table"),
      "expiry": EXPIRY,
    },
    uses: STORE,
  },
  "leases show": {
    argument: "SUBNET|ADDRESS|HOST",
    help: "Show one lease: that of a subnet, of a host, or of the subnet that an address is in",
    options: { "json": JSON_OUTPUT },
    uses: STORE,
  },
  "leases pool": {
    help: "Show how much of the network is used, reserved, about to expire and free",
    options: { "json": JSON_OUTPUT, "expiry": EXPIRY },
    uses: STORE,
  },
  "leases reserve": {
    argument: "SUBNET",
    help: "Make a lease one that never expires, or reserve a free subnet",
    options: {
      "for": many<Ip>(
        "Other",
        "Public address of the host that gets a free subnet (in dual stack: both); without it no host gets it",
        "ADDRESS,...",
        addresses,
        { noEnvironment: true },
      ),
      "yes": YES,
    },
    uses: [...STORE, "-subnet-lease-ttl"],
  },
  "leases unreserve": {
    argument: "SUBNET",
    help: "Give a reservation its time to live back; one that is for no host is removed",
    options: { "yes": YES },
    uses: [...STORE, "-subnet-lease-ttl"],
  },
  "leases revoke": {
    argument: "SUBNET",
    help: "Delete a lease or reservation of another host, which loses its subnet",
    options: { "yes": YES },
    uses: STORE,
  },
  "leases release": {
    help: "Delete this host's own lease, for a host that leaves the network; no daemon may run",
    options: { "yes": YES },
    uses: [...STORE, "Interface and addresses", "-subnet-file"],
  },
  "doctor": {
    help: "Look for what keeps flanneld from working here; changes nothing",
    options: { "json": JSON_OUTPUT },
    notes: ["Exit status: 0 if all is well, 3 if there are warnings, 1 if there are faults."],
  },
  "report": {
    help: "Collect what a bug report needs into one archive, secrets masked",
    options: {
      "o": text(
        "Other",
        "The archive to write, - for stdout; default: flanneld-report-HOST-TIME.tar.gz",
        "FILE",
      ),
    },
    notes: ["It never overwrites a file. Parts that cannot be had are named, in the archive too."],
  },
  "cni": { uses: [], help: "The CNI plugin flannel: container runtimes call it" },
  "cni install": {
    help: "Put the CNI plugin and its network configuration where container runtimes look",
    options: CNI_OPTIONS,
    uses: [],
  },
  "wireguard rotate": {
    help: "Replace this host's WireGuard key; a running daemon publishes the new one",
    uses: [],
  },
  "version": { help: "Print the version", uses: [] },
  "completion": {
    argument: "SHELL",
    help: `Print a completion script for ${SHELLS.join(", ")}`,
    completes: SHELLS,
    uses: [],
  },
  "help": {
    argument: "[COMMAND]",
    help: "Print this text, or how a command is used (also COMMAND -help)",
    uses: [],
  },
} satisfies Record<string, CommandSpec>;

/** A command's words. */
export type CommandName = keyof typeof COMMANDS;

/** All commands, in the order of the declaration. */
export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

/** Every option that a command declares, by its name; those of one name take a value all, or none of them does. */
export const COMMAND_OPTIONS: OptionTable = Object.assign(
  {},
  ...Object.values<CommandSpec>(COMMANDS).map(({ options }) => options),
);

/** The commands that begin with these words: `leases` and `leases list` alike. */
export function commandsUnder(words: string): CommandName[] {
  return COMMAND_NAMES.filter((name) => name === words || name.startsWith(`${words} `));
}

/** The commands that take an option of this name as their own. */
export function commandsWith(option: string): CommandName[] {
  return COMMAND_NAMES.filter((name) => ownOptions(name)[option] !== undefined);
}

/** The options that a command declares. */
export function ownOptions(command: CommandName): OptionTable {
  const spec: CommandSpec = COMMANDS[command];
  return spec.options ?? {};
}

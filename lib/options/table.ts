/**
 * The one declaration of options and commands: parsing, environment, help and completion derive from it.
 *
 * @module
 */
import { IPV4, IPV6 } from "../net/family.ts";
import { type Ip, parseIp } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import * as value from "./values.ts";

/** Headings of the help text, in their order. */
export const GROUPS = [
  "Store",
  "Interface and addresses",
  "Subnet",
  "Firewall",
  "Health and log",
  "Cloud route tables",
  "Kubernetes (not built in)",
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
  /** How the help text writes the default; absent: nothing to say. */
  readonly defaultText?: string;
  /** Reads one value. @throws {RangeError} With the rule as message. */
  parse(text: string): T;
  /** May be given several times; T is then an array, and what each reading gives is appended. */
  readonly repeatable?: true;
  /** What completion offers for the value. */
  readonly completes?: "file" | "interface" | readonly string[];
  /** The commands that take it; absent: all. */
  readonly commands?: readonly string[];
  /** Not taken from the environment. */
  readonly noEnvironment?: true;
}

type Group = OptionSpec<unknown>["group"];
type Extra<T> = Partial<Omit<OptionSpec<T>, "group" | "help" | "default" | "parse">>;

function flag(
  group: Group,
  help: string,
  fallback: boolean,
  extra: Extra<boolean> = {},
): OptionSpec<boolean> {
  return { group, help, default: fallback, defaultText: String(fallback), parse: value.boolean, ...extra };
}

function integer(
  group: Group,
  help: string,
  placeholder: string,
  fallback: number,
  [min, max]: readonly [number, number],
): OptionSpec<number> {
  const parse = value.integer(min, max);
  return { group, help, placeholder, default: fallback, defaultText: String(fallback), parse };
}

function text(
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
function many<T>(
  group: Group,
  help: string,
  placeholder: string,
  parse: (text: string) => readonly T[],
  extra: Extra<readonly T[]> = {},
): OptionSpec<readonly T[]> {
  const orNone = (text: string) => text === "" ? [] : parse(text);
  return { group, help, placeholder, default: [], parse: orNone, repeatable: true, ...extra };
}

function file(group: Group, help: string, fallback = ""): OptionSpec<string> {
  return text(group, help, "FILE", fallback, { completes: "file" });
}

function address(group: Group, help: string, parse: (text: string) => Ip): OptionSpec<Ip | undefined> {
  // Scripts pass -public-ip "$ADDRESS" with an empty variable; as in the original that means none.
  const orNone = (text: string) => text === "" ? undefined : parse(text);
  return { group, help, placeholder: "ADDRESS", default: undefined, parse: orNone };
}

const DEFAULT_ENDPOINTS = "http://127.0.0.1:4001,http://127.0.0.1:2379";
const STORE = "Store";
const INTERFACE = "Interface and addresses";
const SUBNET = "Subnet";
const FIREWALL = "Firewall";
const HEALTH = "Health and log";
const KUBERNETES = "Kubernetes (not built in)";

/** A day in seconds, and the longest resync and lease in seconds that make any sense. */
const DAY = 86_400;
const YEAR = 365 * DAY;

/** Every option by its name. */
export const OPTIONS = {
  "store": {
    group: STORE,
    help: "Where config and leases live; sqlite is for one machine only",
    placeholder: "etcd|sqlite:PATH",
    default: { kind: "etcd" } as value.StoreChoice,
    defaultText: "etcd",
    parse: value.store,
    completes: ["etcd", "sqlite:"],
  },
  "etcd-endpoints": {
    group: STORE,
    help: "etcd's client addresses, separated by commas",
    placeholder: "URL,...",
    default: value.endpoints(DEFAULT_ENDPOINTS) as readonly string[],
    defaultText: DEFAULT_ENDPOINTS,
    parse: value.endpoints,
  },
  "etcd-prefix": {
    group: STORE,
    help: "Key prefix of the network in etcd",
    placeholder: "KEY",
    default: "/coreos.com/network",
    defaultText: "/coreos.com/network",
    parse: value.keyPrefix,
  },
  "etcd-cafile": file(STORE, "CA certificates that etcd's certificate is checked against"),
  "etcd-certfile": file(STORE, "Client certificate for etcd"),
  "etcd-keyfile": file(STORE, "Key of the client certificate"),
  "etcd-username": text(STORE, "User name for etcd", "NAME"),
  "etcd-password": text(
    STORE,
    "Password for etcd (better in FLANNELD_ETCD_PASSWORD: others see arguments)",
    "TEXT",
  ),

  "iface": many(
    INTERFACE,
    "Interface to the other hosts, by name or address; the first that fits is taken",
    "NAME|ADDRESS",
    (name) => [name],
    { completes: "interface" },
  ),
  "iface-regex": many(
    INTERFACE,
    "As -iface, by a regular expression on addresses, then on names; tried after every -iface",
    "REGEX",
    (regex) => [value.pattern(regex)],
  ),
  "iface-can-reach": address(
    INTERFACE,
    "Take the interface over which this address is reached; tried after every -iface-regex",
    value.address(),
  ),
  "public-ip": address(INTERFACE, "IPv4 address that other hosts use for this one", value.address(IPV4)),
  "public-ipv6": address(INTERFACE, "IPv6 address that other hosts use for this one", value.address(IPV6)),

  "udp-port": integer(
    INTERFACE,
    "Port of this host's udp backend; 0: the network config's (hosts behind one NAT address need one each)",
    "PORT",
    0,
    [0, 65535],
  ),

  "subnet-file": file(SUBNET, "Where the subnet is written for others to read", "/run/flannel/subnet.env"),
  "subnet-lease-renew-margin": integer(
    SUBNET,
    "Minutes left of the lease when it is renewed",
    "MINUTES",
    60,
    [
      1,
      1439,
    ],
  ),
  "subnet-lease-ttl": {
    group: SUBNET,
    help: "How long the lease lasts without renewal",
    placeholder: "DURATION",
    default: DAY,
    defaultText: "24h",
    parse: value.seconds(5, 10 * YEAR),
  },
  "ip-blackhole-route": flag(SUBNET, "Add a blackhole route for the host's own subnet", false),

  "ip-masq": flag(FIREWALL, "Masquerade traffic that leaves the network", false),
  "ip-masq-fully-random-disable": flag(FIREWALL, "Masquerade without fully random ports", false),
  "ip-masq-exclude": many<Prefix>(
    FIREWALL,
    "Destinations that are never masqueraded",
    "CIDR,...",
    value.prefixes,
  ),
  "iptables-resync": integer(FIREWALL, "Seconds between checks of the rules", "SECONDS", 5, [1, DAY]),
  "iptables-forward-rules": flag(FIREWALL, "Accept forwarded traffic of the network", true),

  "healthz-ip": {
    group: HEALTH,
    help: "Address to serve /healthz, /readyz, /metrics and /status on",
    placeholder: "ADDRESS",
    default: parseIp("0.0.0.0"),
    defaultText: "0.0.0.0",
    parse: value.address(),
  },
  "healthz-port": integer(HEALTH, "Port of it; 0: off", "PORT", 0, [0, 65535]),
  "log-format": {
    group: HEALTH,
    help: "Form of the log lines on stderr",
    placeholder: "text|json",
    default: "text" as "text" | "json",
    defaultText: "text",
    parse: value.oneOf("text", "json"),
    completes: ["text", "json"],
  },
  "v": integer(HEALTH, "Log level; 1 and above log details", "LEVEL", 0, [0, 100]),
  "vmodule": text(HEALTH, "Taken for compatibility, without effect", "PATTERN=LEVEL,..."),
  "log_backtrace_at": text(HEALTH, "Taken for compatibility, without effect", "FILE:LINE"),

  "cloud-resync": integer(
    "Cloud route tables",
    "Seconds between checks of the cloud's routes",
    "SECONDS",
    120,
    [
      1,
      DAY,
    ],
  ),

  "kube-subnet-mgr": flag(KUBERNETES, "Leases in the Kubernetes API", false),
  "kube-api-url": text(KUBERNETES, "Address of the API server", "URL"),
  "kube-annotation-prefix": text(KUBERNETES, "Prefix of annotations", "PREFIX", "flannel.alpha.coreos.com"),
  "kubeconfig-file": file(KUBERNETES, "kubeconfig file"),
  "net-config-path": file(KUBERNETES, "Network config file", "/etc/kube-flannel/net-conf.json"),
  "set-node-network-unavailable": flag(KUBERNETES, "Set the node's NetworkUnavailable condition", true),

  "json": flag("Other", "JSON instead of text", false, { commands: ["status"], noEnvironment: true }),
  // Images and units often carry FLANNELD_VERSION with a version number in it.
  "version": flag("Other", "Print the version and exit", false, { noEnvironment: true }),
  "help": flag("Other", "Print this text and exit (also -h)", false, { noEnvironment: true }),
} satisfies Record<string, OptionSpec<unknown>>;

/** Name of an option as it stands on the command line, without the dash. */
export type OptionName = keyof typeof OPTIONS;

/** All names, in the order of the declaration. */
export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}`
  : S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

/** The value of every option: `etcd-endpoints` is `etcdEndpoints`. */
export type Options = {
  readonly [Name in OptionName as Camel<Name>]: (typeof OPTIONS)[Name]["default"];
};

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

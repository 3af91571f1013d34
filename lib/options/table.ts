/**
 * The one declaration of options: parsing, environment, help and completion derive from it. Backends declare options
 * of their own (lib/backend/registry.ts).
 *
 * @module
 */
import { IPV4, IPV6 } from "../net/family.ts";
import { parseIp } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import {
  address,
  type DeclaredOptions,
  file,
  flag,
  integer,
  many,
  type OptionSpec,
  type OptionTable,
  text,
} from "./spec.ts";
import * as value from "./values.ts";

const DEFAULT_ENDPOINTS = "http://127.0.0.1:4001,http://127.0.0.1:2379";
const STORE = "Store";
const INTERFACE = "Interface and addresses";
const SUBNET = "Subnet";
const FIREWALL = "Firewall";
const HEALTH = "Health and log";
const KUBERNETES = "Kubernetes";

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
    { singleVariable: true },
  ),
  "iface-can-reach": address(
    INTERFACE,
    "Take the interface over which this address is reached; tried after every -iface-regex",
    value.address(),
  ),
  "public-ip": address(INTERFACE, "IPv4 address that other hosts use for this one", value.address(IPV4)),
  "public-ipv6": address(INTERFACE, "IPv6 address that other hosts use for this one", value.address(IPV6)),

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
    values: "whole seconds from 5 to 10 years, as a number or like 1h30m",
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
    help: "Address to serve /healthz, /readyz, /metrics, /status and the page on",
    placeholder: "ADDRESS",
    default: parseIp("0.0.0.0"),
    defaultText: "0.0.0.0",
    parse: value.address(),
  },
  "web-allow": many<Prefix | string>(
    HEALTH,
    "Who else than this host may see the page and /status: networks, and names that the host is called by",
    "CIDR|NAME,...",
    value.networksAndNames,
  ),
  "healthz-port": integer(HEALTH, "Port of it; 0: off", "PORT", 0, [0, 65535]),
  "probe-interval": {
    group: HEALTH,
    help: "Time between two echo requests to each peer, for status and metrics; 0: none",
    placeholder: "DURATION",
    default: 0,
    defaultText: "0",
    parse: value.seconds(0, DAY),
  },
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

  "kube-subnet-mgr": flag(KUBERNETES, "Leases in the Kubernetes API", false),
  "kube-api-url": text(KUBERNETES, "Address of the API server", "URL"),
  "kube-annotation-prefix": text(KUBERNETES, "Prefix of annotations", "PREFIX", "flannel.alpha.coreos.com"),
  "kubeconfig-file": file(KUBERNETES, "kubeconfig file"),
  "net-config-path": file(KUBERNETES, "Network config file", "/etc/kube-flannel/net-conf.json"),
  "set-node-network-unavailable": flag(KUBERNETES, "Set the node's NetworkUnavailable condition", true),

  // Images and units often carry FLANNELD_VERSION with a version number in it.
  "version": flag("Other", "Print the version and exit", false, { noEnvironment: true }),
  "help": flag("Other", "Print this text and exit (also -h)", false, { noEnvironment: true }),
} satisfies Record<string, OptionSpec<unknown>>;

/** Name of an option as it stands on the command line, without the dash. */
export type OptionName = keyof typeof OPTIONS;

type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}`
  : S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;

/** The value of every option: `etcd-endpoints` is `etcdEndpoints`. */
export type Options =
  & {
    readonly [Name in OptionName as Camel<Name>]: (typeof OPTIONS)[Name]["default"];
  }
  & {
    /** The values of the backends' own options. */
    readonly backend: DeclaredOptions;
  };

/** The daemon's options and those that backends declare. */
export function withBackendOptions(backendOptions: OptionTable): OptionTable {
  return { ...OPTIONS, ...backendOptions };
}

/**
 * All that flanneld makes on a host, as lines that can be compared: devices with every attribute, addresses, routes,
 * next hops, neighbours, forwarding entries, firewall, settings, subnet file and readiness.
 *
 * What differs between two starts of the same daemon (interface indexes, next hop ids) isn't part of it.
 *
 * @module
 */
import type { ChaosHost } from "./chaos_host.ts";
import { HEALTH_PORT } from "../lab/host.ts";

/** Texts that stand for a lease's or a host's values, and the names that they get. */
export type Symbols = ReadonlyMap<string, string>;

type Row = Readonly<Record<string, unknown>>;

/** Separates the parts of the script's output: no program prints it. */
const SEPARATOR = "\x1e";

/** Links whose entries are the container runtime's. */
const OTHERS_LINK = /^(lo|cni0|veth\d+)$/;

/** Keys of `ip -j` whose values say nothing about what was asked for. */
const PASSING_KEYS = new Set(["ifindex", "link_index", "link_netnsid", "nhid", "id", "used", "updated"]);

const COMMANDS: readonly string[] = [
  "ip -j -d link show",
  "ip -j address show",
  "ip -j -d -4 route show table all",
  "ip -j -d -6 route show table all",
  "ip -j -d nexthop show",
  "ip -j -4 neigh show nud permanent",
  "ip -j -6 neigh show nud permanent",
  "bridge -j fdb show",
  "nft -s list ruleset",
  "iptables-save",
  "ip6tables-save",
  "for dev in /proc/sys/net/ipv[46]/conf/flannel*; do grep -s . $dev/*; done",
  'for dev in /sys/class/net/flannel*; do ethtool -k ${dev##*/} | sed -n "/tx-checksum-ip-generic/s/^/${dev##*/}/p"; done',
  // Without endpoints and counters: peers roam, and packets pass. Only this host's devices: user-space sockets of
  // other programs on this machine stand in the same folder.
  "for dev in $(ls /sys/class/net | grep ^flannel-wg); do " +
  'for what in public-key listen-port persistent-keepalive; do wg show $dev $what | sed "s/^/$dev $what /"; done; ' +
  'wg show $dev allowed-ips | while read key ips; do echo $dev $key $(printf "%s\\n" $ips | sort); done; done',
];

/** The text of /metrics and the status of /readyz. */
const HTTP_COMMANDS: readonly string[] = ["/readyz", "/metrics"].map((path) =>
  `exec 3<>/dev/tcp/127.0.0.1/${HEALTH_PORT} &&
    printf 'GET ${path} HTTP/1.0\\r\\nHost: lab\\r\\nConnection: close\\r\\n\\r\\n' >&3 && timeout 5 cat <&3`
);

const SCRIPT = [...COMMANDS, ...HTTP_COMMANDS.map((command) => `(${command})`)]
  .map((command) => `${command} 2>/dev/null; printf '${SEPARATOR}'`).join("\n");

function jsonRows(text: string): Row[] {
  return text.trim() === "" ? [] : JSON.parse(text) as Row[];
}

/** A row without what passes, in a fixed order. */
function canonical(row: Row): string {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).filter(([key]) => !PASSING_KEYS.has(key));
    return Object.fromEntries(
      entries.sort(([a], [b]) => a < b ? -1 : 1).map(([key, each]) => [key, plain(each)]),
    );
  };
  return JSON.stringify(plain(row));
}

function linkLines(links: readonly Row[]): string[] {
  return links.filter(({ ifname }) => !OTHERS_LINK.test(String(ifname))).map((link) => {
    if (String(link["ifname"]).startsWith("flannel")) return `link ${canonical(link)}`;
    // The underlay's other attributes are the network manager's.
    return `link ${canonical({ ifname: link["ifname"], mtu: link["mtu"], operstate: link["operstate"] })}`;
  });
}

function addressLines(links: readonly Row[]): string[] {
  return links.filter(({ ifname }) => !OTHERS_LINK.test(String(ifname))).flatMap((link) =>
    (link["addr_info"] as readonly Row[]).map((address) => `address ${link["ifname"]} ${canonical(address)}`)
  );
}

function entryLines(kind: string, rows: readonly Row[]): string[] {
  return rows.filter(({ dev, ifname, type }) =>
    !OTHERS_LINK.test(String(dev ?? ifname ?? "")) && type !== "multicast"
  ).map((row) => `${kind} ${canonical(row)}`);
}

/** Forwarding entries of flannel's devices: the underlay's are multicast groups that the kernel joined. */
function fdbLines(rows: readonly Row[]): string[] {
  return entryLines("fdb", rows.filter(({ ifname }) => String(ifname).startsWith("flannel")));
}

/**
 * nft's ruleset without the tables of iptables, which are printed by iptables-save: nft can't print every target of
 * theirs, and which it can depends on what was loaded before.
 */
function withoutIptables(ruleset: string): string {
  return ruleset.replaceAll(/^table ip6? (?:nat|filter|mangle|raw|security) \{\n[^]*?^\}\n/gm, "");
}

/** Rules in their order: each line with the table and the chain that it stands in, and its place there. */
function rulesetLines(kind: string, text: string): string[] {
  const path: string[] = [];
  let place = 0;
  const lines: string[] = [];
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line === "" || line.startsWith("#") || line === "COMMIT") continue;
    if (line === "}") {
      path.pop();
      continue;
    }
    if (line.startsWith("*")) path.splice(0, path.length, line);
    if (line.endsWith("{") || line.startsWith("*")) place = 0;
    // Packet counters of a chain.
    lines.push(`${kind} ${[...path, `${place++}`].join(" ")} ${line.replace(/ \[\d+:\d+\]$/, "")}`);
    if (line.endsWith("{")) path.push(line);
  }
  return lines;
}

function plainLines(kind: string, text: string): string[] {
  return text.split("\n").filter((line) => line !== "" && !line.includes("stable_secret")).map((line) =>
    `${kind} ${line}`
  );
}

function readyLines(answer: string): string[] {
  const status = /^HTTP\/\S+ (\d+)/.exec(answer)?.[1] ?? "no answer";
  const reasons = status === "503" ? answer.split(/\r?\n\r?\n/)[1]?.trim().split("\n") ?? [] : [];
  return [[`ready ${status}`, ...reasons].join(", ")];
}

/** What the daemon itself calls wrong. */
function problemLines(metrics: string): string[] {
  return metrics.split("\n").filter((line) => /^flannel_problem\{.*\} [1-9]/.test(line)).map((line) =>
    `problem ${line}`
  );
}

/** Kernels give such addresses by chance, or from a MAC. */
const LINK_LOCAL = /fe80::[0-9a-f:]+(?!\/)/g;

/** Puts names in the place of values. The longest values go first: one may be another's beginning. */
export function symbolise(line: string, symbols: Symbols): string {
  let text = line.replaceAll(LINK_LOCAL, "<link-local>");
  for (const [value, name] of [...symbols].sort(([a], [b]) => b.length - a.length)) {
    // Keys are base64, whose plus sign means something in an expression.
    const escaped = value.replaceAll(/[.+]/g, "\\$&");
    text = text.replaceAll(new RegExp(`(?<![\\w.:])${escaped}(?![\\w.:])`, "g"), `<${name}>`);
  }
  return text;
}

/** Reads the state of a host. Entries of equal content are as many lines. */
export async function readState(host: ChaosHost, symbols: Symbols): Promise<string[]> {
  const { stdout } = await host.seeing(["bash", "-c", SCRIPT]);
  const parts = stdout.split(SEPARATOR);
  const [links, addresses, ...tables] = parts.slice(0, 8).map(jsonRows);
  const [routes4, routes6, nexthops, neighbours4, neighbours6, fdb] = tables;
  const [nft, iptables, ip6tables, settings, features, wireguard, ready, metrics] = parts.slice(8);
  const file = await Deno.readTextFile(host.host.subnetFile).catch(() => "absent");
  const lines = [
    ...linkLines(links!),
    ...addressLines(addresses!),
    ...entryLines("route", [...routes4!, ...routes6!]),
    ...entryLines("nexthop", nexthops!),
    ...entryLines("neighbour", [...neighbours4!, ...neighbours6!.filter(isIpv6)]),
    ...fdbLines(fdb!),
    ...rulesetLines("nft", withoutIptables(nft!)),
    ...rulesetLines("iptables", iptables!),
    ...rulesetLines("ip6tables", ip6tables!),
    ...plainLines("setting", settings!),
    ...plainLines("feature", features!),
    ...plainLines("wireguard", wireguard!),
    ...plainLines("subnet file", file),
    ...readyLines(ready!),
    ...problemLines(metrics!),
  ];
  return lines.map((line) => symbolise(line, symbols)).sort();
}

/** `ip -6 neigh` prints those of IPv4 as well where a state is asked for. */
function isIpv6({ dst }: Row): boolean {
  return String(dst).includes(":");
}

/** What is missing (`-`) and what is there too much (`+`), against what is to be there. */
export function difference(wanted: readonly string[], present: readonly string[]): string[] {
  const count = new Map<string, number>();
  for (const line of wanted) count.set(line, (count.get(line) ?? 0) - 1);
  for (const line of present) count.set(line, (count.get(line) ?? 0) + 1);
  return [...count].flatMap(([line, excess]) =>
    Array.from({ length: Math.abs(excess) }, () => `${excess > 0 ? "+" : "-"} ${line}`)
  );
}

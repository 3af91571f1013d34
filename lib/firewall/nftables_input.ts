/**
 * Input chains of other programs in nftables that drop a tunnel's packets.
 *
 * In nftables an accept ends only its own base chain: a packet must be let through by every base chain at the hook.
 *
 * @module
 */
import type { Prefix } from "../net/prefix.ts";
import { containsIp, prefixOf } from "../net/prefix.ts";
import { tryParseIp } from "../net/ip.ts";
import { allHold, type ArrivingPacket, type Holds, negated } from "./arrival.ts";
import { type NftObject, objectOf, parseListing } from "./nft_json.ts";

/** A base chain at the input hook. */
export interface InputChain {
  /** nft's family: `ip`, `ip6` or `inet`. */
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/** Those among the chains that `nft -j list chains` printed; iptables' own are none of them. */
export function inputChains(listing: string): InputChain[] {
  return parseListing(listing).flatMap(({ chain }) => {
    if (chain?.["hook"] !== "input" || chain["type"] !== "filter") return [];
    const [family, table, name] = [chain["family"], chain["table"], chain["name"]].map(String) as [
      string,
      string,
      string,
    ];
    const isIptables = (family === "ip" || family === "ip6") && table === "filter" && name === "INPUT";
    return isIptables || !["ip", "ip6", "inet"].includes(family) ? [] : [{ family, table, name }];
  });
}

/**
 * Whether the chain that `nft -j list chain` printed drops the packet for sure: by its policy or a rule, and with no
 * rule before that might accept it, or lead elsewhere.
 */
export function dropsForSure(listing: string, packet: ArrivingPacket): boolean {
  let policy: unknown;
  for (const { chain, rule } of parseListing(listing)) {
    if (chain) {
      if (chain["family"] === (packet.family.version === 4 ? "ip6" : "ip")) return false;
      policy = chain["policy"];
    }
    if (!rule) continue;
    const end = endOf(rule["expr"] as NftObject[], packet);
    if (end !== "goes on") return end === "drops";
  }
  return policy === "drop";
}

/** `maybe` where it can't be known whether it gets on: the packet isn't dropped for sure then. */
function endOf(expr: readonly NftObject[], packet: ArrivingPacket): "drops" | "maybe" | "goes on" {
  const holds = allHold(expr.map((statement) => conditionOf(statement, packet)));
  if (holds === false) return "goes on";
  const last = expr.at(-1) ?? {};
  const ends = ["accept", "jump", "goto", "return", "queue", "text", "vmap"].some((kind) =>
    kind in last && !(kind === "vmap" && stateVerdict(last["vmap"]) === "goes on")
  );
  if (ends) return "maybe";
  const drops = "drop" in last || "reject" in last;
  // A drop that is unsure: the packet may go on to the next rule.
  return drops && holds === true ? "drops" : "goes on";
}

/** What a statement asks of the packet; true for one that asks nothing. */
function conditionOf(statement: NftObject, packet: ArrivingPacket): Holds {
  if ("limit" in statement || "text" in statement || "xt" in statement) return undefined;
  if (!("match" in statement)) return true;
  const { left, right, op } = objectOf(statement["match"]);
  const holds = leftHolds(objectOf(left), right, packet);
  return op === "!=" ? negated(holds) : holds;
}

function leftHolds(left: NftObject, right: unknown, packet: ArrivingPacket): Holds {
  const { key } = objectOf(left["ct"] ?? left["meta"]);
  if ("ct" in left) return key === "state" ? values(right).includes("new") : undefined;
  if (key === "iifname" || key === "iif") return values(right).some((name) => fits(name, packet.device));
  if (key === "l4proto") return hasProtocol(right, packet);
  if (key === "nfproto") return values(right).includes(`ipv${packet.family.version}`);
  const { protocol, field } = objectOf(left["payload"]);
  if ((protocol === "ip" || protocol === "ip6") && (field === "protocol" || field === "nexthdr")) {
    return hasProtocol(right, packet);
  }
  if ((protocol === "ip" || protocol === "ip6") && field === "saddr") {
    return packet.from && anyPrefix(right, (prefix) => containsIp(prefix, packet.from!));
  }
  if (protocol === "udp" || protocol === "th") {
    if (field !== "dport" || packet.udpPort === undefined) {
      return packet.udpPort === undefined ? false : undefined;
    }
    return hasPort(right, packet.udpPort);
  }
  // Of another protocol: it isn't our packet.
  return protocol === "tcp" || protocol === "icmp" || protocol === "icmpv6" || protocol === "sctp"
    ? false
    : undefined;
}

/** The members of a set or a list, or the one value. */
function values(right: unknown): unknown[] {
  if (Array.isArray(right)) return right;
  const { set } = objectOf(right);
  return Array.isArray(set) ? set : [right];
}

function fits(name: unknown, device: string): boolean {
  if (typeof name !== "string") return false;
  return name.endsWith("*") ? device.startsWith(name.slice(0, -1)) : name === device;
}

function hasProtocol(right: unknown, { ipProtocol }: ArrivingPacket): Holds {
  if (isNamedSet(right)) return undefined;
  const names: Record<string, number> = { udp: 17, tcp: 6, icmp: 1, "ipv6-icmp": 58, ipip: 4, ipencap: 4 };
  return values(right).some((one) => (typeof one === "number" ? one : names[String(one)]) === ipProtocol);
}

function hasPort(right: unknown, port: number): Holds {
  if (isNamedSet(right)) return undefined;
  return values(right).some((one) => {
    const { range } = objectOf(one);
    if (Array.isArray(range)) return Number(range[0]) <= port && port <= Number(range[1]);
    return Number(one) === port;
  });
}

function anyPrefix(right: unknown, is: (prefix: Prefix) => boolean): Holds {
  if (isNamedSet(right)) return undefined;
  const held = values(right).map((one) => {
    const { prefix } = objectOf(one);
    const { addr = one, len } = objectOf(prefix);
    const ip = tryParseIp(String(addr));
    return ip && is(prefixOf(ip, typeof len === "number" ? len : ip.family.bits));
  });
  return held.includes(true) || (held.includes(undefined) ? undefined : false);
}

/** `@name`: its members stand elsewhere. */
function isNamedSet(right: unknown): boolean {
  return typeof right === "string" && right.startsWith("@");
}

/** What `ct state vmap { … }` does with the first packet of a flow. */
function stateVerdict(vmap: unknown): "goes on" | "maybe" {
  const { key, data } = objectOf(vmap);
  if (objectOf(objectOf(key)["ct"])["key"] !== "state") return "maybe";
  const pairs = values(data);
  return pairs.some((pair) => Array.isArray(pair) && values(pair[0]).includes("new")) ? "maybe" : "goes on";
}

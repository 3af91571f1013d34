/**
 * What iptables' INPUT makes of a packet, as far as its rules say.
 *
 * @module
 */
import { tryParseIp } from "../net/ip.ts";
import { containsIp, parsePrefix } from "../net/prefix.ts";
import { allHold, type ArrivingPacket, type Holds, negated } from "./arrival.ts";
import { ruleConditions, ruleTarget, type SavedTable } from "./iptables_text.ts";

/** Chains are walked this deep; the kernel refuses loops. */
const MAX_DEPTH = 16;

/** Names of protocols as iptables-save prints them (/etc/protocols), where they aren't numbers. */
const PROTOCOLS: Readonly<Record<string, number>> = {
  ...{ icmp: 1, ipencap: 4, ipip: 4, tcp: 6, udp: 17, ipv6: 41, gre: 47, esp: 50, ah: 51 },
  ...{ "ipv6-icmp": 58, sctp: 132, udplite: 136 },
};

/** Match modules that say nothing by themselves: their options do. */
const SILENT_MODULES = new Set([
  ...["udp", "tcp", "icmp", "icmp6", "conntrack", "state", "addrtype", "multiport", "comment"],
]);

/** Target that ends the way of a packet; REJECT is a drop with an answer. */
type Verdict = "accept" | "drop";

/** What becomes of a packet. */
export interface Fate {
  /** `unsure` where it hangs on what the rules alone don't say, like a set or a rate. */
  readonly verdict: Verdict | "unsure";
  /** What decides: `-A CHAIN …` or `-P INPUT DROP`. */
  readonly by: string;
}

/** Walks the filter table's INPUT. */
export function fateOf(table: SavedTable, packet: ArrivingPacket): Fate {
  const walk = new Walk(table, packet);
  const end = walk.chain("INPUT", true, 0);
  const policy = table.policies.get("INPUT") ?? "ACCEPT";
  const { verdict, by } = end ??
    { verdict: policy === "ACCEPT" ? "accept" : "drop", by: `-P INPUT ${policy}` } as const;
  return { verdict: walk.possible.has(verdict === "drop" ? "accept" : "drop") ? "unsure" : verdict, by };
}

class Walk {
  /** Verdicts that the packet may get on its way. */
  readonly possible = new Set<Verdict>();

  constructor(readonly table: SavedTable, readonly packet: ArrivingPacket) {}

  /**
   * The verdict that the packet gets for sure, undefined where the chain ends without one.
   *
   * @param certain Whether the packet gets to this chain for sure.
   */
  chain(name: string, certain: boolean, depth: number): { verdict: Verdict; by: string } | undefined {
    for (const rule of this.table.rules.get(name) ?? []) {
      const holds = allHold(
        ruleConditions(rule, this.packet.family).map((condition) => this.#holds(condition)),
      );
      const target = ruleTarget(rule);
      if (holds === false || target === undefined) continue;
      const sure = certain && holds === true;
      if (target === "RETURN") {
        if (holds) return undefined;
        // The rest of the chain is for those that didn't leave.
        certain = false;
        continue;
      }
      const verdict = verdictOf(target);
      if (verdict !== undefined) {
        if (sure) return { verdict, by: `-A ${name} ${rule}` };
        this.possible.add(verdict);
        // Nothing gets past a rule that holds.
        if (holds) return undefined;
        continue;
      }
      if (!this.table.policies.has(target) || depth > MAX_DEPTH) continue;
      const end = this.chain(target, sure, depth + 1);
      if (end) return end;
      if (/(?:^|\s)-g /.test(rule)) {
        if (holds) return undefined;
        certain = false;
      }
    }
    return undefined;
  }

  #holds(condition: string): Holds {
    const isNegated = condition.startsWith("! ");
    const [name = "", ...values] = (isNegated ? condition.slice(2) : condition).split(" ");
    const holds = this.#plainHolds(name, values);
    return isNegated ? negated(holds) : holds;
  }

  #plainHolds(name: string, values: readonly string[]): Holds {
    const { packet } = this;
    const [value = ""] = values;
    switch (name) {
      case "-m":
        return SILENT_MODULES.has(value) ? true : undefined;
      case "--comment":
        return true;
      case "-p":
        return value === "all" || (PROTOCOLS[value] ?? Number(value)) === packet.ipProtocol;
      case "-i":
        return value.endsWith("+") ? packet.device.startsWith(value.slice(0, -1)) : value === packet.device;
      case "-s":
        return packet.from && containsIp(parsePrefix(withLength(value)), packet.from);
      case "--dport":
      case "--dports":
        return packet.udpPort !== undefined && hasPort(value, packet.udpPort);
      case "--ctstate":
      case "--state":
        return value.split(",").includes("NEW");
      case "--dst-type":
        // It came to INPUT: it is for this host.
        return value.split(",").includes("LOCAL");
      default:
        return undefined;
    }
  }
}

function verdictOf(target: string): Verdict | undefined {
  if (target === "ACCEPT") return "accept";
  return target === "DROP" || target === "REJECT" ? "drop" : undefined;
}

function hasPort(list: string, port: number): boolean {
  return list.split(",").some((range) => {
    const [first = "", last = first] = range.split(":");
    return Number(first) <= port && port <= Number(last || 65535);
  });
}

/** iptables-save leaves the length of a whole address out in some versions. */
function withLength(prefix: string): string {
  return prefix.includes("/") ? prefix : `${prefix}/${tryParseIp(prefix)?.family.bits ?? 32}`;
}

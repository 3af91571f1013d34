/**
 * Masquerade and forward rules as a value, the same for iptables and nftables.
 *
 * Order and matches are the original's, so that hosts of both kinds treat packets alike.
 *
 * @module
 */
import type { Family, PerFamily } from "../net/family.ts";
import { type Ip, ipOf } from "../net/ip.ts";
import { type Prefix, prefixOf } from "../net/prefix.ts";

/** Mark that kube-proxy puts on packets that it masquerades itself (KUBE-MARK-MASQ). */
export const KUBE_PROXY_MARK = 0x4000;

/** What an address must lie in, or must not. */
export interface PrefixMatch {
  readonly prefix: Prefix;
  readonly negated: boolean;
}

/** One rule: packets that meet all conditions get the action. */
export interface Rule {
  /** The packet's mark has these bits, all of them. */
  readonly mark?: number;
  readonly source?: PrefixMatch;
  readonly destination?: PrefixMatch;
  readonly action: "return" | "accept" | "masquerade";
}

/** What one address family's firewall holds. An absent list: no such chain. */
export interface FamilyRuleset {
  readonly family: Family;
  /** Rules after routing, in order. */
  readonly masquerade?: readonly Rule[];
  /** Rules for forwarded packets, in order. */
  readonly forward?: readonly Rule[];
}

/** Everything that the firewall holds for one network. */
export interface Ruleset {
  readonly families: readonly FamilyRuleset[];
  /** Masquerading picks source ports at random (NF_NAT_RANGE_PROTO_RANDOM_FULLY, Linux 3.14). */
  readonly fullyRandom: boolean;
}

/** What the rules follow from. */
export interface RulesetInput {
  /** The families in use, with their networks. */
  readonly families: readonly { readonly family: Family; readonly network: Prefix }[];
  /** Own subnets; a family without one gets no masquerade rules. */
  readonly subnets: PerFamily<Prefix>;
  /** -ip-masq */
  readonly masquerade: boolean;
  /** -iptables-forward-rules */
  readonly forward: boolean;
  /** Not -ip-masq-fully-random-disable. */
  readonly fullyRandom: boolean;
  /** -ip-masq-exclude: destinations that containers reach with their own address. */
  readonly exclude: readonly Prefix[];
}

/** The rules that follow from config, lease and options. */
export function ruleset(input: RulesetInput): Ruleset {
  return {
    families: input.families.map(({ family, network }) => {
      const subnet = input.subnets[family.name];
      const exclude = input.exclude.filter((prefix) => prefix.family === family);
      return {
        family,
        ...(input.masquerade && subnet && { masquerade: masqueradeRules(network, subnet, exclude) }),
        ...(input.forward && { forward: forwardRules(network) }),
      };
    }),
    fullyRandom: input.fullyRandom,
  };
}

/** Whether there is any rule in it at all: without one, no firewall program is needed. */
export function isEmptyRuleset(rules: Ruleset): boolean {
  return rules.families.every((family) => !family.masquerade && !family.forward);
}

function masqueradeRules(network: Prefix, subnet: Prefix, exclude: readonly Prefix[]): Rule[] {
  return [
    // kube-proxy masquerades these itself; twice breaks on some kernels.
    { mark: KUBE_PROXY_MARK, action: "return" },
    rule(is(subnet), is(network), "return"),
    rule(is(network), is(subnet), "return"),
    // From outside, straight to a container of this host: its replies go back the same way.
    rule(not(network), is(subnet), "return"),
    ...exclude.map((prefix) => rule(is(network), is(prefix), "return")),
    rule(is(network), not(multicast(network.family)), "masquerade"),
    // From the host itself or from outside to another host's containers: the answer must come back here.
    rule(not(network), is(network), "masquerade"),
  ];
}

function forwardRules(network: Prefix): Rule[] {
  return [rule(is(network), undefined, "accept"), rule(undefined, is(network), "accept")];
}

function rule(
  source: PrefixMatch | undefined,
  destination: PrefixMatch | undefined,
  action: Rule["action"],
): Rule {
  return {
    // A match of every address is none: iptables prints it as nothing, nft refuses it.
    ...(source && source.prefix.length > 0 && { source }),
    ...(destination && destination.prefix.length > 0 && { destination }),
    action,
  };
}

const is = (prefix: Prefix): PrefixMatch => ({ prefix, negated: false });
const not = (prefix: Prefix): PrefixMatch => ({ prefix, negated: true });

/** Multicast addresses: 224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291). */
export function multicast(family: Family): Prefix {
  const [top, length] = family.version === 4 ? [0xe0n, 4] : [0xffn, 8];
  const lowest: Ip = ipOf(family, top << BigInt(family.bits - 8));
  return prefixOf(lowest, length);
}

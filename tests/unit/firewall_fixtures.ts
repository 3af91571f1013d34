/**
 * The rules of one host in one network, as the firewall's tests have them.
 *
 * @module
 */
import { firewallNames } from "../../lib/firewall/names.ts";
import { type FamilyRuleset, ruleset } from "../../lib/firewall/rules.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";

/** Names of the chains of the network. */
export const NAMES = firewallNames("/coreos.com/network");

/** Masquerade and forward rules for IPv4. @param exclude Networks that are not masqueraded. */
export function ipv4Rules(exclude: readonly string[] = []): FamilyRuleset {
  return ruleset({
    families: [{ family: IPV4, network: parsePrefix("10.5.0.0/16") }],
    subnets: { ipv4: parsePrefix("10.5.72.0/24") },
    masquerade: true,
    forward: true,
    fullyRandom: true,
    exclude: exclude.map(parsePrefix),
  }).families[0]!;
}

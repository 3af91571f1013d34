/**
 * Chains of other programs that drop forwarded packets whatever our rules accept.
 *
 * In nftables an accept ends only its own base chain: a packet must be let through by every base chain at the
 * hook. What isn't ours is not changed, but a warning names it.
 *
 * @module
 */
import { type NftObject, parseListing } from "./nft_json.ts";

/** A base chain at the forward hook whose policy is drop. */
export interface DroppingChain {
  /** nft's family: `ip`, `ip6` or `inet`. */
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/**
 * The chains among those that `nft -j list chains` printed that drop forwarded packets by policy. iptables' own
 * FORWARD is none of them: our rules are put there too.
 */
export function droppingChains(listing: string): DroppingChain[] {
  const found: DroppingChain[] = [];
  for (const { chain } of parseListing(listing)) {
    if (chain?.hook !== "forward" || chain.policy !== "drop") continue;
    const [family, table, name] = [String(chain.family), String(chain.table), String(chain.name)];
    const isIptables = (family === "ip" || family === "ip6") && table === "filter" && name === "FORWARD";
    if (!isIptables) found.push({ family, table, name });
  }
  return found;
}

/**
 * Whether the chain that `nft -j list chain` printed drops packets whatever they are: by its policy, or by a rule
 * without a condition.
 */
export function cutsForwarding(listing: string): boolean {
  return parseListing(listing).some(({ chain, rule }) =>
    chain?.policy === "drop" || (rule !== undefined && isUnconditionalDrop(rule.expr as NftObject[]))
  );
}

function isUnconditionalDrop(expr: readonly NftObject[]): boolean {
  const [only, ...more] = expr.filter((expression) => !("counter" in expression));
  return more.length === 0 && only !== undefined && ("drop" in only || "reject" in only);
}

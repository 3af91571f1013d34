/**
 * What drops forwarded packets: policies of iptables and nftables, and whether our accept rules are in force.
 *
 * @module
 */
import { type DroppingChain, droppingChains } from "../../firewall/foreign_chains.ts";
import { firewallNames } from "../../firewall/names.ts";
import { networkIdOf } from "../../daemon/store.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { type Check, type Finding, ok } from "../types.ts";

/** FORWARD of one iptables. */
export interface ForwardChain {
  /** The program that shows it. */
  readonly program: string;
  readonly policy: string;
  /** A jump to our chain is in it. */
  readonly acceptsOurs: boolean;
  /** Docker's chains are in it. */
  readonly hasDocker: boolean;
  /** ufw's chains are in it. */
  readonly hasUfw: boolean;
}

interface ForwardFacts {
  readonly chains: readonly ForwardChain[];
  /** Base chains of others in nftables that drop by policy. */
  readonly dropping: readonly DroppingChain[];
  /** Our table of nftables is there. */
  readonly hasOwnTable: boolean;
  readonly running: boolean;
  /** -iptables-forward-rules. */
  readonly wanted: boolean;
  readonly networks: readonly string[];
}

/** Lists what the firewall programs show. */
export const forwardPolicy: Check<ForwardFacts> = {
  name: "forward",
  group: "firewall",
  looksAt: "policies that drop forwarded packets, and whether flanneld's accept rules are in force",
  async read(scene) {
    const names = firewallNames(networkIdOf(scene.options));
    const { families } = (await scene.network()).config;
    const chains: ForwardChain[] = [];
    for (const { family } of families) {
      for (const [program, text] of await scene.savedTables("filter", family)) {
        const chain = parseForward(text, names.forwardChain, program);
        if (chain) chains.push(chain);
      }
    }
    const { nft } = await scene.tools();
    const listing = nft ? await scene.run("nft", ["-j", "list", "chains"]) : undefined;
    return {
      chains,
      dropping: listing?.code === 0 ? droppingChains(listing.stdout) : [],
      hasOwnTable: families.some(({ family }) =>
        listing?.stdout.includes(`"${names.table(family)}"`) ?? false
      ),
      running: (await scene.daemon()).status !== undefined,
      wanted: scene.options.iptablesForwardRules,
      networks: families.map(({ network }) => formatPrefix(network)),
    };
  },
  judge(facts) {
    const findings = [
      ...facts.chains.flatMap((chain) => judgeChain(chain, facts)),
      ...facts.dropping.map((chain) => judgeForeign(chain, facts.networks)),
    ];
    return findings.length > 0 ? findings : [ok("no policy drops forwarded packets")];
  },
};

/** Reads what `iptables-save -t filter` printed; undefined where there is no FORWARD. */
export function parseForward(saved: string, ownChain: string, program: string): ForwardChain | undefined {
  const policy = /^:FORWARD (\S+)/m.exec(saved)?.[1];
  if (policy === undefined) return undefined;
  return {
    ...{ program, policy },
    acceptsOurs: new RegExp(`^-A (FORWARD|DOCKER-USER) .*-j ${ownChain}$`, "m").test(saved),
    hasDocker: /^:DOCKER/m.test(saved),
    hasUfw: /^:ufw6?-/m.test(saved),
  };
}

function judgeChain(
  { program, policy, acceptsOurs, hasDocker, hasUfw }: ForwardChain,
  facts: ForwardFacts,
): Finding[] {
  const by = hasUfw ? " (ufw sets it)" : hasDocker ? " (Docker sets it)" : "";
  const evidence = [`${program} -S FORWARD: -P FORWARD ${policy}`];
  if (policy === "ACCEPT") return [];
  if (acceptsOurs) {
    return [
      ok(
        `FORWARD of ${program} has policy ${policy}${by}, flanneld's accept rules are in force`,
        ...evidence,
      ),
    ];
  }
  if (!facts.running) {
    const text = `FORWARD of ${program} has policy ${policy}${by}: flanneld adds accept rules when it starts`;
    return [{ severity: "note", text, evidence }];
  }
  const ofFamily = facts.networks.filter((network) => network.includes(":") === program.startsWith("ip6"));
  const rules = ofFamily.flatMap((network) =>
    hasUfw ? [`ufw route allow from ${network}`, `ufw route allow to ${network}`] : [
      `${program} -I FORWARD -s ${network} -j ACCEPT`,
      `${program} -I FORWARD -d ${network} -j ACCEPT`,
    ]
  );
  const text = `FORWARD of ${program} has policy ${policy}${by}, and flanneld's accept rules aren't in it: ` +
    "packets between containers and other hosts are dropped";
  const remedy = facts.wanted
    ? ["flanneld status   # says why the rules cannot be written", ...rules]
    : ["# run flanneld without -iptables-forward-rules=false, or:", ...rules];
  return [{ severity: "fault", text, evidence, remedy }];
}

function judgeForeign({ family, table, name }: DroppingChain, networks: readonly string[]): Finding {
  const add = `nft insert rule ${family} ${table} ${name} ip`;
  const seen = networks.filter((network) =>
    family === "inet" || (family === "ip6") === network.includes(":")
  );
  return {
    severity: "warning",
    text: `nftables chain ${family} ${table} ${name} drops forwarded packets by its policy, ` +
      "whatever other chains accept",
    evidence: [`nft list chain ${family} ${table} ${name}: policy drop`],
    remedy: seen.flatMap((network) => {
      const command = network.includes(":") ? `${add}6` : add;
      return [`${command} saddr ${network} accept`, `${command} daddr ${network} accept`];
    }),
  };
}

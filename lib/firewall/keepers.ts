/**
 * The ways in which a host can keep rules, and which of them does it.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { FAMILIES, type Family } from "../net/family.ts";
import type { Log, Metrics } from "../observe/types.ts";
import type { FirewallChange } from "./change.ts";
import type { CommandRunner } from "./command.ts";
import type { HostProbe } from "./host_probe.ts";
import { Iptables, type IptablesTool } from "./iptables.ts";
import type { FirewallNames } from "./names.ts";
import { Nftables } from "./nftables.ts";
import type { Ruleset } from "./rules.ts";
import type { HostTools } from "./tools.ts";
import type { WriteBackoffOptions } from "./write_backoff.ts";

/** How the rules are kept. */
export type FirewallMode = "iptables" | "nftables";

/** A number for each firewall in the kernel, which is another after each change of its rules. */
export type Stamps = Readonly<Record<IptablesTool["backend"], number | undefined>>;

/** What became of the parts of a pass. */
export interface PassResult {
  readonly changes: FirewallChange[];
  readonly errors: Error[];
  /** Why rules of an earlier config may still be there, in a family that the network doesn't use. */
  readonly leftovers: Error[];
}

/** One way of keeping rules. */
export interface Keeper {
  /** The firewall whose stamp shows whether it has to look. */
  readonly stamp: keyof Stamps;
  /** Looks and repairs. Never rejects. */
  pass(rules: Ruleset): Promise<PassResult>;
}

/** What keepers work with. */
export interface KeeperServices {
  readonly names: FirewallNames;
  readonly run: CommandRunner;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly probe: HostProbe;
}

/** All keepers of a host. */
export class Keepers {
  /** What keeps the rules: `nftables`, `iptables 1.8.9 (nf_tables)`, `none`. */
  readonly description: string;
  /** What people should know when it isn't what the mode says. */
  readonly notice: string | undefined;
  /** nft, where the host has it. */
  readonly nft: Nftables | undefined;
  /** In the order in which they pass: new rules are there before those of the other mode go. */
  readonly inOrder: readonly Keeper[];
  readonly #iptables: readonly Iptables[];

  constructor(mode: FirewallMode, tools: HostTools, services: KeeperServices) {
    const { names, run, log, metrics, probe } = services;
    const backoff = (backend: keyof Stamps): WriteBackoffOptions => ({
      metrics,
      stamp: () => backend === "legacy" ? probe.legacyStamp() : probe.generation(),
    });
    this.nft = tools.nft ? new Nftables(names, run, log, backoff("nf_tables")) : undefined;
    this.#iptables = tools.iptables.map((tool) => new Iptables(tool, names, run, log, backoff(tool.backend)));
    const usesNft = tools.nft && (mode === "nftables" || tools.iptables.length === 0);
    const main = usesNft ? undefined : this.#iptables[0];
    this.description = usesNft ? "nftables" : main ? describe(main) : "none";
    this.notice = noticeOf(mode, tools);
    this.inOrder = this.#keepers(usesNft, main);
  }

  /** Removes this network's rules wherever they are. */
  remove(): Promise<PassResult> {
    const removals = this.#iptables.flatMap((tool) => FAMILIES.map((family) => () => tool.remove(family)));
    const { nft } = this;
    if (nft) removals.push(() => nft.remove());
    if (nft && !this.#hasNftIptables) removals.push(() => nft.acceptInFilterTable({ families: [] }));
    return oneByOne(removals);
  }

  /** Whether an iptables program keeps what is in iptables' tables of nftables. */
  get #hasNftIptables(): boolean {
    return this.#iptables.some(({ tool }) => tool.backend === "nf_tables");
  }

  #keepers(usesNft: boolean, main: Iptables | undefined): Keeper[] {
    const { nft } = this;
    const ofNft = (work: (nft: Nftables, rules: Ruleset) => Promise<FirewallChange[]>): Keeper[] =>
      nft ? [{ stamp: "nf_tables", pass: (rules) => oneByOne([() => work(nft, rules)]) }] : [];
    return [
      ...(usesNft ? ofNft((nft, rules) => nft.apply(rules)) : []),
      ...this.#iptables.map((tool): Keeper => ({
        stamp: tool.tool.backend,
        pass: (rules) => passOf(tool, rules, tool === main),
      })),
      ...(this.#hasNftIptables ? [] : ofNft((nft, rules) => nft.acceptInFilterTable(rules))),
      ...(usesNft ? [] : ofNft((nft) => nft.remove())),
    ];
  }
}

function noticeOf(mode: FirewallMode, tools: HostTools): string | undefined {
  const hasIptables = tools.iptables.length > 0;
  const why = tools.problems.join("; ") || "it is not installed";
  if (mode === "nftables" && !tools.nft && hasIptables) {
    return `EnableNFTables is set and nft can't be used (${why}): rules go into iptables. Install nftables`;
  }
  if (mode === "iptables" && !hasIptables && tools.nft) {
    return `iptables can't be used (${why}): rules go into nftables. Install iptables or set EnableNFTables`;
  }
  return undefined;
}

/** One tool's pass over both families; a failure of one family doesn't keep the rules from the other. */
async function passOf(tool: Iptables, rules: Ruleset, isMain: boolean): Promise<PassResult> {
  const leftovers: Error[] = [];
  const one = async (family: Family): Promise<FirewallChange[]> => {
    const wanted = rules.families.find((other) => other.family === family);
    if (wanted) return isMain ? tool.apply(wanted, rules.fullyRandom) : tool.acceptInFilterTable(wanted);
    try {
      return await tool.remove(family);
    } catch (error) {
      // The network doesn't need this family, so the host is no less ready for it.
      leftovers.push(
        new Error(`${family.label} rules of an earlier config may be left: ${messageOf(error)}`),
      );
      return [];
    }
  };
  return { ...outcome(await Promise.allSettled(FAMILIES.map(one))), leftovers };
}

/** Does all parts, one after the other (they may change the same tables), whatever becomes of each. */
async function oneByOne(parts: readonly (() => Promise<FirewallChange[]>)[]): Promise<PassResult> {
  const results: PromiseSettledResult<FirewallChange[]>[] = [];
  for (const part of parts) results.push(...await Promise.allSettled([part()]));
  return outcome(results);
}

function outcome(results: readonly PromiseSettledResult<FirewallChange[]>[]): PassResult {
  return {
    changes: results.flatMap((result) => result.status === "fulfilled" ? result.value : []),
    errors: results.flatMap((result) => result.status === "rejected" ? [result.reason] : []),
    leftovers: [],
  };
}

function describe({ tool }: Iptables): string {
  return `iptables ${tool.version.join(".")} (${tool.backend})`;
}

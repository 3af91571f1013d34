/**
 * Tables of iptables that iptables can't show, because nft has put something into them that iptables has no words
 * for. iptables-nft-save prints a line about it and exits with 0; iptables-nft-restore still writes, without a
 * look at what is there. Nothing is written into such a table.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Log } from "../observe/types.ts";
import { UnreadableTableError } from "./change.ts";
import type { CommandRunner } from "./command.ts";
import { cutsForwarding } from "./foreign_chains.ts";
import { type SavedTables, type TableName, TABLES } from "./iptables_plan.ts";
import type { FirewallNames } from "./names.ts";
import { nftFamily } from "./nftables_text.ts";
import type { FamilyRuleset } from "./rules.ts";

/** Finds out, with nft, what such a table means for the network. */
export class UnreadableTables {
  readonly #run: CommandRunner;
  readonly #names: FirewallNames;
  readonly #log: Log;
  readonly #warnings = new Set<string>();

  constructor(names: FirewallNames, run: CommandRunner, log: Log) {
    this.#names = names;
    this.#run = run;
    this.#log = log;
  }

  /**
   * Looks whether `rules` can do without the tables that can't be read: forward rules aren't needed where FORWARD
   * accepts packets anyway; then one warning says so.
   *
   * @throws {UnreadableTableError} If they can't. The message says what to do.
   */
  async check({ family, masquerade, forward }: FamilyRuleset, saved: SavedTables): Promise<void> {
    for (const table of unreadable(saved)) {
      if (!(table === "nat" ? masquerade : forward)) continue;
      const problem = describe(family, table);
      if (table === "nat") {
        throw new UnreadableTableError(`${problem}. Packets are not masqueraded until then`);
      }
      const forwardChain = await this.#listChain(family, table, "FORWARD");
      if (forwardChain === undefined || cutsForwarding(forwardChain)) {
        throw new UnreadableTableError(`${problem}. Its chain FORWARD drops containers' packets until then`);
      }
      if (this.#warnings.has(problem)) continue;
      this.#warnings.add(problem);
      this.#log.warn(`${problem}. Its chain FORWARD has no drop by default: containers are reached`);
    }
  }

  /** @throws {UnreadableTableError} If a table that can't be read holds a chain of ours. */
  async checkRemoved(family: Family, saved: SavedTables): Promise<void> {
    for (const table of unreadable(saved)) {
      const chain = table === "nat" ? this.#names.masqueradeChain : this.#names.forwardChain;
      if (await this.#listChain(family, table, chain) === undefined) continue;
      throw new UnreadableTableError(`${describe(family, table)}. Chain ${chain} of flanneld is still in it`);
    }
  }

  /** What `nft -j list chain` prints; undefined if there is no such chain, or no nft. */
  async #listChain(family: Family, table: TableName, chain: string): Promise<string | undefined> {
    const { code, stdout } = await this.#run("nft", [
      "-j",
      "list",
      "chain",
      nftFamily(family),
      table,
      chain,
    ]);
    return code === 0 ? stdout : undefined;
  }
}

function unreadable(saved: SavedTables): TableName[] {
  return TABLES.filter((table) => saved[table] === undefined);
}

function describe(family: Family, table: TableName): string {
  const name = `${nftFamily(family)} ${table}`;
  return `iptables cannot show table ${name}, because it holds rules made with nft, and flanneld writes nothing ` +
    `into it: move these rules into a table of their own (nft list table ${name})`;
}

/**
 * Rules in iptables, through iptables-save and iptables-restore.
 *
 * @module
 */
import { FAMILIES, type Family, type PerFamily, perFamily } from "../net/family.ts";
import type { Log } from "../observe/types.ts";
import { type FirewallChange, madeChanges } from "./change.ts";
import { CommandError, type CommandResult, type CommandRunner, NOT_FOUND, TIMED_OUT } from "./command.ts";
import {
  mayCutForwarding,
  ownParts,
  planIptables,
  restoreInput,
  type SavedTables,
  type TableName,
  TABLES,
} from "./iptables_plan.ts";
import { type IptablesAbilities, isIncompatible, parseSavedTable } from "./iptables_text.ts";
import type { FirewallNames } from "./names.ts";
import type { FamilyRuleset, Ruleset } from "./rules.ts";
import { UnreadableTables } from "./unreadable_tables.ts";
import { WriteBackoff, type WriteBackoffOptions } from "./write_backoff.ts";

/** Seconds to wait for the lock that all iptables programs share (/run/xtables.lock). */
const LOCK_WAIT = "5";

/** Exit status of iptables programs that didn't get the lock, or lost a race. */
const RESOURCE_PROBLEM = 4;

const ALL_ABILITIES: IptablesAbilities = { comment: true, fullyRandom: true };

/** One of the iptables that a host may have, side by side. */
export interface IptablesTool {
  /** What stands between `iptables` and `-save` in the programs' names. */
  readonly variant: "" | "-legacy" | "-nft";
  /** What it is: the kernel keeps the rules of these two apart. */
  readonly backend: "legacy" | "nf_tables";
  /** As [1, 8, 9]. */
  readonly version: readonly number[];
}

/** Whether `version` is at least `least`, compared number by number. */
export function isAtLeast(version: readonly number[], least: readonly number[]): boolean {
  for (const [i, number] of least.entries()) {
    const own = version[i] ?? 0;
    if (own !== number) return own > number;
  }
  return true;
}

/** Keeps one network's rules in iptables. Calls must not overlap. */
export class Iptables {
  readonly #run: CommandRunner;
  readonly #names: FirewallNames;
  readonly #log: Log;
  /**
   * Families whose nat table was rid of our rules while another program keeps them. It isn't read again: that
   * of a Kubernetes node has ten thousands of rules, which take iptables-nft-save half a second.
   */
  readonly #natIsClean = new Set<Family>();
  readonly #abilities = new Map<Family, IptablesAbilities>();
  /** Chains and jumps of ours that were there when everything was last found as wanted. */
  readonly #seen = new Map<Family, ReadonlySet<string>>();
  readonly #unreadable: UnreadableTables;
  readonly #backoff: PerFamily<WriteBackoff>;

  constructor(
    readonly tool: IptablesTool,
    names: FirewallNames,
    run: CommandRunner,
    log: Log,
    backoff: WriteBackoffOptions = {},
  ) {
    this.#backoff = perFamily(FAMILIES, () => new WriteBackoff(backoff));
    this.#names = names;
    this.#run = run;
    this.#log = log;
    this.#unreadable = new UnreadableTables(names, run, log);
  }

  /**
   * Makes one family's tables hold `rules`, in one iptables-restore call, or none where they do. A table that
   * iptables can't show is not written to.
   *
   * @param fullyRandom Masquerade with random ports, if this host can.
   * @returns What was written.
   * @throws {CommandError} If a program fails.
   * @throws {UnreadableTableError} If rules that are needed can't be written; the other table's are.
   * @throws {IneffectiveWriteError} If what was written isn't there afterwards; then writes become rare.
   */
  async apply(rules: FamilyRuleset, fullyRandom: Ruleset["fullyRandom"]): Promise<FirewallChange[]> {
    const { family } = rules;
    const most = this.#abilities.get(family) ?? { comment: true, fullyRandom: this.#knowsFullyRandom() };
    const failures: CommandError[] = [];
    for (const able of ladder({ ...most, fullyRandom: most.fullyRandom && fullyRandom })) {
      const written = await this.#write(rules, able, await this.#read(family), () => this.#read(family));
      if (!(written instanceof CommandError)) {
        if (able.comment !== most.comment || able.fullyRandom !== (most.fullyRandom && fullyRandom)) {
          this.#settleFor(family, able, fullyRandom, failures[0]!);
        }
        return written;
      }
      failures.push(written);
      if (!mayBeUnsupported(written.result)) break;
    }
    throw failures[0]!;
  }

  /**
   * Keeps nothing here but what another firewall in the same kernel calls for. An accept in a table of its own
   * doesn't undo a drop in this one: where the filter table may cut off containers, it gets the forward rules.
   * Tables that aren't there are not made.
   *
   * @returns What was written.
   * @throws {CommandError} If a program fails.
   * @throws {UnreadableTableError} If the filter table drops forwarded packets and can't be written to.
   */
  async acceptInFilterTable({ family, forward }: FamilyRuleset): Promise<FirewallChange[]> {
    const withoutNat = this.#natIsClean.has(family);
    const read = () => this.#readExisting(family, withoutNat);
    const saved = await read();
    const isNeeded = forward && (!saved.filter || mayCutForwarding(saved.filter, family));
    const wanted = isNeeded ? { family, forward } : { family };
    const written = await this.#write(wanted, ALL_ABILITIES, saved, read);
    if (written instanceof CommandError) throw written;
    this.#natIsClean.add(family);
    return written;
  }

  /**
   * Takes away what is ours.
   *
   * @returns What was removed.
   * @throws {CommandError} If a program fails.
   * @throws {UnreadableTableError} If a table that iptables can't show holds rules of ours.
   */
  async remove(family: Family): Promise<FirewallChange[]> {
    const read = () => this.#readExisting(family, false);
    const saved = await read();
    const removed = await this.#write({ family }, ALL_ABILITIES, saved, read);
    if (removed instanceof CommandError) throw removed;
    await this.#unreadable.checkRemoved(family, saved);
    return removed;
  }

  /** Writes what differs and looks whether it is there then. @returns The failure, if iptables-restore fails. */
  async #write(
    rules: FamilyRuleset,
    able: IptablesAbilities,
    saved: SavedTables,
    readAgain: () => Promise<SavedTables>,
  ): Promise<FirewallChange[] | CommandError> {
    const { family } = rules;
    const planned = planIptables(saved, rules, this.#names, able);
    const input = restoreInput(planned);
    const changes = madeChanges(family, planned, this.#seen.get(family));
    const backoff = this.#backoff[family.name]!;
    let held = saved;
    let left = planned;
    if (input !== "") {
      const program = this.#program(family, "restore");
      backoff.check(program, changes);
      const result = await this.#restore(family, input);
      if (result.code !== 0) return new CommandError(program, this.#restoreArgs(), result);
      held = await readAgain();
      left = planIptables(held, rules, this.#names, able);
      if (restoreInput(left) === input) backoff.fail(program, changes, commitsOf(input));
    }
    // What others did between the write and this look is for the next pass.
    if (left.length === 0) {
      backoff.reset();
      this.#seen.set(family, ownParts(held, this.#names));
    }
    await this.#unreadable.check(rules, held);
    return changes;
  }

  /** What those tables hold that exist; nothing where the family has no programs. @throws {CommandError} */
  async #readExisting(family: Family, withoutNat: boolean): Promise<SavedTables> {
    // Without -t the programs print the tables that exist; with it legacy iptables makes the table.
    const args = withoutNat && this.tool.backend === "nf_tables" ? ["-t", "filter"] : [];
    const program = this.#program(family, "save");
    const result = await this.#run(program, args);
    if (result.code !== 0 && result.code !== NOT_FOUND) throw new CommandError(program, args, result);
    return readTables(TABLES.map((table) => [table, result.stdout]));
  }

  /** What one family's tables hold now. @throws {CommandError} If iptables-save fails. */
  async #read(family: Family): Promise<SavedTables> {
    const program = this.#program(family, "save");
    const texts = await Promise.all(TABLES.map(async (table) => {
      const args = ["-t", table];
      const result = await this.#run(program, args);
      if (result.code !== 0) throw new CommandError(program, args, result);
      return [table, result.stdout] as const;
    }));
    return readTables(texts);
  }

  #restore(family: Family, input: string): Promise<CommandResult> {
    return this.#run(this.#program(family, "restore"), this.#restoreArgs(), input);
  }

  #program(family: Family, what: "save" | "restore"): string {
    return `ip${family.version === 6 ? "6" : ""}tables${this.tool.variant}-${what}`;
  }

  #restoreArgs(): string[] {
    return isAtLeast(this.tool.version, [1, 6, 2]) ? ["--noflush", "-w", LOCK_WAIT] : ["--noflush"];
  }

  #knowsFullyRandom(): boolean {
    return isAtLeast(this.tool.version, [1, 6, 2]);
  }

  #settleFor(family: Family, able: IptablesAbilities, fullyRandom: boolean, cause: CommandError): void {
    // A ruleset without random ports says nothing about whether the host could.
    const known = this.#abilities.get(family)?.fullyRandom ?? this.#knowsFullyRandom();
    this.#abilities.set(family, { ...able, fullyRandom: fullyRandom ? able.fullyRandom : known });
    const without = [
      ...(able.comment ? [] : ["comments (kernel module xt_comment)"]),
      ...(fullyRandom && !able.fullyRandom ? ["random source ports (--random-fully)"] : []),
    ];
    this.#log.warn(`${family.label} rules are written without ${without.join(" and ")}: not supported here`, {
      cause: cause.message,
    });
  }
}

/** The transactions of iptables-restore's input: one a table. */
function commitsOf(input: string): number {
  return input.split("\nCOMMIT\n").length - 1;
}

/** What to try when the first choice is refused, best first; the first twice, for a race with another program. */
function ladder(most: IptablesAbilities): IptablesAbilities[] {
  const rungs = [most];
  for (const comment of most.comment ? [true, false] : [false]) {
    for (const fullyRandom of most.fullyRandom ? [true, false] : [false]) {
      rungs.push({ comment, fullyRandom });
    }
  }
  return rungs;
}

/** Whether less might do: not so for a lock that others hold, a missing program or one that hangs. */
function mayBeUnsupported(result: CommandResult): boolean {
  return ![RESOURCE_PROBLEM, NOT_FOUND, TIMED_OUT].includes(result.code);
}

/** Parses what iptables-save printed; a table that it can't show is left out. */
function readTables(texts: readonly (readonly [table: TableName, text: string])[]): SavedTables {
  return Object.fromEntries(
    texts.filter(([table, text]) => !isIncompatible(text, table))
      .map(([table, text]) => [table, parseSavedTable(text, table)]),
  );
}

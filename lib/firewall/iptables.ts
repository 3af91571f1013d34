/**
 * Rules in iptables, through iptables-save and iptables-restore.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Log } from "../observe/types.ts";
import { CommandError, type CommandResult, type CommandRunner, NOT_FOUND, TIMED_OUT } from "./command.ts";
import { mayCutForwarding, planIptables, type SavedTables, TABLES } from "./iptables_plan.ts";
import { type IptablesAbilities, parseSavedTable } from "./iptables_text.ts";
import type { FirewallNames } from "./names.ts";
import type { FamilyRuleset, Ruleset } from "./rules.ts";

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

  constructor(readonly tool: IptablesTool, names: FirewallNames, run: CommandRunner, log: Log) {
    this.#names = names;
    this.#run = run;
    this.#log = log;
  }

  /**
   * Makes one family's tables hold `rules`, in one iptables-restore call, or none where they do.
   *
   * @param fullyRandom Masquerade with random ports, if this host can.
   * @returns Whether anything was written.
   * @throws {CommandError} If a program fails.
   */
  async apply(rules: FamilyRuleset, fullyRandom: Ruleset["fullyRandom"]): Promise<boolean> {
    const { family } = rules;
    const most = this.#abilities.get(family) ?? { comment: true, fullyRandom: this.#knowsFullyRandom() };
    const failures: CommandError[] = [];
    for (const able of ladder({ ...most, fullyRandom: most.fullyRandom && fullyRandom })) {
      const plan = planIptables(await this.#read(family), rules, this.#names, able);
      const result = plan === "" ? undefined : await this.#restore(family, plan);
      if (result === undefined || result.code === 0) {
        if (able.comment !== most.comment || able.fullyRandom !== (most.fullyRandom && fullyRandom)) {
          this.#settleFor(family, able, fullyRandom, failures[0]!);
        }
        return result !== undefined;
      }
      failures.push(new CommandError(this.#program(family, "restore"), this.#restoreArgs(), result));
      if (!mayBeUnsupported(result)) break;
    }
    throw failures[0]!;
  }

  /**
   * Keeps nothing here but what another firewall in the same kernel calls for. An accept in our own table
   * doesn't undo a drop in this one: where the filter table may cut off containers, it gets the forward rules.
   * Tables that aren't there are not made.
   *
   * @returns Whether anything was written.
   * @throws {CommandError} If a program fails.
   */
  async applyBeside({ family, forward }: FamilyRuleset): Promise<boolean> {
    const wrote = await this.#keepBeside(
      { family, ...(forward && { forward }) },
      this.#natIsClean.has(family),
    );
    this.#natIsClean.add(family);
    return wrote;
  }

  /**
   * Takes away what is ours.
   *
   * @returns Whether there was anything.
   * @throws {CommandError} If a program fails.
   */
  remove(family: Family): Promise<boolean> {
    return this.#keepBeside({ family }, false);
  }

  async #keepBeside({ family, forward }: FamilyRuleset, withoutNat: boolean): Promise<boolean> {
    const saved = await this.#readExisting(family, withoutNat);
    if (!saved) return false;
    const wanted = forward && mayCutForwarding(saved.filter, family) ? { family, forward } : { family };
    const plan = planIptables(saved, wanted, this.#names, ALL_ABILITIES);
    if (plan === "") return false;
    const restored = await this.#restore(family, plan);
    if (restored.code === 0) return true;
    throw new CommandError(this.#program(family, "restore"), this.#restoreArgs(), restored);
  }

  /** What those tables hold that exist; undefined where the family has no programs. @throws {CommandError} */
  async #readExisting(family: Family, withoutNat: boolean): Promise<SavedTables | undefined> {
    // Without -t the programs print the tables that exist; with it legacy iptables makes the table.
    const args = withoutNat && this.tool.backend === "nf_tables" ? ["-t", "filter"] : [];
    const program = this.#program(family, "save");
    const result = await this.#run(program, args);
    if (result.code === NOT_FOUND) return undefined;
    if (result.code !== 0) throw new CommandError(program, args, result);
    return {
      nat: parseSavedTable(result.stdout, "nat"),
      filter: parseSavedTable(result.stdout, "filter"),
    };
  }

  /** What one family's tables hold now. @throws {CommandError} If iptables-save fails. */
  async #read(family: Family): Promise<SavedTables> {
    const program = this.#program(family, "save");
    const [nat, filter] = await Promise.all(TABLES.map(async (table) => {
      const args = ["-t", table];
      const result = await this.#run(program, args);
      if (result.code !== 0) throw new CommandError(program, args, result);
      return parseSavedTable(result.stdout, table);
    }));
    return { nat: nat!, filter: filter! };
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
    this.#log.warn(`${family.label} rules do without ${without.join(" and ")}: this host can't`, {
      cause: cause.message,
    });
  }
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

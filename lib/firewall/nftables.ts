/**
 * Rules in nftables, through the nft program.
 *
 * @module
 */
import { FAMILIES, type Family } from "../net/family.ts";
import type { Log } from "../observe/types.ts";
import { type FirewallChange, madeChanges, type PlannedChange } from "./change.ts";
import { CommandError, type CommandRunner } from "./command.ts";
import type { FirewallNames } from "./names.ts";
import { filterTableParts, planFilterTable } from "./nftables_filter_table.ts";
import { nftFamily, removeScript, tableHolds, tableScript } from "./nftables_text.ts";
import type { FamilyRuleset, Ruleset } from "./rules.ts";
import { WriteBackoff, type WriteBackoffOptions } from "./write_backoff.ts";

/** Arguments with which nft reads one transaction from stdin. */
const FROM_STDIN = ["-f", "-"];

/** A table of ours that isn't as wanted. */
interface DifferingTable {
  readonly rules: FamilyRuleset;
  readonly state: PlannedChange["state"];
}

/** Keeps one network's tables in nftables. Calls must not overlap. */
export class Nftables {
  readonly #run: CommandRunner;
  readonly #names: FirewallNames;
  readonly #log: Log;
  /** False once the kernel has refused random ports. */
  #canFullyRandom = true;
  /** Families whose table was as wanted at the last look. */
  readonly #seen = new Set<Family>();
  readonly #backoff: WriteBackoff;
  readonly #filterBackoff: WriteBackoff;
  /** What of ours was in iptables' filter table when it was last found as wanted. */
  readonly #filterSeen = new Map<Family, ReadonlySet<string>>();

  constructor(names: FirewallNames, run: CommandRunner, log: Log, backoff: WriteBackoffOptions = {}) {
    this.#backoff = new WriteBackoff(backoff);
    this.#filterBackoff = new WriteBackoff(backoff);
    this.#names = names;
    this.#run = run;
    this.#log = log;
  }

  /**
   * Makes the tables of both families hold `rules`, in one transaction, or none where they do. A family that
   * isn't in `rules` gets no table.
   *
   * @returns What was written.
   * @throws {CommandError} If nft fails; families that it doesn't fail for are as wanted then.
   * @throws {IneffectiveWriteError} If what was written isn't there afterwards.
   */
  async apply(rules: Ruleset): Promise<FirewallChange[]> {
    const wanted = FAMILIES.map((family) =>
      rules.families.find((other) => other.family === family) ?? { family }
    );
    const differing = await this.#differing(wanted, rules.fullyRandom);
    if (differing.length === 0) {
      this.#backoff.reset();
      return [];
    }
    const changes = differing.flatMap(({ rules, state }) => this.#changesOf(rules.family, state));
    this.#backoff.check("nft", changes);
    const commits = await this.#writeEach(differing.map(({ rules }) => rules), rules.fullyRandom);
    const still = await this.#differing(differing.map(({ rules }) => rules), rules.fullyRandom);
    if (still.length > 0) this.#backoff.fail("nft", changes, commits);
    else this.#backoff.reset();
    return changes;
  }

  /** Removes our tables. @returns What was removed. @throws {CommandError} If nft fails. */
  async remove(): Promise<FirewallChange[]> {
    const there = await this.#differing(FAMILIES.map((family) => ({ family })), false);
    if (there.length === 0) return [];
    const families = there.map(({ rules }) => rules.family);
    const script = families.map((family) => removeScript(family, this.#names.table(family))).join("\n");
    await this.#commit(script + "\n");
    return there.flatMap(({ rules, state }) => this.#changesOf(rules.family, state));
  }

  /**
   * Keeps our forward rules in iptables' filter table where that may cut off containers, and nowhere else.
   * Only for hosts where no iptables program does it.
   *
   * @returns What was written.
   * @throws {CommandError} If nft fails.
   * @throws {IneffectiveWriteError} If what was written isn't there afterwards.
   */
  async acceptInFilterTable(rules: Pick<Ruleset, "families">): Promise<FirewallChange[]> {
    const target = this.#names.forwardChain;
    const plans = async () =>
      await Promise.all(FAMILIES.map(async (family) => {
        const forward = rules.families.find((other) => other.family === family)?.forward;
        const listing = await listTable(this.#run, nftFamily(family), "filter");
        return { family, listing, planned: planFilterTable(listing, family, forward, target) };
      }));
    const scriptOf = (all: readonly { readonly planned: readonly PlannedChange[] }[]) =>
      all.flatMap(({ planned }) => planned.flatMap(({ lines }) => lines)).map((line) => `${line}\n`).join("");
    // A rule that is written anew has another handle.
    const withoutHandles = (script: string) => script.replace(/ handle \d+/g, "");
    const before = await plans();
    const script = scriptOf(before);
    const changes = before.flatMap(({ family, planned }) =>
      madeChanges(family, planned, this.#filterSeen.get(family))
    );
    let after = before;
    if (script !== "") {
      this.#filterBackoff.check("nft", changes);
      await this.#commit(script);
      after = await plans();
      if (withoutHandles(scriptOf(after)) === withoutHandles(script)) {
        this.#filterBackoff.fail("nft", changes, 1);
      }
    }
    if (scriptOf(after) === "") this.#filterBackoff.reset();
    for (const { family, listing, planned } of after) {
      if (planned.length === 0) this.#filterSeen.set(family, filterTableParts(listing, target));
    }
    return changes;
  }

  /** What `nft -j list chains` prints: every chain of the namespace. @throws {CommandError} If nft fails. */
  async listChains(): Promise<string> {
    const args = ["-j", "list", "chains"];
    const result = await this.#run("nft", args);
    if (result.code !== 0) throw new CommandError("nft", args, result);
    return result.stdout;
  }

  /** Which tables aren't as wanted, and how they are found. */
  async #differing(wanted: readonly FamilyRuleset[], fullyRandom: boolean): Promise<DifferingTable[]> {
    const random = fullyRandom && this.#canFullyRandom;
    const found = await Promise.all(wanted.map(async (rules): Promise<DifferingTable | undefined> => {
      const listing = await this.#list(rules.family);
      if (tableHolds(listing, rules, random)) {
        if (listing === undefined) this.#seen.delete(rules.family);
        else this.#seen.add(rules.family);
        return undefined;
      }
      const isWanted = rules.masquerade !== undefined || rules.forward !== undefined;
      return { rules, state: listing === undefined ? "missing" : isWanted ? "changed" : "unwanted" };
    }));
    return found.filter((table) => table !== undefined);
  }

  #changesOf(family: Family, state: PlannedChange["state"]): FirewallChange[] {
    const what = `table ${nftFamily(family)} ${this.#names.table(family)}`;
    return madeChanges(
      family,
      [{ what, state, lines: [] }],
      this.#seen.has(family) ? new Set([what]) : undefined,
    );
  }

  /** What nft prints of our table, or undefined if it isn't there. */
  #list(family: Family): Promise<string | undefined> {
    return listTable(this.#run, nftFamily(family), this.#names.table(family));
  }

  /**
   * Writes all together, or, where nft refuses that, each by itself.
   *
   * @returns The number of transactions.
   * @throws {CommandError} The first failure.
   */
  async #writeEach(differing: readonly FamilyRuleset[], fullyRandom: boolean): Promise<number> {
    const together = await this.#write(differing, fullyRandom);
    if (!together) return 1;
    // One family's trouble must not keep the rules from the other.
    const each = differing.length === 1 ? [together] : [
      await this.#write([differing[0]!], fullyRandom),
      await this.#write(differing.slice(1), fullyRandom),
    ];
    const failure = each.find((error) => error !== undefined);
    if (failure) throw failure;
    return each.length;
  }

  async #commit(script: string): Promise<void> {
    const result = await this.#run("nft", FROM_STDIN, script);
    if (result.code !== 0) throw new CommandError("nft", FROM_STDIN, result);
  }

  /** @returns The failure, if it is one. */
  async #write(differing: readonly FamilyRuleset[], fullyRandom: boolean): Promise<CommandError | undefined> {
    const attempts = fullyRandom && this.#canFullyRandom ? [true, false] : [false];
    let failure: CommandError | undefined;
    for (const random of attempts) {
      const script = differing.map((rules) => tableScript(this.#names.table(rules.family), rules, random))
        .join("");
      const result = await this.#run("nft", FROM_STDIN, script);
      if (result.code === 0) {
        if (failure) this.#doWithoutRandom(failure);
        return undefined;
      }
      failure ??= new CommandError("nft", FROM_STDIN, result);
    }
    return failure;
  }

  #doWithoutRandom(cause: CommandError): void {
    this.#canFullyRandom = false;
    this.#log.warn("Masquerading uses no random source ports: this kernel doesn't support fully-random", {
      cause: cause.message,
    });
  }
}

/**
 * What `nft -j list table` prints, or undefined if there is no such table.
 *
 * @param options More options for nft, as `-t` for a listing without the elements of sets.
 * @throws {CommandError} If nft fails.
 */
export async function listTable(
  run: CommandRunner,
  family: "ip" | "ip6" | "inet",
  table: string,
  options: readonly string[] = [],
): Promise<string | undefined> {
  const args = ["-j", ...options, "list", "table", family, table];
  const result = await run("nft", args);
  if (result.code === 0) return result.stdout;
  if (result.stderr.includes("No such file or directory")) return undefined;
  throw new CommandError("nft", args, result);
}

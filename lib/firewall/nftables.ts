/**
 * Rules in nftables, through the nft program.
 *
 * @module
 */
import { FAMILIES, type Family } from "../net/family.ts";
import type { Log } from "../observe/types.ts";
import { CommandError, type CommandRunner } from "./command.ts";
import type { FirewallNames } from "./names.ts";
import { planBeside } from "./nftables_beside.ts";
import { nftFamily, removeScript, tableHolds, tableScript } from "./nftables_text.ts";
import type { FamilyRuleset, Ruleset } from "./rules.ts";

/** Arguments with which nft reads one transaction from stdin. */
const FROM_STDIN = ["-f", "-"];

/** Keeps one network's tables in nftables. Calls must not overlap. */
export class Nftables {
  readonly #run: CommandRunner;
  readonly #names: FirewallNames;
  readonly #log: Log;
  /** False once the kernel has refused random ports. */
  #canFullyRandom = true;

  constructor(names: FirewallNames, run: CommandRunner, log: Log) {
    this.#names = names;
    this.#run = run;
    this.#log = log;
  }

  /**
   * Makes the tables of both families hold `rules`, in one transaction, or none where they do. A family that
   * isn't in `rules` gets no table.
   *
   * @returns Whether anything was written.
   * @throws {CommandError} If nft fails; families that it didn't fail for are right then.
   */
  async apply(rules: Ruleset): Promise<boolean> {
    const wanted = FAMILIES.map((family) =>
      rules.families.find((other) => other.family === family) ?? { family }
    );
    const differing = await this.#differing(wanted, rules.fullyRandom);
    if (differing.length === 0) return false;
    const together = await this.#write(differing, rules.fullyRandom);
    if (!together) return true;
    // One family's trouble must not keep the rules from the other.
    const each = differing.length === 1 ? [together] : [
      await this.#write([differing[0]!], rules.fullyRandom),
      await this.#write(differing.slice(1), rules.fullyRandom),
    ];
    const failure = each.find((error) => error !== undefined);
    if (failure) throw failure;
    return true;
  }

  /** Removes our tables. @returns Whether there were any. @throws {CommandError} If nft fails. */
  async remove(): Promise<boolean> {
    const there = await this.#differing(FAMILIES.map((family) => ({ family })), false);
    if (there.length === 0) return false;
    const script = there.map(({ family }) => removeScript(family, this.#names.table(family))).join("\n");
    const result = await this.#run("nft", FROM_STDIN, script + "\n");
    if (result.code !== 0) throw new CommandError("nft", FROM_STDIN, result);
    return true;
  }

  /**
   * Keeps our forward rules in iptables' filter table where that may cut off containers, and nowhere else.
   * Only for hosts where no iptables program does it.
   *
   * @returns Whether anything was written.
   * @throws {CommandError} If nft fails.
   */
  async applyBeside(rules: Pick<Ruleset, "families">): Promise<boolean> {
    const scripts = await Promise.all(FAMILIES.map(async (family) => {
      const forward = rules.families.find((other) => other.family === family)?.forward;
      const listing = await listTable(this.#run, nftFamily(family), "filter");
      return planBeside(listing, family, forward, this.#names.forwardChain);
    }));
    const script = scripts.join("");
    if (script === "") return false;
    const result = await this.#run("nft", FROM_STDIN, script);
    if (result.code !== 0) throw new CommandError("nft", FROM_STDIN, result);
    return true;
  }

  /** What `nft -j list chains` prints: every chain of the namespace. @throws {CommandError} If nft fails. */
  async listChains(): Promise<string> {
    const args = ["-j", "list", "chains"];
    const result = await this.#run("nft", args);
    if (result.code !== 0) throw new CommandError("nft", args, result);
    return result.stdout;
  }

  async #differing(wanted: readonly FamilyRuleset[], fullyRandom: boolean): Promise<FamilyRuleset[]> {
    const random = fullyRandom && this.#canFullyRandom;
    const right = await Promise.all(
      wanted.map(async (rules) => tableHolds(await this.#list(rules.family), rules, random)),
    );
    return wanted.filter((_, i) => !right[i]);
  }

  /** What nft prints of our table, or undefined if it isn't there. */
  #list(family: Family): Promise<string | undefined> {
    return listTable(this.#run, nftFamily(family), this.#names.table(family));
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
    this.#log.warn("Masquerading does without random source ports (fully-random): this kernel can't", {
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

/**
 * Keeps a network's masquerade and forward rules on this host, with whatever firewall program it has.
 *
 * @module
 */
import { FAMILIES, type Family } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { NftablesNotification } from "../netlink/nftables.ts";
import { type Log, type Metrics, noMetrics } from "../observe/types.ts";
import { type FirewallChange, FirewallError } from "./change.ts";
import { type CommandRunner, systemRunner } from "./command.ts";
import { droppingChains } from "./foreign_chains.ts";
import { blindProbe, type HostProbe, systemProbe } from "./host_probe.ts";
import { DOCKER_USER } from "./iptables_place.ts";
import { Iptables, type IptablesTool } from "./iptables.ts";
import { keepAt, Turns } from "./loop.ts";
import { type FirewallNames, firewallNames } from "./names.ts";
import { Nftables } from "./nftables.ts";
import { isEmptyRuleset, type Ruleset } from "./rules.ts";
import { detectTools, FirewallUnavailableError, type HostTools } from "./tools.ts";
import type { WriteBackoffOptions } from "./write_backoff.ts";

/** How the rules are to be kept. */
export type FirewallMode = "iptables" | "nftables";

/** Options of {@link Firewall.open}. */
export interface FirewallOptions {
  /** nftables if the config says EnableNFTables. */
  readonly mode: FirewallMode;
  /** What tells this network from others on the same host: the etcd prefix or its kin. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics?: Metrics;
  /** @default programs of this system, in this process's network namespace */
  readonly run?: CommandRunner;
  /** @default this process's network namespace; with a `run` of your own: none */
  readonly probe?: HostProbe;
}

/** Chains of iptables that jump to ours. */
const JUMPING_CHAINS = ["POSTROUTING", "FORWARD", DOCKER_USER];

/** What the probe says of each firewall in the kernel: the same number, the same rules. */
type Stamps = Readonly<Record<IptablesTool["backend"], number | undefined>>;

/** One way of keeping rules, with what is needed to know whether it has to be looked at. */
interface Keeper {
  /** What its changes show in. */
  readonly stamp: keyof Stamps;
  /** Looks and repairs. Never rejects. */
  pass(rules: Ruleset): Promise<PassResult>;
}

/** Keeps one network's rules. Calls are carried out one after the other. */
export class Firewall implements Disposable {
  /** What keeps the rules, for logs: `nftables`, `iptables 1.8.9 (nf_tables)`, `none`. */
  readonly description: string;
  readonly #log: Log;
  readonly #names: FirewallNames;
  readonly #metrics: Metrics;
  readonly #probe: HostProbe;
  readonly #nft: Nftables | undefined;
  readonly #iptables: readonly Iptables[];
  readonly #keepers: readonly Keeper[];
  readonly #problems: readonly string[];
  /** To be said once there are rules to write. */
  #notice: string | undefined;
  #wanted: Ruleset | undefined;
  /** The stamps at which everything was found as wanted; undefined before that. */
  #verifiedAt: Stamps | undefined;
  readonly #turns = new Turns();
  readonly #warnedOf = new Set<string>();

  private constructor(options: FirewallOptions, names: FirewallNames, run: CommandRunner, tools: HostTools) {
    this.#log = options.log;
    this.#names = names;
    this.#metrics = options.metrics ?? noMetrics;
    this.#problems = tools.problems;
    const probe = this.#probe = options.probe ?? (options.run ? blindProbe : systemProbe());
    const backoff = (backend: keyof Stamps): WriteBackoffOptions => ({
      metrics: this.#metrics,
      stamp: () => backend === "legacy" ? probe.legacyStamp() : probe.generation(),
    });
    this.#nft = tools.nft ? new Nftables(names, run, options.log, backoff("nf_tables")) : undefined;
    this.#iptables = tools.iptables.map((tool) =>
      new Iptables(tool, names, run, options.log, backoff(tool.backend))
    );
    const useNft = choosesNft(options.mode, tools);
    this.#notice = noticeOf(options.mode, tools);
    const main = useNft ? undefined : this.#iptables[0];
    this.description = useNft ? "nftables" : main ? describe(main) : "none";
    this.#keepers = this.#makeKeepers(useNft ? this.#nft : undefined, main);
  }

  /**
   * Looks at what the host has and chooses. Where the mode's program is missing and the other one works, the
   * other one is used and a warning says so; having neither is an error only once there is a rule to write.
   */
  static async open(options: FirewallOptions): Promise<Firewall> {
    const run = options.run ?? systemRunner();
    const tools = await detectTools(run);
    return new Firewall(options, firewallNames(options.networkId), run, tools);
  }

  /**
   * Makes the host hold `rules` from now on: what differs is written in one change, and what is right isn't
   * touched. Rules that this network has in the mode that is not in use are removed after that.
   *
   * @returns Whether anything was written.
   * @throws {FirewallUnavailableError} If no program can write them.
   * @throws {FirewallError} If some of it failed; {@link keep} goes on trying.
   */
  apply(rules: Ruleset): Promise<boolean> {
    return this.#turns.take(async () => {
      this.#wanted = rules;
      this.#verifiedAt = undefined;
      if (!isEmptyRuleset(rules)) {
        if (this.description === "none") throw this.#unavailable();
        if (this.#notice !== undefined) this.#log.warn(this.#notice);
        this.#notice = undefined;
      }
      const { changes, errors } = await this.#pass(rules);
      if (errors.length > 0) throw new FirewallError(errors);
      await this.#warnOfForeignChains(rules);
      return changes.length > 0;
    });
  }

  /**
   * Looks once whether the host still holds the rules of the last {@link apply}, and repairs them.
   *
   * @returns Whether anything was written.
   * @throws {FirewallError} If some of it failed.
   */
  resync(): Promise<boolean> {
    return this.#turns.take(async () => {
      if (!this.#wanted) return false;
      const { changes, errors } = await this.#pass(this.#wanted);
      this.#report(changes);
      if (errors.length > 0) throw new FirewallError(errors);
      return changes.length > 0;
    });
  }

  /**
   * Calls {@link resync} every `interval` milliseconds, and when rules of ours are removed from nftables, until the
   * signal fires. Never rejects.
   *
   * @param onResult Called after each pass, with what it failed with, if it did.
   */
  keep(signal: AbortSignal, interval: number, onResult: (error?: unknown) => void = () => {}): Promise<void> {
    const events = this.#ownRemovals(signal);
    return keepAt({
      interval,
      signal,
      events,
      onResult: (error) => {
        if (error) this.#metrics.count("firewall_errors_total", "Firewall passes that failed");
        onResult(error);
      },
    }, () => this.resync());
  }

  /**
   * Removes this network's rules in every mode that the host has; twice is no error, nor is a host without
   * any firewall program.
   *
   * @returns Whether there was anything.
   * @throws {FirewallError} If something couldn't be removed.
   */
  remove(): Promise<boolean> {
    return this.#turns.take(async () => {
      this.#wanted = undefined;
      const removals = this.#iptables.flatMap((tool) => FAMILIES.map((family) => () => tool.remove(family)));
      const nft = this.#nft;
      if (nft) removals.push(() => nft.remove());
      if (nft && !this.#hasNftIptables) removals.push(() => nft.acceptInFilterTable({ families: [] }));
      // One after the other: they change the same tables.
      const { changes, errors } = await inOrder(removals);
      if (errors.length > 0) throw new FirewallError(errors);
      return changes.length > 0;
    });
  }

  /** Closes what was opened. Rules stay: traffic goes on while a daemon is replaced. */
  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]();
  }

  /** Whether an iptables program sees to iptables' tables in nftables. */
  get #hasNftIptables(): boolean {
    return this.#iptables.some(({ tool }) => tool.backend === "nf_tables");
  }

  #makeKeepers(nft: Nftables | undefined, main: Iptables | undefined): Keeper[] {
    const keepers: Keeper[] = [];
    if (nft) keepers.push({ stamp: "nf_tables", pass: (rules) => inOrder([() => nft.apply(rules)]) });
    for (const tool of this.#iptables) {
      keepers.push({
        stamp: tool.tool.backend,
        pass: (rules) => passOf(tool, rules, tool === main),
      });
    }
    const found = this.#nft;
    if (found && !this.#hasNftIptables) {
      keepers.push({
        stamp: "nf_tables",
        pass: (rules) => inOrder([() => found.acceptInFilterTable(rules)]),
      });
    }
    if (found && !nft) keepers.push({ stamp: "nf_tables", pass: () => inOrder([() => found.remove()]) });
    return keepers;
  }

  /** Removals from nftables that may have hit rules of ours. */
  async *#ownRemovals(signal: AbortSignal): AsyncIterable<NftablesNotification> {
    const tables = new Set(FAMILIES.map((family) => this.#names.table(family)));
    const chains = new Set([this.#names.masqueradeChain, this.#names.forwardChain, ...JUMPING_CHAINS]);
    for await (const removal of this.#probe.removals(signal) ?? []) {
      const isOurs = removal === "overrun" || tables.has(removal.table) ||
        (removal.chain !== undefined && chains.has(removal.chain));
      if (isOurs) yield removal;
    }
  }

  /** One look at everything that may have changed. */
  async #pass(rules: Ruleset): Promise<PassResult> {
    // Read before the rules are: what changes in between shows in the next pass.
    const now: Stamps = { nf_tables: this.#probe.generation(), legacy: this.#probe.legacyStamp() };
    const verified = this.#verifiedAt;
    const due = this.#keepers.filter(({ stamp }) =>
      now[stamp] === undefined || now[stamp] !== verified?.[stamp]
    );
    this.#verifiedAt = undefined;
    const changes: FirewallChange[] = [];
    const errors: Error[] = [];
    // The order matters: new rules are there before the other mode's go.
    for (const keeper of due) {
      const result = await keeper.pass(rules);
      changes.push(...result.changes);
      errors.push(...result.errors);
    }
    if (changes.length === 0 && errors.length === 0) this.#verifiedAt = now;
    return { changes, errors };
  }

  /** What others damaged is a warning; what follows from new rules of others is none. */
  #report(changes: readonly FirewallChange[]): void {
    const textOf = (some: readonly FirewallChange[]) => some.map(({ what }) => what).join("; ");
    const repairs = changes.filter(({ isRepair }) => isRepair);
    const others = changes.filter(({ isRepair }) => !isRepair);
    if (others.length > 0) {
      this.#log.info(`Firewall rules follow a change of other programs' rules: ${textOf(others)}`);
    }
    if (repairs.length === 0) return;
    this.#log.warn(`Another program changed firewall rules, which are restored: ${textOf(repairs)}`);
    this.#metrics.count("firewall_repairs_total", "Times that changed firewall rules were restored");
  }

  /** Says once for each chain of others that drops what is to be forwarded, and what to do. */
  async #warnOfForeignChains(rules: Ruleset): Promise<void> {
    if (!this.#nft || !rules.families.some((family) => family.forward)) return;
    // Only a warning depends on it.
    const listing = await this.#nft.listChains().catch(() => undefined);
    for (const { family, table, name } of listing === undefined ? [] : droppingChains(listing)) {
      const chain = `${family} ${table} ${name}`;
      if (this.#warnedOf.has(chain)) continue;
      this.#warnedOf.add(chain);
      this.#log.warn(
        `nftables chain ${chain} drops forwarded packets by its policy, and accepting them elsewhere doesn't ` +
          "undo that: add rules to it that accept the networks",
        {
          networks: rules.families.flatMap(({ forward }) => forward?.[0]?.source?.prefix ?? []).map(
            formatPrefix,
          ),
        },
      );
    }
  }

  #unavailable(): FirewallUnavailableError {
    const why = this.#problems.length > 0
      ? this.#problems.join("; ")
      : "neither iptables nor nft is installed";
    return new FirewallUnavailableError(
      `Cannot set masquerade and forward rules: ${why}. Install Debian's package nftables or iptables`,
    );
  }
}

/** Whether nft keeps the rules: by mode, unless only the other program works. */
function choosesNft(mode: FirewallMode, tools: HostTools): boolean {
  return tools.nft && (mode === "nftables" || tools.iptables.length === 0);
}

/** What to tell people when the choice isn't what the mode says. */
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

/** One tool's pass over both families; one family's trouble doesn't keep the rules from the other. */
async function passOf(tool: Iptables, rules: Ruleset, isMain: boolean): Promise<PassResult> {
  const one = (family: Family): Promise<FirewallChange[]> => {
    const wanted = rules.families.find((other) => other.family === family);
    // A family that isn't in use keeps nothing from an earlier config; that it can't be used at all is no fault.
    if (!wanted) return tool.remove(family).catch(() => []);
    return isMain ? tool.apply(wanted, rules.fullyRandom) : tool.acceptInFilterTable(wanted);
  };
  return outcome(await Promise.allSettled(FAMILIES.map(one)));
}

/** What became of the parts of a pass. */
interface PassResult {
  readonly changes: FirewallChange[];
  readonly errors: Error[];
}

/** Does all parts, one after the other, whatever becomes of each. */
async function inOrder(parts: readonly (() => Promise<FirewallChange[]>)[]): Promise<PassResult> {
  const results: PromiseSettledResult<FirewallChange[]>[] = [];
  for (const part of parts) results.push(...await Promise.allSettled([part()]));
  return outcome(results);
}

function outcome(results: readonly PromiseSettledResult<FirewallChange[]>[]): PassResult {
  return {
    changes: results.flatMap((result) => result.status === "fulfilled" ? result.value : []),
    errors: results.flatMap((result) => result.status === "rejected" ? [result.reason] : []),
  };
}

function describe({ tool }: Iptables): string {
  return `iptables ${tool.version.join(".")} (${tool.backend})`;
}

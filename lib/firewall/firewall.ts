/**
 * Keeps a network's masquerade and forward rules on this host, with whatever firewall program it has.
 *
 * @module
 */
import { FAMILIES } from "../net/family.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { NftablesNotification } from "../netlink/nftables.ts";
import { type Log, type Metrics, noMetrics } from "../observe/types.ts";
import { type FirewallChange, FirewallError } from "./change.ts";
import { type CommandRunner, systemRunner } from "./command.ts";
import { droppingChains } from "./foreign_chains.ts";
import { blindProbe, type HostProbe, systemProbe } from "./host_probe.ts";
import { DOCKER_USER } from "./iptables_place.ts";
import { Turns } from "../time/turns.ts";
import { type FirewallMode, Keepers, type PassResult, type Stamps } from "./keepers.ts";
import { keepAt } from "./loop.ts";
import { type FirewallNames, firewallNames } from "./names.ts";
import { isEmptyRuleset, type Ruleset } from "./rules.ts";
import { detectTools, FirewallUnavailableError, type HostTools } from "./tools.ts";
import { FIREWALL_ERRORS, FIREWALL_PASS_SECONDS, FIREWALL_REPAIRS } from "./metrics.ts";

export type { FirewallMode } from "./keepers.ts";

/** Options of {@link Firewall.open}. */
export interface FirewallOptions {
  /** nftables if the config says EnableNFTables. */
  readonly mode: FirewallMode;
  /** What identifies this network among others on the same host: the etcd prefix or the path of the SQLite store. */
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

/** Keeps one network's rules. Calls are carried out one after the other. */
export class Firewall implements Disposable {
  readonly #log: Log;
  readonly #names: FirewallNames;
  readonly #metrics: Metrics;
  readonly #probe: HostProbe;
  readonly #keepers: Keepers;
  /** What doesn't work on this host. */
  readonly #problems: readonly string[];
  #wanted: Ruleset | undefined;
  /** The stamps at which everything was found as wanted; undefined before that. */
  #verifiedAt: Stamps | undefined;
  readonly #turns = new Turns();
  /** Warnings that were logged: each is logged once. */
  readonly #warnings = new Set<string>();

  private constructor(options: FirewallOptions, names: FirewallNames, run: CommandRunner, tools: HostTools) {
    const { log, metrics = noMetrics } = options;
    const probe = options.probe ?? (options.run ? blindProbe : systemProbe());
    this.#log = log;
    this.#names = names;
    this.#metrics = metrics;
    this.#probe = probe;
    this.#problems = tools.problems;
    this.#keepers = new Keepers(options.mode, tools, { names, run, log, metrics, probe });
  }

  /** What keeps the rules, for logs: `nftables`, `iptables 1.8.9 (nf_tables)`, `none`. */
  get description(): string {
    return this.#keepers.description;
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
   * Makes the host hold `rules` from now on: what differs is written in one change, and nothing else is touched.
   * Rules that this network has in the mode that is not in use are removed after that.
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
        if (this.#keepers.notice !== undefined) this.#warnOnce(this.#keepers.notice);
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
        if (error) this.#metrics.count(FIREWALL_ERRORS);
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
      const { changes, errors } = await this.#keepers.remove();
      if (errors.length > 0) throw new FirewallError(errors);
      return changes.length > 0;
    });
  }

  /** Closes what was opened. Rules stay: traffic goes on while a daemon is replaced. */
  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]();
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
    const began = performance.now();
    const due = this.#keepers.inOrder.filter(({ stamp }) =>
      now[stamp] === undefined || now[stamp] !== verified?.[stamp]
    );
    this.#verifiedAt = undefined;
    const changes: FirewallChange[] = [];
    const errors: Error[] = [], leftovers: Error[] = [];
    for (const keeper of due) {
      const result = await keeper.pass(rules);
      changes.push(...result.changes);
      errors.push(...result.errors);
      leftovers.push(...result.leftovers);
    }
    if (due.length > 0) this.#metrics.observe(FIREWALL_PASS_SECONDS, (performance.now() - began) / 1000);
    for (const { message } of leftovers) {
      this.#metrics.count(FIREWALL_ERRORS);
      this.#warnOnce(message);
    }
    if (changes.length + errors.length + leftovers.length === 0) this.#verifiedAt = now;
    return { changes, errors, leftovers };
  }

  /** A warning says what another program damaged; what follows from new rules of others is an info line. */
  #report(changes: readonly FirewallChange[]): void {
    const textOf = (some: readonly FirewallChange[]) => some.map(({ what }) => what).join("; ");
    const repairs = changes.filter(({ isRepair }) => isRepair);
    const others = changes.filter(({ isRepair }) => !isRepair);
    if (others.length > 0) {
      this.#log.info(`Firewall rules follow a change of other programs' rules: ${textOf(others)}`);
    }
    if (repairs.length === 0) return;
    this.#log.warn(`Another program changed firewall rules, which are restored: ${textOf(repairs)}`);
    this.#metrics.count(FIREWALL_REPAIRS);
  }

  /** Names each chain of others that drops what our rules accept, and what to do. */
  async #warnOfForeignChains(rules: Ruleset): Promise<void> {
    const { nft } = this.#keepers;
    const networks = rules.families.flatMap(({ forward }) => forward?.[0]?.source?.prefix ?? []);
    if (!nft || networks.length === 0) return;
    // Only a warning depends on it.
    const listing = await nft.listChains().catch(() => undefined);
    for (const { family, table, name } of listing === undefined ? [] : droppingChains(listing)) {
      this.#warnOnce(
        `nftables chain ${family} ${table} ${name} drops forwarded packets by its policy, whatever other chains ` +
          `accept: add rules to it that accept ${networks.map(formatPrefix).join(" and ")}`,
      );
    }
  }

  #warnOnce(warning: string): void {
    if (this.#warnings.has(warning)) return;
    this.#warnings.add(warning);
    this.#log.warn(warning);
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

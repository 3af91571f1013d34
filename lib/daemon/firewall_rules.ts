/**
 * The firewall rules of a host in the network.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Options } from "../options/table.ts";
import type { NetworkConfig } from "../config/types.ts";
import type { Firewall, FirewallOptions } from "../firewall/firewall.ts";
import { type Ruleset, ruleset } from "../firewall/rules.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { pause } from "../time/pause.ts";
import { networkIdOf } from "./store.ts";

/** The part that problems are reported for. */
const KEY = "firewall";

/** What the rules' keeper reports to. */
export interface RulesServices {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Keeps the rules that follow from options, config and lease. */
export class FirewallRules implements Disposable {
  readonly #rules: Ruleset;
  readonly #options: FirewallOptions;
  readonly #interval: number;
  readonly #services: RulesServices;
  readonly #tried = Promise.withResolvers<void>();
  #firewall: Firewall | undefined;
  /** Whether a pass has found or made them as wanted. */
  #areIn = false;

  constructor(
    options: Options,
    config: NetworkConfig,
    lease: { readonly subnets: PerFamily<Prefix> },
    services: RulesServices,
  ) {
    this.#services = services;
    this.#interval = options.iptablesResync * 1000;
    this.#rules = ruleset({
      families: config.families,
      subnets: lease.subnets,
      masquerade: options.ipMasq,
      forward: options.iptablesForwardRules,
      fullyRandom: !options.ipMasqFullyRandomDisable,
      exclude: options.ipMasqExclude,
    });
    const mode = config.enableNFTables ? "nftables" : "iptables";
    const { log, metrics } = services;
    this.#options = { mode, networkId: networkIdOf(options), log, metrics };
  }

  /** Resolves after the first attempt, whatever became of it. */
  get tried(): Promise<void> {
    return this.#tried.promise;
  }

  /** What keeps the rules; undefined where nothing does yet. */
  get description(): string | undefined {
    return this.#firewall?.description;
  }

  /** Keeps the rules until the signal fires. A host that can't have them is not ready, and still in the network. */
  async keep(signal: AbortSignal): Promise<void> {
    this.#services.problems.wait(KEY, "rules not written yet");
    while (!signal.aborted && !await this.#open()) await pause(this.#interval, signal);
    await this.#firewall?.keep(signal, this.#interval, (error) => this.#report(error));
  }

  [Symbol.dispose](): void {
    this.#tried.resolve();
    this.#firewall?.[Symbol.dispose]();
    this.#firewall = undefined;
  }

  /** Tries for the first time. @returns Whether there is a program that can keep the rules. */
  async #open(): Promise<boolean> {
    try {
      // Loaded when it is used: nothing before the subnet file needs it.
      const { Firewall } = await import("../firewall/firewall.ts");
      this.#firewall = await Firewall.open(this.#options);
      await this.#firewall.apply(this.#rules);
      this.#report();
      return true;
    } catch (error) {
      this.#report(error);
      if (error instanceof AggregateError) return true;
      this.#firewall?.[Symbol.dispose]();
      this.#firewall = undefined;
      return false;
    } finally {
      this.#tried.resolve();
    }
  }

  #report(error?: unknown): void {
    const { problems } = this.#services;
    if (error === undefined) {
      this.#areIn = true;
      problems.clear(KEY, "rules written");
    } else {
      // Rules that were in are still in for all we know.
      problems.set(KEY, `cannot keep the rules, retrying: ${messageOf(error)}`, {
        notReady: !this.#areIn,
      });
    }
  }
}

/**
 * The firewall rules of a host in the network.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { Options } from "../options/table.ts";
import type { NetworkConfig } from "../config/types.ts";
import type { Firewall } from "../firewall/firewall.ts";
import { type Ruleset, ruleset } from "../firewall/rules.ts";
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { pause } from "../pause.ts";
import { networkIdOf } from "./store.ts";

/** The name under which the host isn't ready. */
const REASON = "firewall";

/** Where it is told how the rules do. */
export interface RulesServices {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Keeps the rules that follow from options, config and lease. */
export class FirewallRules implements Disposable {
  readonly #rules: Ruleset;
  readonly #open: () => Promise<Firewall>;
  readonly #interval: number;
  readonly #services: RulesServices;
  readonly #tried = Promise.withResolvers<void>();
  #firewall: Firewall | undefined;

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
    // Loaded when it is used: nothing before the subnet file needs it.
    this.#open = async () => {
      const { Firewall } = await import("../firewall/firewall.ts");
      return await Firewall.open({ mode, networkId: networkIdOf(options), log, metrics });
    };
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
    this.#services.problems.wait(REASON, "the rules are not in yet");
    while (!signal.aborted && !await this.#apply()) await pause(this.#interval, signal);
    this.#tried.resolve();
    await this.#firewall?.keep(signal, this.#interval);
  }

  [Symbol.dispose](): void {
    this.#tried.resolve();
    this.#firewall?.[Symbol.dispose]();
    this.#firewall = undefined;
  }

  /** @returns Whether the rules are in. */
  async #apply(): Promise<boolean> {
    const { problems } = this.#services;
    try {
      this.#firewall = await this.#open();
      await this.#firewall.apply(this.#rules);
      problems.clear(REASON, "the rules are in");
      return true;
    } catch (error) {
      problems.set(REASON, messageOf(error), { notReady: true });
      this.#firewall?.[Symbol.dispose]();
      this.#firewall = undefined;
      return false;
    } finally {
      this.#tried.resolve();
    }
  }
}

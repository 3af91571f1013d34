/**
 * The network config from the store: waited for at start, watched afterwards.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { messageOf } from "../errors.ts";
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import { ConfigError, type JsonObject } from "../config/types.ts";
import type { SubnetManager } from "../leases/contract.ts";
import { type StoredConfig, StoreError } from "../leases/types.ts";
import type { Log, ProblemReporter } from "../observe/types.ts";
import { systemClock } from "../time/clock.ts";
import { pause } from "../time/pause.ts";
import { Throttle } from "../time/throttle.ts";
import { Turns } from "../time/turns.ts";

/** How often an absent or broken config is looked for, in milliseconds: the original's pace. */
const RETRY_MS = 1_000;

/** A reminder that the daemon still waits, in milliseconds. */
const REMIND_MS = 60_000;

/** What reading configs takes. */
interface ConfigParts {
  readonly backends: BackendRegistry;
  readonly log: Log;
  /** Gets `config` while the daemon waits for one, and while the store's config isn't the one in use. */
  readonly problems: ProblemReporter;
  readonly signal: AbortSignal;
}

/** What waiting for one takes. */
interface WaitParts extends ConfigParts {
  readonly describeWrite: string;
}

/** A config that can be used, and how it stands in the store. */
export interface StoredNetwork extends ResolvedNetwork {
  readonly stored: StoredConfig;
}

/**
 * Waits for a config that can be used. Looks every second, without an end: somebody may write or correct the
 * config. Logs each reason once, and again every minute.
 *
 * @param parts `describeWrite` says how a config is written into this store, for the log.
 * @throws {StoreError} For what doesn't pass by waiting.
 */
export async function waitForNetwork(
  store: Pick<SubnetManager, "readConfig">,
  { backends, log, problems, signal, describeWrite }: WaitParts,
): Promise<StoredNetwork> {
  const reminder = new Throttle(systemClock, REMIND_MS);
  const report = (reason: string, writeLines: () => void) => {
    problems.wait("config", reason);
    if (reminder.pass(reason) !== undefined) writeLines();
  };
  while (true) {
    try {
      const stored = await store.readConfig({ signal });
      if (stored) {
        const network = await resolveNetwork(stored.text, backends);
        for (const warning of network.warnings) log.warn(`Network config: ${warning}`);
        problems.clear("config");
        return { ...network, stored };
      }
      const absent = `There is no network config yet; waiting for one. ${describeWrite}`;
      report(absent, () => log.warn(absent));
    } catch (error) {
      if (signal.aborted || error instanceof StoreError) throw error;
      const message = messageOf(error);
      report(message, () => {
        if (!(error instanceof ConfigError)) {
          return log.warn("Cannot read the network config; retrying", { error: message });
        }
        for (const fault of error.faults) log.error(`Network config: ${fault.message}`);
        log.error(`The network config can't be used; waiting for another one. ${describeWrite}`);
      });
    }
    await pause(RETRY_MS, signal);
    signal.throwIfAborted();
  }
}

/**
 * Compares the store's config with the one in use, and reports each difference. A running host keeps the
 * config it started with, but for PeerFilter: changing subnets or backends under running containers is the operator's
 * decision.
 */
export class ConfigFollower {
  readonly #onPeerFilter: (on: boolean) => Promise<void>;
  #complete: JsonObject;
  readonly #parts: Omit<ConfigParts, "signal">;
  #last: StoredConfig | null;
  #isInUse = true;
  readonly #turns = new Turns();

  /** @param onPeerFilter Called with each usable config's PeerFilter, the one thing that is followed at run time. */
  constructor(
    inUse: StoredNetwork,
    parts: Omit<ConfigParts, "signal">,
    onPeerFilter: (on: boolean) => Promise<void> = () => Promise.resolve(),
  ) {
    this.#complete = inUse.complete;
    this.#onPeerFilter = onPeerFilter;
    this.#parts = parts;
    this.#last = inUse.stored;
  }

  /** Whether the store still holds the config that this host runs with. */
  get isInUse(): boolean {
    return this.#isInUse;
  }

  /** The config that this host runs with, complete. */
  get complete(): JsonObject {
    return this.#complete;
  }

  /** Takes what the store holds now; null: nothing. The same again says nothing. */
  take(config: StoredConfig | null): void {
    if (config?.revision === this.#last?.revision && config?.text === this.#last?.text) return;
    this.#last = config;
    void this.#turns.take(async () => {
      this.#isInUse = await this.#judge(config?.text);
    });
  }

  /** @returns Whether the text is the config in use. */
  async #judge(text: string | undefined): Promise<boolean> {
    const { backends, log, problems } = this.#parts;
    if (text === undefined) {
      problems.set("config", "the network config was deleted; this host keeps the config it started with");
      return false;
    }
    try {
      const { complete, config } = await resolveNetwork(text, backends);
      const before = JSON.stringify(this.#complete);
      this.#complete = { ...this.#complete, PeerFilter: config.peerFilter };
      await this.#onPeerFilter(config.peerFilter);
      const isSame = JSON.stringify(complete) === JSON.stringify(this.#complete);
      if (isSame) {
        problems.clear("config", "the store has the config in use");
        const isRewritten = before === JSON.stringify(complete);
        if (isRewritten) log.info("The network config was written again, unchanged");
      } else {
        log.info("The network config changed", { config: JSON.stringify(complete) });
        problems.set("config", "the network config changed; restart flanneld on each host to use it");
      }
      return isSame;
    } catch (error) {
      const what =
        "the network config changed to one that can't be used; this host keeps the config it started with";
      problems.set("config", `${what}: ${messageOf(error)}`);
      return false;
    }
  }
}

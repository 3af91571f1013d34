/**
 * The network config from the store: waited for at start, watched afterwards.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { messageOf } from "../errors.ts";
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import { ConfigError } from "../config/types.ts";
import { type LeaseStore, StoreError } from "../leases/types.ts";
import type { Log } from "../observe/types.ts";
import { pause } from "../pause.ts";

/** How often an absent or broken config is looked for, in milliseconds: the original's pace. */
const RETRY_MS = 1_000;

/** A reminder that the daemon still waits, in milliseconds. */
const REMIND_MS = 60_000;

/** What reading configs takes. */
interface ConfigParts {
  readonly backends: BackendRegistry;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** A config that can be used, and the revision at which it stood. */
export interface StoredNetwork extends ResolvedNetwork {
  readonly revision: bigint;
}

/**
 * Waits for a config that can be used. An absent, broken or unreachable one is looked for every second, for
 * ever: somebody may write or mend it. Each reason is told once, and again every minute.
 *
 * @param describeWrite How a config is written into this store, for the log.
 * @throws {StoreError} For what waiting won't mend.
 */
export async function waitForNetwork(
  store: LeaseStore,
  { backends, log, signal, describeWrite }: ConfigParts & { describeWrite: string },
): Promise<StoredNetwork> {
  const told = new Reminder();
  while (true) {
    try {
      const stored = await store.readConfig({ signal });
      if (stored) {
        const network = await resolveNetwork(stored.text, backends);
        for (const warning of network.warnings) log.warn(`Network config: ${warning}`);
        return { ...network, revision: stored.revision };
      }
      told.say("absent", () => log.warn(`There is no network config yet; waiting for it. ${describeWrite}`));
    } catch (error) {
      if (signal.aborted || error instanceof StoreError) throw error;
      const message = messageOf(error);
      told.say(message, () => {
        if (!(error instanceof ConfigError)) {
          return log.warn("Cannot read the network config; trying again", { error: message });
        }
        for (const fault of error.faults) log.error(`Network config: ${fault.message}`);
        log.error(`The network config can't be used; waiting for a better one. ${describeWrite}`);
      });
    }
    await pause(RETRY_MS, signal);
    signal.throwIfAborted();
  }
}

/**
 * Tells of every change of the config until the signal fires. A running host keeps the config it started
 * with: changing subnets or backends under running containers is the operator's decision.
 *
 * @param onChange Called with whether the stored config is the one in use.
 */
export async function watchNetwork(
  store: LeaseStore,
  inUse: StoredNetwork,
  { backends, log, signal, onChange }: ConfigParts & { onChange: (isInUse: boolean) => void },
): Promise<void> {
  let revision = inUse.revision;
  while (!signal.aborted) {
    try {
      for await (const change of store.watchConfig(revision, { signal })) {
        revision = change.revision;
        onChange(await tellChange(change.text, inUse, backends, log));
      }
    } catch {
      // The lease watch tells of a store that is away; here it's enough to come back.
    }
    await pause(RETRY_MS, signal);
  }
}

async function tellChange(
  text: string | undefined,
  inUse: StoredNetwork,
  backends: BackendRegistry,
  log: Log,
): Promise<boolean> {
  if (text === undefined) {
    log.warn("The network config was deleted; this host goes on with the one it has");
    return false;
  }
  try {
    const { complete } = await resolveNetwork(text, backends);
    const isSame = JSON.stringify(complete) === JSON.stringify(inUse.complete);
    if (isSame) log.info("The network config was written again, with nothing changed");
    else {log.warn("The network config changed; restart flanneld on each host to use it", {
        config: JSON.stringify(complete),
      });}
    return isSame;
  } catch (error) {
    log.error(
      "The network config was changed to one that can't be used; this host goes on with the one it has",
      {
        error: messageOf(error),
      },
    );
    return false;
  }
}

/** Says the same thing once a minute at most. */
class Reminder {
  #last = "";
  #at = 0;

  say(what: string, tell: () => void): void {
    if (what === this.#last && performance.now() - this.#at < REMIND_MS) return;
    this.#last = what;
    this.#at = performance.now();
    tell();
  }
}

/**
 * Keeps a host's route in a cloud's tables for as long as the daemon runs: a pass at start, one every so often,
 * and after a failure another one as soon as it makes sense.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import type { Prefix } from "../../lib/net/prefix.ts";
import type { BackendSession, ExternalInterface, HostPlan } from "../../lib/backend/types.ts";
import { backoffDelay, type Clock, resyncDelay } from "./clock.ts";
import type { CloudError } from "./errors.ts";
import { type Outcome, RoutePass } from "./pass.ts";
import type { CloudRoute, RouteTable } from "./route_table.ts";

/** What the network needs besides the table and the session. */
export interface CloudNetworkOptions {
  /** The flannel network of each family. */
  readonly networks: readonly Prefix[];
  /** Seconds between two passes when all is well. */
  readonly resync: number;
  readonly clock: Clock;
}

/** A config error at start may be a cloud that hasn't heard yet of what was just made: so often it may be. */
export const CONFIG_TRIES = 3;
/** Time between these tries, in milliseconds. */
export const CONFIG_RETRY_MS = 500;
/** A failure that stays the same is told again after this time, in milliseconds. */
const REMIND_AFTER_MS = 300_000;

/** The reconciling loop over one {@link RouteTable}. Disposing it leaves the route where it is. */
export class CloudNetwork<R extends CloudRoute> implements AsyncDisposable {
  readonly #table: RouteTable<R>;
  readonly #session: BackendSession;
  readonly #options: CloudNetworkOptions;
  readonly #pass: RoutePass<R>;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  #external: ExternalInterface;
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #ready = false;
  #failures = 0;
  #retries = 0;
  #error: { message: string; toldAt: number } | undefined;
  #rightAt: number | undefined;

  constructor(table: RouteTable<R>, session: BackendSession, options: CloudNetworkOptions) {
    this.#table = table;
    this.#session = session;
    this.#options = options;
    this.#external = session.external;
    this.#pass = new RoutePass(table, session, options.networks, options.clock);
    this.#signal = AbortSignal.any([session.signal, this.#end.signal]);
  }

  /**
   * Starts the loop. Resolves once the own routes are in place, however long the cloud takes.
   *
   * @throws {CloudError} Of kind `config`, for what waiting doesn't mend.
   * @throws The signal's reason if the daemon ends first.
   */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#running = this.#run(resolve).then(() => reject(this.#signal.reason), reject);
    });
  }

  async #run(onReady: () => void): Promise<void> {
    while (!this.#signal.aborted) {
      const outcome = await this.#pass.run(this.#external, this.#signal);
      if (this.#signal.aborted) return;
      const delay = this.#settle(outcome);
      if (outcome.ready && !this.#ready) {
        this.#ready = true;
        onReady();
      }
      if (!this.#ready && outcome.errors[0]?.kind === "config" && this.#failures >= CONFIG_TRIES) {
        throw outcome.errors[0];
      }
      await this.#sleep(delay);
    }
  }

  async #sleep(ms: number): Promise<void> {
    await this.#options.clock.sleep(ms, AbortSignal.any([this.#signal, this.#wake.signal]));
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
  }

  /** Counts and tells the outcome. @returns Milliseconds to the next pass. */
  #settle({ ready, removed, errors }: Outcome): number {
    const { clock, resync } = this.#options;
    this.#session.metrics.gauge("cloud_route_ready", "1 while the own route is in the table", ready ? 1 : 0, {
      cloud: this.#table.cloud,
    });
    if (ready) this.#rightAt = clock.now();
    const [error] = errors;
    if (!error) {
      if (this.#failures) this.#session.log.info("Route table reached again", { tries: this.#failures + 1 });
      this.#failures = 0;
      this.#error = undefined;
      return resyncDelay(resync * 1000, clock.random);
    }
    this.#failures++;
    for (const { kind } of errors) this.#countRetry(kind);
    const delay = this.#delayAfter(error, removed);
    this.#tell(error, delay);
    return delay;
  }

  #countRetry(reason: string): void {
    this.#retries++;
    this.#session.metrics.count("cloud_retries_total", "Calls to the cloud that failed and are made again", {
      cloud: this.#table.cloud,
      reason,
    });
  }

  #delayAfter(error: CloudError, removed: number): number {
    const { clock, resync } = this.#options;
    if (error.kind === "config" && !this.#ready) return CONFIG_RETRY_MS;
    // What was removed made room: nobody has to raise a limit for the next try.
    const kind = error.kind === "quota" && removed > 0 ? "conflict" : error.kind;
    return backoffDelay(kind, this.#failures, resync * 1000, clock.random);
  }

  #tell(error: CloudError, delay: number): void {
    const now = this.#options.clock.now();
    const told = this.#error?.message === error.message && now - this.#error.toldAt < REMIND_AFTER_MS;
    if (told) return this.#session.log.debug("Route table: still failing", { failures: this.#failures });
    this.#error = { message: error.message, toldAt: now };
    const people = error.kind === "denied" || error.kind === "quota" || error.kind === "config";
    this.#session.log[people ? "error" : "warn"](error.message, {
      reason: error.kind,
      retryInSeconds: Math.round(delay / 100) / 10,
    });
  }

  /** The host has another address or interface: the route may have to lead elsewhere. */
  replan(_plan: HostPlan, external: ExternalInterface): void {
    this.#external = external;
    this.#pass.forgetIdentity();
    this.#wake.abort();
  }

  /** What `status --json` shows. */
  status(): JsonObject {
    const { identity, use } = this.#pass;
    return {
      cloud: this.#table.cloud,
      ready: this.#ready,
      instance: identity?.instance ?? null,
      hop: identity?.hop ?? null,
      tables: identity?.tables ?? [],
      routes: use.map(({ table, used, limit }) => ({ table, used, limit: limit ?? null })),
      rightAt: this.#rightAt === undefined ? null : new Date(this.#rightAt).toISOString(),
      failures: this.#failures,
      retries: this.#retries,
      error: this.#error?.message ?? null,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new DOMException("The backend was stopped", "AbortError"));
    await this.#running;
  }
}

/**
 * Keeps a host's route in a cloud's tables for as long as the daemon runs: a pass at start, one every so often,
 * and after a failure another one as soon as it makes sense.
 *
 * @module
 */
import type { BackendSession, HostPlan } from "../../lib/backend/types.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { messageOf } from "../../lib/errors.ts";
import { familiesOf } from "../../lib/net/family.ts";
import { formatIp } from "../../lib/net/ip.ts";
import { formatPrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { backoffDelay, resyncDelay } from "./delays.ts";
import type { CloudError, CloudErrorKind } from "./errors.ts";
import { isGeneral, RoutePass, type Secured, subnetsOf } from "./pass.ts";
import type { RouteRecord, SeenRoute } from "./record.ts";
import type { CloudRoute, RouteTable } from "./route_table.ts";
import { CLOUD_RETRIES, CLOUD_ROUTE_READY } from "./metrics.ts";

/** What the loop needs besides the table and the session. */
export interface RouteLoopOptions {
  /** The flannel network of each family. */
  readonly networks: readonly Prefix[];
  /** Seconds between two passes when all is well. */
  readonly resync: number;
  readonly clock: Clock;
  /** Where the loop notes that the route stands, for the next start. */
  readonly record: RouteRecord;
}

/** A config error at start may be a cloud that doesn't know yet what was just made: it is accepted this often. */
export const CONFIG_TRIES = 3;
/** Time between these tries, in milliseconds. */
export const CONFIG_RETRY_MS = 500;

/** The reconciling loop over one {@link RouteTable}. Disposing it leaves the route where it is. */
export class RouteLoop<R extends CloudRoute> implements AsyncDisposable {
  readonly #table: RouteTable<R>;
  readonly #session: BackendSession;
  readonly #options: RouteLoopOptions;
  readonly #pass: RoutePass<R>;
  readonly #end = new AbortController();
  readonly #signal: AbortSignal;
  #external: ExternalInterface;
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** start() has resolved: from then on nothing ends the loop but the daemon's end. */
  #started = false;
  /** Whether the own routes stand, by the last pass that could see; undefined before the first one. */
  #standing: boolean | undefined;
  #failures = 0;
  #tidyFailures = 0;
  #retries = 0;
  #error: string | undefined;
  #verifiedAt: number | undefined;
  #recordFailed = false;

  constructor(table: RouteTable<R>, session: BackendSession, options: RouteLoopOptions) {
    this.#table = table;
    this.#session = session;
    this.#options = options;
    this.#external = session.external;
    this.#pass = new RoutePass(table, session, options.networks, options.clock);
    this.#signal = AbortSignal.any([session.signal, this.#end.signal]);
  }

  /**
   * Starts the loop. Resolves once the own routes stand, however long the cloud takes; at once where an earlier
   * run of this host has seen them stand.
   *
   * @throws {CloudError} Of kind `config`, for what retries don't help.
   * @throws The signal's reason if the daemon ends first.
   */
  async start(): Promise<void> {
    const seen = await this.#recall();
    if (this.#signal.aborted) throw this.#signal.reason;
    return await new Promise((resolve, reject) => {
      const begin = () => {
        this.#started = true;
        resolve();
      };
      if (seen) {
        this.#standing = true;
        this.#verifiedAt = seen.at;
        begin();
      }
      this.#running = this.#run(begin).then(() => reject(this.#signal.reason), reject);
    });
  }

  /** What an earlier run saw, if it was about the same route. */
  async #recall(): Promise<SeenRoute | undefined> {
    const seen = await this.#options.record.read();
    const same = seen && seen.subnets.join() === this.#subnets.join() &&
      seen.addresses.join() === addressesOf(this.#external).join();
    if (!same) return undefined;
    this.#session.log.info("The route stood when it was last seen; the cloud is asked in the background", {
      routes: seen.subnets.join(" "),
      tables: seen.tables.join(","),
      seen: new Date(seen.at).toISOString(),
    });
    return seen;
  }

  get #subnets(): string[] {
    return subnetsOf(this.#session.lease.subnets).map(formatPrefix);
  }

  async #run(begin: () => void): Promise<void> {
    while (!this.#signal.aborted) {
      const secured = await this.#pass.secure(this.#external, this.#signal);
      if (this.#signal.aborted) return;
      await this.#note(secured);
      if (secured.standing && !this.#started) begin();
      const delay = this.#delayAfter(secured);
      const [error] = secured.errors;
      if (!this.#started && error?.kind === "config" && this.#failures >= CONFIG_TRIES) throw error;
      await this.#sleep(await this.#tidy(secured, delay));
    }
  }

  /** Removes what nobody uses. @returns Milliseconds to the next pass. */
  async #tidy({ errors }: Secured, delay: number): Promise<number> {
    const key = `${this.#table.cloud} leftovers`;
    if (!this.#pass.hasLeftovers) this.#session.problems.clear(key, "removed");
    if (!this.#pass.hasLeftovers || errors.some(isGeneral)) return delay;
    const tidied = await this.#pass.tidy(AbortSignal.any([this.#signal, this.#wake.signal]));
    if (this.#signal.aborted || this.#wake.signal.aborted || tidied.urgent) return 0;
    // What was removed made room: the next try needn't wait for somebody to raise a limit.
    const madeRoom = tidied.removed > 0 && errors.some(({ kind }) => kind === "quota");
    const [error] = tidied.errors;
    this.#tidyFailures = error ? this.#tidyFailures + 1 : 0;
    if (!error) return madeRoom ? Math.min(delay, CONFIG_RETRY_MS) : delay;
    this.#count(tidied.errors);
    this.#session.problems.set(key, `Unused routes stay in the table: ${error.message}; retrying`);
    return Math.min(delay, this.#backoff(error.kind, this.#tidyFailures));
  }

  async #sleep(ms: number): Promise<void> {
    await this.#options.clock.sleep(ms, AbortSignal.any([this.#signal, this.#wake.signal]));
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
  }

  /** Notes how the first half went: for readiness, log, metrics, status and the next start. */
  async #note({ standing, forwarding, errors }: Secured): Promise<void> {
    const { cloud } = this.#table;
    const { metrics, problems } = this.#session;
    // Where the cloud didn't answer, the routes are as they were.
    if (standing !== undefined) {
      this.#standing = standing;
      await this.#keepRecord(standing);
    }
    const ready = this.#standing ? 1 : 0;
    metrics.gauge(CLOUD_ROUTE_READY, ready, { cloud });
    const [error] = errors;
    this.#error = (error ?? forwarding)?.message;
    if (error) {
      const lost = this.#started && this.#standing === false;
      const text = lost
        ? `Route ${this.#subnets.join(", ")} doesn't lead here: ${error.message}`
        : error.message;
      problems.set(cloud, `${text}; retrying`, { notReady: !this.#standing });
    } else {
      problems.clear(cloud, "the own route stands");
    }
    // A pass that ended earlier doesn't know.
    if (forwarding) problems.set(`${cloud} instance`, `${forwarding.message}; retrying`, { notReady: true });
    else if (standing !== undefined) problems.clear(`${cloud} instance`, "containers' packets pass");
  }

  async #keepRecord(standing: boolean): Promise<void> {
    const { clock, record } = this.#options;
    const { identity } = this.#pass;
    if (standing) this.#verifiedAt = clock.date();
    try {
      if (!standing || !identity) return await record.remove();
      const { instance, tables } = identity;
      const addresses = addressesOf(this.#external);
      await record.write({ instance, tables, subnets: this.#subnets, addresses, at: clock.date() });
    } catch (error) {
      if (this.#recordFailed) return;
      this.#recordFailed = true;
      this.#session.log.warn(
        "Cannot note that the route stands; a start after a reboot waits for the cloud",
        {
          error: messageOf(error),
        },
      );
    }
  }

  /** Counts what failed in the first half. @returns Milliseconds to the next pass. */
  #delayAfter({ errors, forwarding }: Secured): number {
    const { clock, resync } = this.#options;
    const failed = forwarding ? [...errors, forwarding] : errors;
    const [error] = failed;
    if (!error) {
      this.#failures = 0;
      return resyncDelay(resync * 1000, clock.random);
    }
    this.#failures++;
    this.#count(failed);
    return error.kind === "config" && !this.#started
      ? CONFIG_RETRY_MS
      : this.#backoff(error.kind, this.#failures);
  }

  #backoff(kind: CloudErrorKind, failures: number): number {
    const { clock, resync } = this.#options;
    return backoffDelay(kind, failures, resync * 1000, clock.random);
  }

  #count(errors: readonly CloudError[]): void {
    for (const { kind: reason } of errors) {
      this.#retries++;
      this.#session.metrics.count(CLOUD_RETRIES, {
        cloud: this.#table.cloud,
        reason,
      });
    }
  }

  /** The host has another address or interface: the route may have to lead elsewhere. */
  replan(_plan: HostPlan, external: ExternalInterface): void {
    this.#external = external;
    this.#wake.abort();
  }

  /** What `status --json` shows. */
  status(): JsonObject {
    const { identity, use } = this.#pass;
    return {
      cloud: this.#table.cloud,
      ready: this.#standing === true,
      instance: identity?.instance ?? null,
      hop: identity?.hop ?? null,
      tables: identity?.tables ?? [],
      routes: use.map(({ table, used, limit }) => ({ table, used, limit: limit ?? null })),
      verifiedAt: this.#verifiedAt === undefined ? null : new Date(this.#verifiedAt).toISOString(),
      failures: this.#failures,
      retries: this.#retries,
      error: this.#error ?? null,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new DOMException("The backend was stopped", "AbortError"));
    await this.#running;
  }
}

/** The interface that a route leads to, as far as the host itself knows it. */
function addressesOf({ addresses }: ExternalInterface): string[] {
  return familiesOf(addresses).map(({ name }) => formatIp(addresses[name]!));
}

/**
 * One pass over a cloud's route tables: look, compare, change what differs.
 *
 * A pass begins with what the tables hold now, so whatever an earlier one left half done, or somebody else did
 * in between, is seen. To retry is to make another pass.
 *
 * @module
 */
import { familiesOf, type PerFamily } from "../../lib/net/family.ts";
import { formatPrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { BackendSession, ExternalInterface } from "../../lib/backend/types.ts";
import type { Clock } from "./clock.ts";
import { decide, type Decision, type Put, type Removal } from "./decide.ts";
import { asCloudError, CloudError } from "./errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "./route_table.ts";

/** A table this full (of 1) deserves a warning. */
const NEARLY_FULL = 0.9;
/** First and last wait for a written route to be shown, doubling in between: some 13 s in all; milliseconds. */
const SHOW_FIRST_MS = 200;
const SHOW_LAST_MS = 6_400;

/** How a pass went. */
export interface Outcome {
  /** The own routes are in place. */
  readonly ready: boolean;
  /** How many entries were removed. */
  readonly removed: number;
  /** What went wrong, the most important first. */
  readonly errors: readonly CloudError[];
}

/** Makes passes, and keeps between them what needn't be asked each time. */
export class RoutePass<R extends CloudRoute> {
  readonly #table: RouteTable<R>;
  readonly #session: Pick<BackendSession, "lease" | "peers" | "log" | "metrics">;
  readonly #networks: readonly Prefix[];
  readonly #own: readonly Prefix[];
  readonly #clock: Clock;
  #identity: Identity | undefined;
  #prepared = false;
  #use: readonly TableUse[] = [];

  /** @param networks The flannel network of each family. */
  constructor(
    table: RouteTable<R>,
    session: Pick<BackendSession, "lease" | "peers" | "log" | "metrics">,
    networks: readonly Prefix[],
    clock: Clock,
  ) {
    this.#table = table;
    this.#session = session;
    this.#networks = networks;
    this.#clock = clock;
    this.#own = subnetsOf(session.lease.subnets);
  }

  /** Who we are to the cloud; undefined until a pass has got so far. */
  get identity(): Identity | undefined {
    return this.#identity;
  }

  /** How full the tables were when it was last asked. */
  get use(): readonly TableUse[] {
    return this.#use;
  }

  /** Asks anew who we are, in the next pass. */
  forgetIdentity(): void {
    this.#identity = undefined;
  }

  /** Makes one pass. Doesn't reject: what goes wrong is part of the outcome. */
  async run(external: ExternalInterface, signal: AbortSignal): Promise<Outcome> {
    const errors: CloudError[] = [];
    let ready = false;
    let removed = 0;
    await this.#attempt(errors, async () => {
      const identity = await this.#identify(external, signal);
      const before = await this.#look(identity, signal);
      for (const put of before.puts) await this.#attempt(errors, () => this.#put(put, signal));
      ready = errors.length === 0;
      if (before.puts.length === 0 && before.removals.length === 0) return;
      // Once more before anything is taken away: a host may have leased a subnet in between.
      const after = await this.#lookUntilShown(identity, ready, signal);
      if (ready && after.puts.length > 0) {
        ready = false;
        errors.push(notShown(after.puts[0]!));
      }
      for (const removal of after.removals) {
        await this.#attempt(errors, async () => {
          await this.#remove(removal, signal);
          removed++;
        });
      }
    });
    return { ready, removed, errors };
  }

  async #attempt(errors: CloudError[], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const known = asCloudError(error);
      // Perhaps the instance has another interface now, or the network another table.
      if (known.kind === "config") this.#identity = undefined;
      errors.push(known);
    }
  }

  async #identify(external: ExternalInterface, signal: AbortSignal): Promise<Identity> {
    if (!this.#identity) {
      this.#identity = await this.#table.identify(external, signal);
      this.#prepared = false;
      const { instance, hop, tables } = this.#identity;
      this.#session.log.info("This host in the cloud", { instance, hop, tables: tables.join(",") });
    }
    if (!this.#prepared) await this.#prepare(signal);
    this.#prepared = true;
    return this.#identity;
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    try {
      await this.#table.prepare?.(signal);
    } catch (error) {
      const known = asCloudError(error);
      if (known.kind !== "denied") throw error;
      // Routes can still be written, and somebody may be about to do by hand what we may not.
      this.#session.log.warn(known.message);
    }
  }

  async #look(identity: Identity, signal: AbortSignal): Promise<Decision<R>> {
    const routes = await this.#table.list(signal);
    const leased = [...this.#session.peers.peers.values()].flatMap((peer) => subnetsOf(peer.subnets));
    return decide({ networks: this.#networks, own: this.#own, leased, tables: identity.tables, routes });
  }

  /** Looks again; a table may take a while to show what was written. */
  async #lookUntilShown(identity: Identity, written: boolean, signal: AbortSignal): Promise<Decision<R>> {
    for (let wait = SHOW_FIRST_MS;; wait *= 2) {
      const decision = await this.#look(identity, signal);
      if (!written || decision.puts.length === 0 || wait > SHOW_LAST_MS) return decision;
      await this.#clock.sleep(wait, signal);
      signal.throwIfAborted();
    }
  }

  async #put({ table, destination, existing }: Put<R>, signal: AbortSignal): Promise<void> {
    // What replaces an entry takes no room.
    if (!existing) await this.#checkRoom(table, signal);
    await this.#table.put(table, destination, existing, signal);
    const route = formatPrefix(destination);
    if (existing) {
      this.#count("replace");
      this.#session.log.warn("Route led elsewhere and is ours again", { table, route, was: existing.hop });
    } else {
      this.#count("create");
      this.#session.log.info("Route made", { table, route, hop: this.#identity?.hop });
    }
  }

  async #checkRoom(table: string, signal: AbortSignal): Promise<void> {
    this.#use = await this.#table.limits(signal);
    for (const { table, used, limit } of this.#use) {
      const labels = { cloud: this.#table.cloud, table };
      this.#session.metrics.gauge("cloud_routes", "Routes that count against the limit", used, labels);
      if (limit === undefined) continue;
      this.#session.metrics.gauge("cloud_routes_limit", "How many routes the cloud allows", limit, labels);
      if (used < limit && used + 1 >= limit * NEARLY_FULL) {
        this.#session.log.warn("The cloud's route table is nearly full", { table, used, limit });
      }
    }
    const full = this.#use.find((use) =>
      use.table === table && use.limit !== undefined && use.used >= use.limit
    );
    if (full) throw this.#table.full(full, "found before anything was written");
  }

  async #remove({ route, reason }: Removal<R>, signal: AbortSignal): Promise<void> {
    await this.#table.remove(route, signal);
    this.#count("delete");
    this.#session.log.info("Route removed", {
      table: route.table,
      route: formatPrefix(route.destination),
      hop: route.hop,
      reason,
    });
  }

  #count(change: "create" | "replace" | "delete"): void {
    this.#session.metrics.count("cloud_changes_total", "Changes made to the cloud's route table", {
      cloud: this.#table.cloud,
      change,
    });
  }
}

function notShown({ table, destination }: Put<CloudRoute>): CloudError {
  const route = formatPrefix(destination);
  return new CloudError("conflict", `Route ${route} was written to ${table}, which doesn't show it`);
}

/** A lease's subnets, IPv4 first. */
export function subnetsOf(subnets: PerFamily<Prefix>): Prefix[] {
  return familiesOf(subnets).map((family) => subnets[family.name]!);
}

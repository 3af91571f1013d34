/**
 * One pass over a cloud's route tables: look, compare, change what differs.
 *
 * A pass has two halves. {@link RoutePass.secure} makes the own routes stand, and that is all that readiness
 * waits for. {@link RoutePass.tidy} takes away what nobody uses any more. Both begin with what the tables hold
 * now, so whatever an earlier pass left half done, or somebody else did in between, is seen. To retry is to
 * make another pass.
 *
 * @module
 */
import type { BackendSession } from "../../lib/backend/types.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { familiesOf, type PerFamily } from "../../lib/net/family.ts";
import { formatPrefix, type Prefix } from "../../lib/net/prefix.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { decide, type Decision, isStanding, type Put, type Removal, routeKey } from "./decide.ts";
import { asCloudError, CloudError } from "./errors.ts";
import type { CloudRoute, Identity, RouteTable, TableUse } from "./route_table.ts";
import { CLOUD_CHANGES, CLOUD_ROUTES, CLOUD_ROUTES_LIMIT } from "./metrics.ts";

/** A table this full (of 1) deserves a warning. */
const NEARLY_FULL = 0.9;
/** First and last wait for a written route to be shown, doubling in between: some 13 s in all; milliseconds. */
const SHOW_FIRST_MS = 200;
const SHOW_LAST_MS = 6_400;

/** What a pass needs of the daemon. */
export type PassSession = Pick<BackendSession, "lease" | "peers" | "peersAreCurrent" | "log" | "metrics">;

/** How the first half went. */
export interface Secured {
  /** Whether the own routes stand; undefined where this pass couldn't see. */
  readonly standing: boolean | undefined;
  /** Why the instance drops what containers send, where it does. */
  readonly forwarding: CloudError | undefined;
  /** What went wrong with the routes, the most important first. */
  readonly errors: readonly CloudError[];
}

/** How the second half went. */
export interface Tidied {
  /** How many entries were removed. */
  readonly removed: number;
  /** The own routes need another pass now. */
  readonly urgent: boolean;
  readonly errors: readonly CloudError[];
}

/** Makes passes, and keeps between them what status shows. */
export class RoutePass<R extends CloudRoute> {
  readonly #table: RouteTable<R>;
  readonly #session: PassSession;
  readonly #networks: readonly Prefix[];
  readonly #own: readonly Prefix[];
  readonly #clock: Clock;
  #identity: Identity | undefined;
  #use: readonly TableUse[] = [];
  #useProblem: string | undefined;
  #leftovers = false;

  /** @param networks The flannel network of each family. */
  constructor(table: RouteTable<R>, session: PassSession, networks: readonly Prefix[], clock: Clock) {
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

  /** Whether the last look showed entries that {@link tidy} would remove. */
  get hasLeftovers(): boolean {
    return this.#leftovers;
  }

  /** Makes the own routes stand. Doesn't reject: what goes wrong is part of the outcome. */
  async secure(external: ExternalInterface, signal: AbortSignal): Promise<Secured> {
    const errors: CloudError[] = [];
    let standing: boolean | undefined;
    let forwarding: CloudError | undefined;
    this.#leftovers = false;
    await attempt(errors, async () => {
      await this.#identify(external, signal);
      forwarding = await this.#prepare(signal);
      const decision = await this.#look(signal);
      standing = isStanding(decision);
      if (standing) return;
      standing = await this.#restore(decision, errors, signal);
    });
    return { standing, forwarding, errors };
  }

  /**
   * Writes the own routes, waits until the table shows them, removes their rivals.
   *
   * @returns Whether they stand.
   */
  async #restore(decision: Decision<R>, errors: CloudError[], signal: AbortSignal): Promise<boolean> {
    for (const put of decision.puts) await attempt(errors, () => this.#put(put, signal));
    if (errors.length > 0) return false;
    let last: Decision<R> | undefined;
    await attempt(errors, async () => {
      const after = await this.#lookUntilShown(decision, signal);
      last = after;
      last = await this.#removeEach(after, ({ rivals }) => rivals, errors, signal);
    });
    // A cloud that took the routes and then fell silent has them.
    if (!last) return decision.rivals.length === 0;
    if (errors.length === 0 && last.puts.length > 0) errors.push(notStanding(last.puts[0]!));
    return errors.length === 0;
  }

  /**
   * Removes what nobody uses any more. Each removal is decided anew right before it is made: while the last one
   * took its time, another host may have leased the subnet and turned the route to itself.
   */
  async tidy(signal: AbortSignal): Promise<Tidied> {
    const errors: CloudError[] = [];
    let removed = 0;
    let urgent = false;
    await attempt(errors, async () => {
      // Without word from the store an absent lease says nothing.
      const leftovers = (decision: Decision<R>) => this.#session.peersAreCurrent() ? decision.leftovers : [];
      const decision = await this.#look(signal);
      const last = await this.#removeEach(decision, leftovers, errors, signal, () => removed++);
      urgent = isLost(decision, last);
    });
    return { removed, urgent, errors };
  }

  /**
   * Removes entries one by one, in an order left to chance: other hosts remove the same ones.
   *
   * @returns The last decision.
   */
  async #removeEach(
    first: Decision<R>,
    choose: (decision: Decision<R>) => readonly Removal<R>[],
    errors: CloudError[],
    signal: AbortSignal,
    onRemoved: () => void = () => {},
  ): Promise<Decision<R>> {
    const tried = new Set<string>();
    for (let decision = first;; decision = await this.#look(signal)) {
      const left = choose(decision).filter(({ route }) => !tried.has(routeKey(route)));
      const next = left[Math.floor(this.#clock.random() * left.length)];
      if (!next || isLost(first, decision) || errors.some(isGeneral)) return decision;
      tried.add(routeKey(next.route));
      await attempt(errors, async () => {
        if (next.unsure && !await this.#table.isGone?.(next.route, signal)) return;
        await this.#remove(next, signal);
        onRemoved();
      });
    }
  }

  async #identify(external: ExternalInterface, signal: AbortSignal): Promise<void> {
    const identity = await this.#table.identify(external, signal);
    const before = this.#identity;
    this.#identity = identity;
    const { instance, hop, tables } = identity;
    if (before?.hop === hop && before.tables.join() === tables.join()) return;
    const text = before ? "The cloud has another place for this host's route" : "This host in the cloud";
    this.#session.log.info(text, { instance, hop, tables: tables.join(",") });
  }

  /** @returns Why the instance drops what containers send; routes are written all the same. */
  async #prepare(signal: AbortSignal): Promise<CloudError | undefined> {
    try {
      await this.#table.prepare?.(signal);
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      return asCloudError(error);
    }
  }

  async #look(signal: AbortSignal): Promise<Decision<R>> {
    const routes = await this.#table.list(signal);
    const leased = [...this.#session.peers.peers.values()].flatMap((peer) => subnetsOf(peer.subnets));
    const tables = this.#identity?.tables ?? [];
    const decision = decide({ networks: this.#networks, own: this.#own, leased, tables, routes });
    this.#leftovers = decision.leftovers.length > 0;
    return decision;
  }

  /** Looks again; a table may take a while to show what was written. What it never showed before is news. */
  async #lookUntilShown(before: Decision<R>, signal: AbortSignal): Promise<Decision<R>> {
    const old = new Set(before.puts.map(({ existing }) => existing && routeKey(existing)));
    for (let wait = SHOW_FIRST_MS;; wait *= 2) {
      const decision = await this.#look(signal);
      const isNews = decision.puts.some(({ existing }) => existing && !old.has(routeKey(existing)));
      if (decision.puts.length === 0 || isNews || wait > SHOW_LAST_MS) return decision;
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
      this.#session.log.warn("Route pointed elsewhere, corrected", { table, route, was: existing.hop });
    } else {
      this.#count("create");
      this.#session.log.info("Route created", { table, route, hop: this.#identity?.hop });
    }
  }

  /** @throws {CloudError} Of kind `quota` where the table is full. An unknown limit stops nothing. */
  async #checkRoom(table: string, signal: AbortSignal): Promise<void> {
    try {
      this.#use = await this.#table.limits(signal);
    } catch (error) {
      signal.throwIfAborted();
      return this.#noteUnknownLimit(asCloudError(error).message);
    }
    for (const { table, used, limit } of this.#use) {
      const labels = { cloud: this.#table.cloud, table };
      this.#session.metrics.gauge(CLOUD_ROUTES, used, labels);
      if (limit === undefined) continue;
      this.#session.metrics.gauge(CLOUD_ROUTES_LIMIT, limit, labels);
      if (used < limit && used + 1 >= limit * NEARLY_FULL) {
        this.#session.log.warn("The cloud's route table is nearly full", { table, used, limit });
      }
    }
    const full = this.#use.find((use) =>
      use.table === table && use.limit !== undefined && use.used >= use.limit
    );
    if (full) throw this.#table.full(full, "seen before the write");
  }

  #noteUnknownLimit(message: string): void {
    if (this.#useProblem === message) return;
    this.#useProblem = message;
    this.#session.log.info("The limit of routes is unknown; the cloud refuses what is too much", {
      reason: message,
    });
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
    this.#session.metrics.count(CLOUD_CHANGES, {
      cloud: this.#table.cloud,
      change,
    });
  }
}

async function attempt(errors: CloudError[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    errors.push(asCloudError(error));
  }
}

/** Whether an own route that stood before is gone: to restore it comes first. */
function isLost(before: Decision<CloudRoute>, now: Decision<CloudRoute>): boolean {
  return before.puts.length === 0 && now.puts.length > 0;
}

/** Whether the next call would fail as well, whatever it is about. */
export function isGeneral({ kind }: CloudError): boolean {
  return kind === "throttled" || kind === "unavailable" || kind === "credentials";
}

function notStanding({ table, destination, existing }: Put<CloudRoute>): CloudError {
  const now = existing ? `it leads to ${existing.hop} now` : "which doesn't show it";
  return new CloudError("conflict", `Route ${formatPrefix(destination)} was written to ${table}, ${now}`);
}

/** A lease's subnets, IPv4 first. */
export function subnetsOf(subnets: PerFamily<Prefix>): Prefix[] {
  return familiesOf(subnets).map((family) => subnets[family.name]!);
}

/**
 * Makes the kernel's entries the desired ones, and keeps them so.
 *
 * A change of one owner costs the work of that owner ({@link Reconciler.flush}). A full pass
 * ({@link Reconciler.pass}) compares everything with a dump: at start, after a notification, now and then.
 *
 * @module
 */
import type { NetlinkSocket } from "../netlink/socket.ts";
import { findLink } from "../netlink/link.ts";
import { listNexthops, nexthopsSupported } from "../netlink/nexthop.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Log, Metrics, ProblemReporter } from "../observe/types.ts";
import { Turns } from "../time/turns.ts";
import { type OwnLink, readActualEntries, ROUTE_PROTOCOL } from "./actual_entries.ts";
import { DesiredEntries, type EntryChanges } from "./desired_entries.ts";
import { diffEntries, entryOf, inOrder, type Operation, type Operations } from "./diff.ts";
import { describeEntry, type Entry, type EntryIdentity } from "./entries.ts";
import { EntryTable } from "./entry_table.ts";
import { EntryWriter, type Refusal } from "./entry_writer.ts";
import { Nexthops, PLAIN_ROUTES } from "./nexthops.ts";
import { ENTRIES, ENTRIES_FAILED, FAILURES, OPERATIONS } from "./metrics.ts";

/** Operations done before other work of the daemon gets its turn: some 20 ms in the kernel. */
const OPERATIONS_PER_TURN = 1_024;

/** Operations whose requests are in memory at the same time: few enough that they are garbage before V8 keeps them. */
const OPERATIONS_PER_WRITE = 256;

/** Entries that fail are named one by one up to this many. */
const NAMED_FAILURES = 5;

/** A VXLAN peer's neighbour, fdb entry and route. */
const ENTRIES_PER_PEER = 3;

/** What failed is tried again after this long, in milliseconds; doubled each time, up to a pass's interval. */
const RETRY_MS = 500;
const RETRY_MAX_MS = 60_000;

/** What a pass or flush did. */
export interface ReconcileResult {
  /** Operations carried out, failed ones included. */
  readonly operations: number;
  /** How many of them failed; {@link Reconciler.retry} tries them again. */
  readonly failures: number;
}

/** What could not be done, and when it is tried again. */
interface Failure extends Refusal {
  /** Of `performance.now()`. */
  readonly due: number;
  /** How long that was from the last time, in milliseconds. */
  readonly delay: number;
}

/** What the reconciler needs. */
export interface ReconcilerOptions {
  readonly socket: NetlinkSocket;
  /** Our networks; routes elsewhere are never ours. */
  readonly networks: readonly Prefix[];
  /** Identifies this network among others on the host. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Gets `kernel entries` while some can't be written. */
  readonly problems: ProblemReporter;
}

/** Owns all entries of one network on this host. Calls may overlap; the work is done one after the other. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #desired = new DesiredEntries();
  readonly #nexthops: Nexthops;
  readonly #writer: EntryWriter;
  /** What failed last. */
  #failed = new EntryTable<Failure>();
  /** None before the first pass, which compares everything: of a large network they would take 5 MB. */
  #changes: EntryChanges | undefined;
  readonly #turns = new Turns();
  #nexthopsSupported: boolean | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#nexthops = new Nexthops(options.networkId);
    this.#writer = new EntryWriter({ ...options, nexthops: this.#nexthops });
  }

  /**
   * The devices of ours that are there now; others' entries on them are removed.
   *
   * @param missing Names of those that aren't there: what has such a name now is somebody else's.
   */
  setLinks(links: readonly OwnLink[], missing: readonly string[] = []): void {
    this.#writer.setLinks(links, missing);
  }

  /** What `owner` needs from now on; takes effect with the next {@link flush} or {@link pass}. */
  set(owner: string, entries: readonly Entry[]): void {
    this.#desired.set(owner, entries, this.#changes);
  }

  /** How many entries are desired. */
  get size(): number {
    return this.#desired.size;
  }

  /** When something that failed is due for a retry, of `performance.now()`; infinite if nothing did. */
  get retryAt(): number {
    return this.#failed.values().reduce((earliest, { due }) => Math.min(earliest, due), Infinity);
  }

  /** The entry that is desired for an identity. */
  desired(identity: EntryIdentity): Entry | undefined {
    return this.#desired.get(identity);
  }

  /** Names of the links that are to have routes of ours. */
  routeLinks(): readonly string[] {
    return [...this.#desired.routeLinks.keys()];
  }

  /** Whether one of our routes uses the next-hop object. */
  usesNexthop(id: number): boolean {
    return this.#nexthops.uses(id);
  }

  /** How many entries are desired, and the ones that could not be written, with the reasons. */
  state(): { entries: number; nexthops: number; failures: { entry: string; error: string }[] } {
    const failures = Array.from(this.#failed.values(), ({ operation, reason }) => ({
      entry: describeEntry(entryOf(operation)),
      error: reason,
    }));
    return { entries: this.#desired.size, nexthops: this.#nexthops.size, failures };
  }

  /** Carries out what changed since the last flush or pass. */
  flush(): Promise<ReconcileResult> {
    return this.#turns.take(() => {
      const changes: EntryChanges = this.#changes ?? new EntryTable();
      this.#changes = new EntryTable();
      const operations: Operation[] = [];
      for (const { identity, before } of changes.values()) {
        const entry = this.#desired.get(identity);
        const wasWritten = before !== undefined && !this.#failed.has(identity);
        if (entry) operations.push({ verb: "set", entry, replaces: wasWritten });
        else if (before) {
          const nexthopId = this.#nexthops.idOf(before);
          const actual = { entry: before, ...(nexthopId === undefined ? {} : { nexthopId }) };
          operations.push({ verb: "remove", actual });
        }
      }
      return this.#carryOut(inOrder(operations));
    });
  }

  /** Tries again what failed and is due, and nothing else: the others needn't wait for it. */
  retry(): Promise<ReconcileResult> {
    return this.#turns.take(() => {
      const now = performance.now();
      const operations = this.#failed.values()
        // What changed meanwhile is the next flush's.
        .filter(({ due, operation }) => due <= now && !this.#changes?.has(entryOf(operation)))
        .map(({ operation }) => operation);
      return this.#carryOut(inOrder([...operations]));
    });
  }

  /** Compares everything with the kernel, and writes what differs. */
  pass(): Promise<ReconcileResult> {
    return this.#turns.take(async () => {
      this.#changes = new EntryTable();
      const failedBefore = this.#failed;
      this.#failed = new EntryTable();
      this.#refreshNexthops();
      const { socket, networks, log } = this.#options;
      const linkName = memoized((index: number) => findLink(socket, index)?.name);
      const actual = readActualEntries(socket, { networks, links: this.#writer.links, linkName });
      const operations = diffEntries(
        this.#desired,
        actual,
        ({ entry, nexthopId }) => nexthopId === undefined || this.#nexthops.adopt(entry, nexthopId),
      );
      const result = await this.#carryOut(operations, failedBefore);
      this.#writer.removeNexthops(this.#nexthops.unused);
      if (operations.length > 0) log.debug("Kernel entries reconciled", { operations: operations.length });
      return result;
    });
  }

  #refreshNexthops(): void {
    const { socket } = this.#options;
    this.#nexthopsSupported ??= nexthopsSupported(socket);
    if (!this.#nexthopsSupported) return;
    const own = new Set(this.#writer.links.map(({ index }) => index));
    this.#nexthops.refresh(
      listNexthops(socket),
      ({ linkIndex, protocol }) =>
        protocol === ROUTE_PROTOCOL && linkIndex !== undefined && own.has(linkIndex),
    );
  }

  /** @param failedBefore What had failed when all this was last tried; by default what has failed now. */
  async #carryOut(
    operations: Operations,
    failedBefore?: EntryTable<Failure>,
  ): Promise<ReconcileResult> {
    const { metrics } = this.#options;
    let failures = 0;
    let done = 0;
    this.#writer.startRound();
    for (const some of lots(operations, OPERATIONS_PER_WRITE)) {
      if (done > 0 && done % OPERATIONS_PER_TURN === 0) {
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      done += some.length;
      const refusals = this.#writer.write(some, this.#withNexthops).map((refusal): Failure => {
        const last = (failedBefore ?? this.#failed).get(entryOf(refusal.operation))?.delay;
        const delay = last === undefined ? RETRY_MS : Math.min(last * 2, RETRY_MAX_MS);
        return { ...refusal, delay, due: performance.now() + delay };
      });
      for (const operation of some) this.#failed.delete(entryOf(operation));
      for (const failure of refusals) this.#failed.set(entryOf(failure.operation), failure);
      failures += refusals.length;
      metrics.count(OPERATIONS, {}, some.length);
    }
    metrics.count(FAILURES, {}, failures);
    metrics.gauge(ENTRIES, this.#desired.size);
    metrics.gauge(ENTRIES_FAILED, this.#failed.size);
    this.#report();
    return { operations: operations.length, failures };
  }

  #report(): void {
    const { problems } = this.#options;
    if (this.#failed.size === 0) return problems.clear("kernel entries", "all written");
    const named = this.#failed.values().take(NAMED_FAILURES).map(({ operation, reason }) =>
      `${operation.verb === "set" ? "" : "removal of "}${describeEntry(entryOf(operation))}: ${reason}`
    );
    const more = this.#failed.size > NAMED_FAILURES ? `; ${this.#failed.size - NAMED_FAILURES} more` : "";
    problems.set("kernel entries", `cannot write, retrying: ${[...named].join("; ")}${more}`);
  }

  get #withNexthops(): boolean {
    return this.#nexthopsSupported === true && this.#desired.size > PLAIN_ROUTES * ENTRIES_PER_PEER;
  }
}

/** Parts of `size` values, the last one of what is left. */
function* lots<T>(values: Iterable<T>, size: number): Generator<readonly T[], void> {
  let lot: T[] = [];
  for (const value of values) {
    if (lot.push(value) < size) continue;
    yield lot;
    lot = [];
  }
  if (lot.length > 0) yield lot;
}

function memoized<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
  };
}

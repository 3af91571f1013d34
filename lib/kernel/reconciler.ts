/**
 * Makes the kernel's entries what they are to be, and keeps them so.
 *
 * A change of one owner costs the work of that owner ({@link Reconciler.flush}). A full pass
 * ({@link Reconciler.pass}) compares everything with a dump: at start, after a notification, now and then.
 *
 * @module
 */
import type { NetlinkError } from "../netlink/error.ts";
import type { NetlinkRequest, NetlinkSocket } from "../netlink/socket.ts";
import { findLink } from "../netlink/link.ts";
import { listNexthops, nexthopRequest, nexthopsSupported } from "../netlink/nexthop.ts";
import type { Prefix } from "../net/prefix.ts";
import type { Log, Metrics } from "../observe/types.ts";
import { type OwnLink, readActualEntries, ROUTE_PROTOCOL } from "./actual_entries.ts";
import { DesiredEntries, type EntryChanges } from "./desired_entries.ts";
import { describeEntry, type Entry, entryKey, type RouteEntry } from "./entries.ts";
import { gatewayKey, Nexthops, PLAIN_ROUTES } from "./nexthops.ts";
import {
  clearRequest,
  LinkMissing,
  mayBeInTheWay,
  removeRequests,
  type RequestContext,
  setRequests,
} from "./operation_requests.ts";
import { inOrder, type Operation, planPass } from "./plan.ts";

/** Operations done before other work of the daemon gets its turn: some 20 ms in the kernel. */
const OPERATIONS_PER_TURN = 1_024;

/** Entries that fail are named one by one up to this many at a time, and once for each reason. */
const NAMED_FAILURES = 5;

/** What a pass or flush did. */
export interface ReconcileResult {
  /** Operations carried out, failed ones included. */
  readonly operations: number;
  /** Entries that could not be put right; they are tried again by the next pass. */
  readonly failures: number;
}

/** What the reconciler needs. */
export interface ReconcilerOptions {
  readonly socket: NetlinkSocket;
  /** Our networks; routes elsewhere are never ours. */
  readonly networks: readonly Prefix[];
  /** Tells this network from others on the host. */
  readonly networkId: string;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Owns all entries of one network on this host. Calls may overlap; the work is done one after the other. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #desired = new DesiredEntries();
  readonly #nexthops: Nexthops;
  readonly #failed = new Map<string, string>();
  /** What had failed before this pass, and how much of what fails is new. */
  #failedBefore: ReadonlyMap<string, string> = new Map();
  #newFailures = 0;
  #changes: EntryChanges = new Map();
  #links: readonly OwnLink[] = [];
  #missing: ReadonlySet<string> = new Set();
  #nexthopsSupported: boolean | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#nexthops = new Nexthops(options.networkId);
  }

  /**
   * The devices of ours that are there now; others' entries on them are removed.
   *
   * @param missing Names of those that aren't there: what has such a name now is somebody else's.
   */
  setLinks(links: readonly OwnLink[], missing: readonly string[] = []): void {
    this.#links = links;
    this.#missing = new Set(missing);
  }

  /** What `owner` needs from now on; takes effect with the next {@link flush} or {@link pass}. */
  set(owner: string, entries: readonly Entry[]): void {
    this.#desired.set(owner, entries, this.#changes);
  }

  /** How many entries are desired. */
  get size(): number {
    return this.#desired.size;
  }

  /** The entry that is desired under a key. */
  desired(key: string): Entry | undefined {
    return this.#desired.get(key);
  }

  /** How many entries are desired, and the ones that the kernel refused with its reasons. */
  state(): { entries: number; nexthops: number; failures: { entry: string; error: string }[] } {
    const failures = [...this.#failed].map(([key, error]) => {
      const entry = this.#desired.get(key);
      return { entry: entry ? describeEntry(entry) : key, error };
    });
    return { entries: this.#desired.size, nexthops: this.#nexthops.size, failures };
  }

  /** Carries out what changed since the last flush or pass. */
  flush(): Promise<ReconcileResult> {
    return this.#serially(() => {
      const changes = this.#changes;
      this.#changes = new Map();
      const operations: Operation[] = [];
      for (const [key, before] of changes) {
        const entry = this.#desired.get(key);
        if (entry) operations.push({ verb: "set", key, entry });
        else if (before) operations.push({ verb: "remove", key, actual: { entry: before, ours: true } });
      }
      return this.#carryOut(inOrder(operations));
    });
  }

  /** Compares everything with the kernel and puts right what differs. */
  pass(): Promise<ReconcileResult> {
    return this.#serially(async () => {
      this.#changes = new Map();
      this.#failedBefore = new Map(this.#failed);
      this.#failed.clear();
      const { socket, networks } = this.#options;
      const linkName = memoized((index: number) => findLink(socket, index)?.name);
      const orphans = this.#refreshNexthops();
      const actual = readActualEntries(socket, { networks, links: this.#links, linkName });
      const operations = planPass(this.#desired, actual);
      const result = await this.#carryOut(operations);
      socket.batch(orphans);
      if (operations.length > 0) {
        this.#options.log.debug("Kernel entries put right", { operations: operations.length });
      }
      return result;
    });
  }

  /** Reads our next-hop objects; gives the requests that remove those that no desired route uses. */
  #refreshNexthops(): NetlinkRequest[] {
    const { socket } = this.#options;
    this.#nexthopsSupported ??= nexthopsSupported(socket);
    if (!this.#nexthopsSupported) return [];
    const own = new Map(this.#links.map((link) => [link.index, link.name]));
    const ours = this.#nexthops.refresh(listNexthops(socket), own, ROUTE_PROTOCOL);
    if (ours.length === 0) return [];
    const inUse = new Set<string>();
    for (const [, entry] of this.#desired.entries()) {
      if (entry.kind === "route") inUse.add(gatewayKey(entry));
    }
    return ours
      .filter(({ linkIndex, gateway, family }) => {
        const link = own.get(linkIndex!)!;
        const destination = { family, base: gateway!.value, length: family.bits };
        return !inUse.has(gatewayKey({ kind: "route", link, destination, gateway: gateway!, onlink: true }));
      })
      .map(({ id }) => nexthopRequest("delete", { id }));
  }

  async #carryOut(operations: readonly Operation[]): Promise<ReconcileResult> {
    this.#newFailures = 0;
    for (let start = 0; start < operations.length; start += OPERATIONS_PER_TURN) {
      if (start > 0) await new Promise((resolve) => setTimeout(resolve, 0));
      this.#carryOutSome(operations.slice(start, start + OPERATIONS_PER_TURN));
    }
    if (this.#newFailures > NAMED_FAILURES) {
      const more = this.#newFailures - NAMED_FAILURES;
      this.#options.log.warn("More entries could not be put right; see flanneld status", { entries: more });
    }
    this.#options.metrics.gauge("entries", "Kernel entries that are to be there", this.#desired.size);
    this.#options.metrics.gauge(
      "entries_failed",
      "Kernel entries that could not be put right",
      this.#failed.size,
    );
    return { operations: operations.length, failures: this.#failed.size };
  }

  #carryOutSome(operations: readonly Operation[]): void {
    const { metrics } = this.#options;
    const context: RequestContext = {
      linkIndex: memoized((name: string) => this.#linkIndex(name)),
      useNexthop: (route: RouteEntry) => this.#useNexthop(route),
      nexthops: this.#nexthops,
    };
    const requests: NetlinkRequest[] = [];
    const sources: Operation[] = [];
    for (const operation of operations) {
      const made = operation.verb === "set"
        ? setRequests(operation.entry, context)
        : removeRequests(operation.actual, context);
      if (made instanceof LinkMissing) {
        this.#failed.set(operation.key, `no link ${made.link}`);
        continue;
      }
      this.#failed.delete(operation.key);
      for (const request of made) {
        requests.push(request);
        sources.push(operation);
      }
    }
    const refused = this.#execute(requests, sources);
    for (const [operation, error] of this.#clearTheWay(refused, context)) {
      this.#failedOperation(operation, error);
    }
    metrics.count("entry_operations_total", "Kernel entries written or removed", {}, operations.length);
  }

  /** Sends requests; gives the operations that failed. Request `i` is part of `sources[i]`. */
  #execute(
    requests: readonly NetlinkRequest[],
    sources: readonly Operation[],
  ): Map<Operation, NetlinkError> {
    const refused = new Map<Operation, NetlinkError>();
    for (const { index, error } of this.#options.socket.batch(requests)) {
      const operation = sources[index]!;
      if (operation.verb === "remove" && isGone(error)) continue;
      if (!refused.has(operation)) refused.set(operation, error);
      const entry = operation.verb === "set" ? operation.entry : operation.actual.entry;
      // A next hop that failed is made anew with another id.
      if (entry.kind === "route") this.#nexthops.release(entry);
    }
    return refused;
  }

  /** Removes what may be in the way of routes and tries those again; gives what stays refused. */
  #clearTheWay(
    refused: ReadonlyMap<Operation, NetlinkError>,
    context: RequestContext,
  ): ReadonlyMap<Operation, NetlinkError> {
    const clears: NetlinkRequest[] = [];
    const requests: NetlinkRequest[] = [];
    const sources: Operation[] = [];
    for (const [operation, error] of refused) {
      if (operation.verb !== "set" || !mayBeInTheWay(operation.entry, error.code)) continue;
      const made = setRequests(operation.entry, context);
      if (made instanceof LinkMissing) continue;
      clears.push(clearRequest(operation.entry));
      requests.push(...made);
      sources.push(...made.map(() => operation));
    }
    if (requests.length === 0) return refused;
    this.#options.socket.batch(clears);
    const retried = new Set(sources);
    const left = new Map([...refused].filter(([operation]) => !retried.has(operation)));
    for (const [operation, error] of this.#execute(requests, sources)) left.set(operation, error);
    return left;
  }

  #failedOperation(operation: Operation, error: NetlinkError): void {
    const entry = operation.verb === "set" ? operation.entry : operation.actual.entry;
    const key = entryKey(entry);
    if (this.#failed.has(key)) return;
    this.#failed.set(key, error.message);
    this.#options.metrics.count("entry_errors_total", "Kernel entries that the kernel refused");
    if (this.#failedBefore.get(key) === error.message || ++this.#newFailures > NAMED_FAILURES) return;
    this.#options.log.warn(`Cannot ${operation.verb} ${describeEntry(entry)}`, { error: error.message });
  }

  #linkIndex(name: string): number | undefined {
    const own = this.#links.find((link) => link.name === name);
    if (own || this.#missing.has(name)) return own?.index;
    return findLink(this.#options.socket, name)?.index;
  }

  #useNexthop(route: RouteEntry): boolean {
    return this.#nexthopsSupported === true && this.#desired.size > PLAIN_ROUTES * ENTRIES_PER_PEER &&
      this.#links.some((link) => link.name === route.link);
  }

  #serially<T>(work: () => Promise<T> | T): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** A VXLAN peer's neighbour, fdb entry and route. */
const ENTRIES_PER_PEER = 3;

/** What was to be removed is not there any more. */
function isGone(error: NetlinkError): boolean {
  return ["ENOENT", "ESRCH", "ENODEV", "EADDRNOTAVAIL"].includes(error.code);
}

function memoized<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key)!;
  };
}

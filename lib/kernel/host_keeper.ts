/**
 * Keeps one host as its plan says: devices and entries together, whatever happens to them.
 *
 * Notifications are hints: each that touches what is ours brings a full pass soon. A pass every minute is the
 * truth, for changes without a notification.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { ChangeNotification, NetlinkMonitor } from "../netlink/monitor.ts";
import { findLink } from "../netlink/link.ts";
import { releaseHeap } from "../observe/heap.ts";
import { pause } from "../time/pause.ts";
import { Rounds } from "../time/rounds.ts";
import { Wake } from "../time/wake.ts";
import { type OwnLink, ROUTE_PROTOCOL } from "./actual_entries.ts";
import type { DesiredLink } from "./desired_link.ts";
import { type Entry, sameEntry } from "./entries.ts";
import { type EntryNotification, entryOf, identityOf, isSettled } from "./entry_notifications.ts";
import { ensureLinks, type LinkKeeperOptions, removeOtherLinks } from "./link_keeper.ts";
import { UnderlayMissingError } from "./vxlan_keeper.ts";
import { Reconciler, type ReconcileResult } from "./reconciler.ts";
import { NETLINK_OVERRUNS, PASS_SECONDS, REPAIRS } from "./metrics.ts";

/** Owner of the entries that are the host's, not a peer's: no lease has such a key. */
const HOST = "host";

/** How long notifications are collected before a pass: an event rarely comes alone. */
const COALESCE_MS = 50;

/** A full pass at least this often. */
const PASS_INTERVAL_MS = 60_000;

/** A pass that failed as a whole is made again after this long: doubled up to {@link PASS_INTERVAL_MS}. */
const RETRY_MS = 500;

/** A pass over more entries leaves tens of megabytes of garbage. */
const MANY_ENTRIES = 3_000;

/** Share of the time that passes may take when notifications never stop: one in ten … */
const DUTY = 10;

/** … but the next one isn't kept waiting for longer than this: what breaks is to heal within 2 s. */
const LONGEST_REST_MS = 1_000;

/** What of a plan the keeper carries out. */
export interface KeptPlan {
  readonly links: readonly DesiredLink[];
  readonly entries: readonly Entry[];
}

/** What a change of the host means for the plan. */
export interface HostChange {
  /** Whether the plan is another one now. */
  readonly changed: boolean;
  /** Look again after this long though nothing happens, in milliseconds. */
  readonly again?: number;
}

/** Keeps devices and entries of one network. */
export class HostKeeper {
  readonly #options: LinkKeeperOptions;
  readonly #reconciler: Reconciler;
  #plan: KeptPlan = { links: [], entries: [] };
  #own: readonly OwnLink[] = [];
  #problem: string | undefined;
  #wake: Wake<Reason> | undefined;
  #passed = false;
  readonly #flushes = new Rounds(() => this.#flush());
  /** Indexes of others' links that carry routes of ours, as of the last pass. */
  #carriers: ReadonlySet<number> = new Set();

  constructor(options: LinkKeeperOptions) {
    this.#options = options;
    this.#reconciler = new Reconciler(options);
  }

  /**
   * Takes a new plan and makes its devices.
   *
   * @throws {LinkConflictError} If a device of the same name isn't ours.
   */
  setPlan(plan: KeptPlan): void {
    this.#plan = plan;
    this.#reconciler.set(HOST, plan.entries);
    removeOtherLinks(plan.links, this.#options);
    const errors = this.#ensureLinks();
    const fatal = errors.find((error) => !(error instanceof UnderlayMissingError));
    if (fatal) throw fatal;
    this.#tell(problemOf(errors));
  }

  /**
   * What peers need from now on, by the lease's key; nothing: the peer is gone. The kernel has it soon; what fails is
   * tried again. Before the first pass nothing is written: the pass finds what is there already, and writes the rest.
   */
  setPeers(peers: Iterable<readonly [key: string, entries: readonly Entry[]]>): void {
    for (const [key, entries] of peers) this.#reconciler.set(key, entries);
    if (this.#passed) this.#flushes.ask();
  }

  /** Never throws. */
  async #flush(): Promise<void> {
    try {
      const { failures } = await this.#reconciler.flush();
      if (failures > 0) this.#wake?.up("failed");
    } catch (error) {
      this.#tell(messageOf(error));
      this.#wake?.up("ours");
    }
  }

  /** A full pass: devices first, then entries. Never throws: failures are retried. */
  async pass(): Promise<ReconcileResult> {
    const { metrics } = this.#options;
    const began = performance.now();
    const isFirst = !this.#passed;
    this.#passed = true;
    try {
      const problem = problemOf(this.#ensureLinks());
      const own = new Set(this.#plan.links.map(({ name }) => name));
      const carriers = this.#reconciler.routeLinks().filter((name) => !own.has(name));
      this.#carriers = new Set(carriers.flatMap((name) => findLink(this.#options.socket, name)?.index ?? []));
      const { operations, failures } = await this.#reconciler.pass();
      metrics.observe(PASS_SECONDS, (performance.now() - began) / 1000);
      metrics.count(REPAIRS, {}, isFirst ? 0 : operations);
      if (this.#reconciler.size > MANY_ENTRIES) {
        // Changes that waited for the pass go first.
        await new Promise((resolve) => setTimeout(resolve, 0));
        releaseHeap();
      }
      this.#tell(problem);
      return { operations, failures: failures + (problem ? 1 : 0) };
    } catch (error) {
      this.#tell(messageOf(error));
      return { operations: 0, failures: 1 };
    }
  }

  /** For `status`: what is kept and what could not be. */
  state(): ReturnType<Reconciler["state"]> & { links: string[]; problem: string | undefined } {
    return { ...this.#reconciler.state(), links: this.#own.map(({ name }) => name), problem: this.#problem };
  }

  /**
   * Makes devices and entries, and keeps them correct until the signal fires.
   *
   * @param onHostChange Called when links, addresses or routes that aren't ours changed, and with each full pass:
   * the plan may depend on them.
   */
  async run(
    monitor: NetlinkMonitor,
    signal: AbortSignal,
    onHostChange: () => Promise<HostChange>,
  ): Promise<void> {
    const wake = this.#wake = new Wake<Reason>(signal);
    const reading = this.#read(monitor, wake);
    // What came until now is what the first pass finds anyhow, as far as it is ours: the devices, for example.
    await pause(0, signal);
    if (wake.take().has("host")) wake.up("host");
    await this.pass();
    let retry = RETRY_MS;
    let passAt = performance.now() + PASS_INTERVAL_MS;
    let lookAt = Infinity;
    while (!signal.aborted) {
      if (this.#problem === undefined) retry = RETRY_MS;
      else passAt = Math.min(passAt, performance.now() + retry);
      await wake.within(Math.min(passAt, lookAt, this.#reconciler.retryAt) - performance.now());
      await pause(COALESCE_MS, signal);
      if (signal.aborted) break;
      const began = performance.now();
      const reasons = wake.take();
      const isTime = began >= passAt;
      const looks = isTime || began >= lookAt || reasons.has("host");
      const { changed, again = Infinity } = looks ? await this.#follow(onHostChange) : { changed: false };
      if (looks) lookAt = performance.now() + again;
      // Containers come and go, and most of what they change doesn't concern us.
      if (isTime || reasons.has("ours") || changed) {
        await this.pass();
        passAt = performance.now() + PASS_INTERVAL_MS;
        retry = Math.min(retry * 2, PASS_INTERVAL_MS);
      } else await this.#retry();
      await pause(Math.min((performance.now() - began) * DUTY, LONGEST_REST_MS), signal);
    }
    await reading;
  }

  /** Tries again what failed: a full pass would make each event cost as much as all peers together. */
  async #retry(): Promise<void> {
    if (this.#reconciler.retryAt > performance.now()) return;
    try {
      await this.#reconciler.retry();
    } catch (error) {
      this.#tell(messageOf(error));
    }
  }

  async #follow(onHostChange: () => Promise<HostChange>): Promise<HostChange> {
    try {
      return await onHostChange();
    } catch (error) {
      this.#tell(messageOf(error));
      // The pass that follows tries again what failed.
      return { changed: true };
    }
  }

  async #read(monitor: NetlinkMonitor, wake: Wake<Reason>): Promise<void> {
    for await (const notification of monitor) {
      if (notification.kind === "overrun") {
        this.#options.metrics.count(NETLINK_OVERRUNS);
        wake.up("host", "ours");
      } else wake.up(...this.#judge(notification));
    }
  }

  /** Whose change this is: ours only if it contradicts what is desired. */
  #judge(change: ChangeNotification): readonly Reason[] {
    switch (change.kind) {
      case "link": {
        const { name, index } = change.value;
        if (this.#plan.links.some((link) => link.name === name) || this.#isOwn(index)) return ["ours"];
        // IPv4 routes go with their link or with its last address, and nothing says so.
        return this.#reconciler.routeLinks().includes(name) ? ["host", "ours"] : ["host"];
      }
      case "address": {
        const { linkIndex } = change.value;
        if (this.#isOwn(linkIndex)) return ["ours"];
        return this.#carriers.has(linkIndex) ? ["host", "ours"] : ["host"];
      }
      case "nexthop": {
        // Our own changes don't come back: whoever changes an object of ours leads its routes elsewhere.
        const { id, linkIndex } = change.value;
        return this.#isOwn(linkIndex) || this.#reconciler.usesNexthop(id) ? ["ours"] : [];
      }
      default: {
        const reason = this.#judgeEntry(change);
        return reason ? [reason] : [];
      }
    }
  }

  /** Our own writes come back as notifications, and so do those of others that change nothing for us. */
  #judgeEntry(change: EntryNotification): Reason | undefined {
    const link = this.#own.find((own) => own.index === change.value.linkIndex);
    const isForeign = change.kind === "route" && !link && change.value.protocol !== ROUTE_PROTOCOL;
    const desired = this.#reconciler.desired(identityOf(change, link?.name ?? ""));
    if (change.change === "delete" || !link) return desired ? "ours" : isForeign ? "host" : undefined;
    const entry = entryOf(change, link.name);
    const isThere = entry && isSettled(change);
    if (!desired) return isThere ? "ours" : undefined;
    return isThere && sameEntry(desired, entry) ? undefined : "ours";
  }

  #isOwn(index: number | undefined): boolean {
    return this.#own.some((link) => link.index === index);
  }

  /** Makes the devices, each for itself; gives what went wrong. */
  #ensureLinks(): Error[] {
    const own: OwnLink[] = [];
    const missing: string[] = [];
    const errors: Error[] = [];
    for (const link of this.#plan.links) {
      try {
        own.push(...ensureLinks([link], this.#options).own);
      } catch (error) {
        missing.push(link.name);
        errors.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#own = own;
    this.#reconciler.setLinks(own, missing);
    return errors;
  }

  #tell(problem: string | undefined): void {
    this.#problem = problem;
    const { problems } = this.#options;
    if (problem) problems.set("kernel", `cannot reconcile, retrying: ${problem}`);
    else problems.clear("kernel", "reconciled");
  }
}

function problemOf(errors: readonly Error[]): string | undefined {
  return errors.length === 0 ? undefined : errors.map(({ message }) => message).join("; ");
}

/** Why there is work: a change of what we keep, one of what the plan may depend on, or a flush with failures. */
type Reason = "ours" | "host" | "failed";

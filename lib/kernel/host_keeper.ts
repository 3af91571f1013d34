/**
 * Keeps one host as its plan says: devices and entries together, whatever happens to them.
 *
 * Notifications are hints: each that touches what is ours brings a full pass soon. A pass every minute is the
 * truth, for what no notification told.
 *
 * @module
 */
import type { NetlinkMonitor, NetlinkNotification } from "../netlink/monitor.ts";
import { containsPrefix } from "../net/prefix.ts";
import { pause } from "../pause.ts";
import { type OwnLink, ROUTE_PROTOCOL } from "./actual_entries.ts";
import type { DesiredLink } from "./desired_link.ts";
import type { Entry } from "./entries.ts";
import {
  ensureLinks,
  type LinkKeeperOptions,
  removeOtherLinks,
  UnderlayMissingError,
} from "./link_keeper.ts";
import { Reconciler, type ReconcileResult } from "./reconciler.ts";

/** Owner of the entries that are the host's, not a peer's. */
const HOST = "host";

/** How long notifications are collected before a pass: an event rarely comes alone. */
const COALESCE_MS = 50;

/** A full pass at least this often. */
const PASS_INTERVAL_MS = 60_000;

/** Retry of what failed: doubled up to {@link PASS_INTERVAL_MS}. */
const RETRY_MS = 500;

/** Share of the time that passes may take when notifications never stop: one in ten. */
const DUTY = 10;

/** What of a plan the keeper carries out. */
export interface KeptPlan {
  readonly links: readonly DesiredLink[];
  readonly entries: readonly Entry[];
}

/** Keeps devices and entries of one network. */
export class HostKeeper {
  readonly #options: LinkKeeperOptions;
  readonly #reconciler: Reconciler;
  #plan: KeptPlan = { links: [], entries: [] };
  #own: readonly OwnLink[] = [];
  #problem: string | undefined;
  #wake: Wake | undefined;
  #passed = false;

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
    this.#tell(this.#ensureLinks());
  }

  /** What a peer needs from now on (nothing: it is gone); {@link flush} or the next pass makes it true. */
  setPeer(key: string, entries: readonly Entry[]): void {
    this.#reconciler.set(`peer ${key}`, entries);
  }

  /**
   * Carries out what changed. Never throws: what fails brings a pass soon. Before the first pass it does
   * nothing: the pass finds what is right already, and writes only the rest.
   */
  async flush(): Promise<void> {
    if (!this.#passed) return;
    try {
      const { failures } = await this.#reconciler.flush();
      if (failures > 0) this.#wake?.up("ours");
    } catch (error) {
      this.#tell(messageOf(error));
      this.#wake?.up("ours");
    }
  }

  /** Puts right whatever differs: devices first, then entries. Never throws for what a later pass may mend. */
  async pass(): Promise<ReconcileResult> {
    this.#passed = true;
    try {
      const problem = this.#ensureLinks();
      const { operations, failures } = await this.#reconciler.pass();
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
   * Puts everything right, and keeps it so until the signal fires.
   *
   * @param onHostChange Called before a pass when links, addresses or routes that aren't ours changed: the plan may
   * depend on them.
   */
  async run(monitor: NetlinkMonitor, signal: AbortSignal, onHostChange: () => Promise<void>): Promise<void> {
    const wake = this.#wake = new Wake(signal);
    const reading = this.#read(monitor, wake);
    let retry = RETRY_MS;
    let { failures } = await this.pass();
    while (!signal.aborted) {
      await wake.next(failures > 0 ? retry : PASS_INTERVAL_MS);
      await pause(COALESCE_MS, signal);
      if (signal.aborted) break;
      const began = performance.now();
      if (wake.take() !== "ours") await onHostChange();
      ({ failures } = await this.pass());
      retry = failures > 0 ? Math.min(retry * 2, PASS_INTERVAL_MS) : RETRY_MS;
      await pause((performance.now() - began) * DUTY, signal);
    }
    await reading;
  }

  async #read(monitor: NetlinkMonitor, wake: Wake): Promise<void> {
    for await (const notification of monitor) {
      if (notification.kind === "overrun") {
        this.#options.metrics.count(
          "netlink_overruns_total",
          "Times the kernel dropped notifications for us",
        );
        wake.up("host");
      } else if (this.#touchesOurs(notification)) wake.up("ours");
      else if (notification.kind !== "neighbour" && notification.kind !== "fdb") wake.up("host");
    }
  }

  #touchesOurs(notification: Exclude<NetlinkNotification, { kind: "overrun" }>): boolean {
    const isOwn = (index: number | undefined) => this.#own.some((link) => link.index === index);
    switch (notification.kind) {
      case "link":
        return isOwn(notification.value.index) ||
          this.#plan.links.some((link) => link.name === notification.value.name);
      case "route": {
        const { destination, linkIndex, protocol } = notification.value;
        const isInside = this.#options.networks.some((network) => containsPrefix(network, destination));
        return isOwn(linkIndex) || (protocol === ROUTE_PROTOCOL && isInside);
      }
      default:
        return isOwn(notification.value.linkIndex);
    }
  }

  /** Makes the devices; gives the reason where one has to wait. */
  #ensureLinks(): string | undefined {
    try {
      const { own } = ensureLinks(this.#plan.links, this.#options);
      this.#own = own;
      this.#reconciler.setLinks(own);
      return undefined;
    } catch (error) {
      if (error instanceof UnderlayMissingError) return error.message;
      throw error;
    }
  }

  /** Says a problem once, and that it is over. */
  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem) this.#options.log.error("Cannot put the host right; trying again", { error: problem });
    else this.#options.log.info("The host is as it should be again");
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whose change makes a pass due. */
type Reason = "ours" | "host";

/** Remembers that something happened; one waiter. */
class Wake {
  #pending: Reason | undefined;
  #resolve: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    signal.addEventListener("abort", () => this.up("host"), { once: true });
  }

  up(reason: Reason): void {
    if (this.#pending !== "host") this.#pending = reason;
    this.#resolve?.();
  }

  /** Waits for {@link up}, at most `ms`. */
  async next(ms: number): Promise<void> {
    if (this.#pending) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resolve = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }

  /** What happened since the last call; undefined: nothing, the time was up. */
  take(): Reason | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending;
  }
}

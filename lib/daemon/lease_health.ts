/**
 * Whether this host holds its lease: what readiness, metrics and `status` say of it.
 *
 * @module
 */
import type { LeaseKeeper } from "../leases/keeper.ts";
import type { LeaseSync } from "../leases/sync.ts";
import type { Metrics, ProblemReporter } from "../observe/types.ts";
import { pause } from "../pause.ts";

/** A renewal that fails for this long makes the host not ready, in milliseconds. */
const PATIENCE_MS = 10_000;
/** A conflict about the lease is shown for this long after it was last seen, in milliseconds. */
const CONFLICT_SHOWN_MS = 60_000;
/** After the store answers again, what happened meanwhile comes in within this time, in milliseconds. */
const CATCH_UP_MS = 5_000;
const PERIOD_MS = 1_000;

/** What is looked at, and where it is reported. */
export interface LeaseHealthParts {
  readonly sync: Pick<LeaseSync, "health">;
  readonly keeper: Pick<LeaseKeeper, "held" | "remaining" | "trouble">;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Looks once a second. */
export class LeaseHealth {
  readonly #parts: LeaseHealthParts;
  #outageMs = 0;

  constructor(parts: LeaseHealthParts) {
    this.#parts = parts;
  }

  /** How long the store was out of reach until just now, in milliseconds; 0 while all is well. */
  get outageMs(): number {
    const { connected, sinceMs } = this.#parts.sync.health();
    if (!connected) return sinceMs;
    return sinceMs < CATCH_UP_MS ? this.#outageMs : 0;
  }

  /** Reports until the signal fires. */
  async watch(signal: AbortSignal): Promise<void> {
    const { keeper, metrics } = this.#parts;
    using _ = metrics.onCollect(() =>
      metrics.gauge(
        "lease_seconds_left",
        "Seconds until the own lease expires unless renewed; +Inf for a reservation",
        keeper.remaining,
      )
    );
    while (!signal.aborted) {
      this.look();
      await pause(PERIOD_MS, signal);
    }
  }

  /** One look. */
  look(): void {
    const { connected, sinceMs } = this.#parts.sync.health();
    if (!connected) this.#outageMs = sinceMs;
    this.#lookAtLease();
    this.#lookAtConflict();
  }

  /** Once a lease has expired, another host may get its subnet. */
  #lookAtLease(): void {
    const { problems, keeper } = this.#parts;
    const { overdueMs = 0, error } = keeper.trouble();
    const { key } = keeper.held;
    if (keeper.remaining <= 0) {
      const why = error ?? "no answer from the store";
      problems.set("lease", `${key} has expired and cannot be renewed, trying again: ${why}`, {
        notReady: true,
      });
    } else if (overdueMs >= PATIENCE_MS) {
      problems.set("lease", `${key} cannot be renewed, trying again: ${error}`, { notReady: true });
    } else problems.clear("lease", "renewed");
  }

  #lookAtConflict(): void {
    const { problems, keeper } = this.#parts;
    const { conflict } = keeper.trouble();
    if (!conflict || conflict.agoMs > CONFLICT_SHOWN_MS) problems.clear("lease conflict", "no longer seen");
    else {
      problems.set(
        "lease conflict",
        `another host overwrote the lease ${keeper.held.key} of this one, which wrote it back: ${conflict.value}`,
      );
    }
  }
}

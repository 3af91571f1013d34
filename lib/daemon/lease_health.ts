/**
 * What readiness and metrics say of the own lease and of the peers.
 *
 * @module
 */
import type { Membership } from "../leases/contract.ts";
import type { PeerSet } from "../leases/peer_set.ts";
import type { Metrics, ProblemReporter } from "../observe/types.ts";
import { pause } from "../time/pause.ts";
import { STORE_CONNECTED, STORE_REVISION } from "../leases/metrics.ts";
import { LEASE_REMAINING, MALFORMED_LEASES, PEERS, REFUSED_LEASES } from "./metrics.ts";

/** A renewal that fails for this long makes the host not ready, in milliseconds. */
const PATIENCE_MS = 10_000;
/** A conflict about the lease is shown for this long after it was last seen, in milliseconds. */
const CONFLICT_SHOWN_MS = 60_000;
const PERIOD_MS = 1_000;

/** What is looked at, and where it is reported. */
export interface LeaseHealthParts {
  readonly membership: Pick<Membership, "own" | "remaining" | "trouble" | "health">;
  readonly peers: Pick<PeerSet, "countHosts" | "malformed" | "refused">;
  readonly metrics: Metrics;
  readonly problems: ProblemReporter;
}

/** Looks once a second. */
export class LeaseHealth {
  readonly #parts: LeaseHealthParts;

  constructor(parts: LeaseHealthParts) {
    this.#parts = parts;
  }

  /** Reports until the signal fires. */
  async watch(signal: AbortSignal): Promise<void> {
    using _ = this.#parts.metrics.onCollect(() => this.#measure());
    while (!signal.aborted) {
      this.look();
      await pause(PERIOD_MS, signal);
    }
  }

  #measure(): void {
    const { metrics, membership, peers } = this.#parts;
    metrics.gauge(PEERS, peers.countHosts());
    metrics.gauge(MALFORMED_LEASES, peers.malformed);
    metrics.gauge(REFUSED_LEASES, peers.refused.size);
    metrics.gauge(LEASE_REMAINING, membership.remaining);
    // Of every store, a cluster's API server too.
    const { connected, version } = membership.health();
    metrics.gauge(STORE_CONNECTED, connected ? 1 : 0);
    if (/^\d+$/.test(version)) metrics.gauge(STORE_REVISION, Number(version));
  }

  /** One look. */
  look(): void {
    this.#lookAtLease();
    this.#lookAtConflict();
  }

  /** Once a lease has expired, another host may get its subnet. */
  #lookAtLease(): void {
    const { problems, membership } = this.#parts;
    const { overdueMs = 0, error } = membership.trouble();
    const { key } = membership.own;
    if (membership.remaining <= 0) {
      const why = error ?? "no answer from the store";
      problems.set("lease", `${key} has expired and cannot be renewed, retrying: ${why}`, {
        notReady: true,
      });
    } else if (overdueMs >= PATIENCE_MS) {
      problems.set("lease", `${key} cannot be renewed, retrying: ${error}`, { notReady: true });
    } else problems.clear("lease", "renewed");
  }

  #lookAtConflict(): void {
    const { problems, membership } = this.#parts;
    const { conflict } = membership.trouble();
    if (!conflict || conflict.agoMs > CONFLICT_SHOWN_MS) problems.clear("lease conflict", "no longer seen");
    else {
      problems.set(
        "lease conflict",
        `another host overwrote the lease ${membership.own.key} of this one, which wrote it back: ${conflict.value}`,
      );
    }
  }
}

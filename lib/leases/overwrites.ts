/**
 * Times that another host with this one's public IP overwrote the lease: counted, logged, and how soon it is written back.
 *
 * @module
 */
import { noMetrics } from "../observe/types.ts";
import type { Throttle } from "../time/throttle.ts";
import { CONFLICT_HINT, describeConflict } from "./contest.ts";
import type { KeeperOptions, LeaseTrouble } from "./keeper_types.ts";
import { LEASE_CONFLICTS } from "./metrics.ts";
import type { LeaseAttributes, StoredLease } from "./types.ts";

/** The lease is claimed back at once, but not more often than this, in milliseconds. */
const CLAIM_PAUSE_MS = 1000;

/** See the module's text. */
export class Overwrites {
  readonly #options: Pick<KeeperOptions, "clock" | "log" | "metrics">;
  readonly #throttle: Throttle;
  #last: { readonly at: number; readonly value: string } | undefined;

  /** @param throttle Of the keeper's log. */
  constructor(options: Pick<KeeperOptions, "clock" | "log" | "metrics">, throttle: Throttle) {
    this.#options = options;
    this.#throttle = throttle;
  }

  /** What the last one was. */
  get trouble(): Pick<LeaseTrouble, "conflict"> {
    if (!this.#last) return {};
    return { conflict: { agoMs: this.#options.clock.now() - this.#last.at, value: this.#last.value } };
  }

  /** @returns Milliseconds to wait before the lease is written back; 0 or less: none. */
  note(found: StoredLease, own: { readonly attributes: LeaseAttributes; readonly value: string }): number {
    const { clock, log, metrics = noMetrics } = this.#options;
    metrics.count(LEASE_CONFLICTS);
    if (this.#throttle.pass() !== undefined) {
      const conflict = describeConflict(own.attributes, found.value);
      log.error(`${conflict}, which overwrote the lease of this one: writing it back`, {
        key: found.key,
        found: found.value,
        written: own.value,
        hint: CONFLICT_HINT,
      });
    }
    const pause = this.#last ? this.#last.at + CLAIM_PAUSE_MS - clock.now() : 0;
    this.#last = { at: clock.now() + Math.max(0, pause), value: found.value };
    return pause;
  }
}

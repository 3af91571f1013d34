/**
 * What a pass over the firewall changed, and how it fails.
 *
 * @module
 */

import type { Family } from "../net/family.ts";

/** One thing that differs from what is wanted, and what is written for it. */
export interface PlannedChange {
  /** What it is about, for people: `chain FLANNEL-FWD`, `jump to FLANNEL-FWD in FORWARD`. */
  readonly what: string;
  /** How it was found. `misplaced`: rules of others stand where it has no effect. */
  readonly state: "missing" | "changed" | "misplaced" | "unwanted";
  /** Lines of the input of iptables-restore or nft. */
  readonly lines: readonly string[];
}

/** One thing that was written. */
export interface FirewallChange {
  /** For people: `IPv4: jump to FLANNEL-FWD in FORWARD missing`. */
  readonly what: string;
  /**
   * Whether another program changed or removed something of ours. Otherwise it was
   * written for the first time, or moved because other programs' rules are new.
   */
  readonly isRepair: boolean;
}

/**
 * What was written, for the log.
 *
 * @param seen What of ours was there when everything was last found as wanted.
 */
export function madeChanges(
  family: Family,
  planned: readonly PlannedChange[],
  seen: ReadonlySet<string> | undefined,
): FirewallChange[] {
  return planned.map(({ what, state }) => ({
    what: `${family.label}: ${what} ${state}`,
    isRepair: (state === "missing" || state === "changed") && seen?.has(what) === true,
  }));
}

/** Some of a pass failed; the rest was done. The message has each cause. */
export class FirewallError extends AggregateError {
  override readonly name = "FirewallError";
  constructor(errors: readonly Error[]) {
    super(errors, errors.map((error) => error.message).join("; "));
  }
}

/** Rules were written, and a look afterwards finds what was found before: writing them again won't help. */
export class IneffectiveWriteError extends Error {
  override readonly name = "IneffectiveWriteError";
  constructor(program: string, changes: readonly FirewallChange[]) {
    const what = changes.map((change) => change.what).join(", ");
    super(`${program} reports success and changes nothing (${what}): flanneld writes less and less often`);
  }
}

/** A table of iptables holds rules that iptables can't show: nothing is written into it. */
export class UnreadableTableError extends Error {
  override readonly name = "UnreadableTableError";
}

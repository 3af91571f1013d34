/**
 * What it means for this host that somebody else wrote its lease's key. Pure.
 *
 * @module
 */
import { decodeLeaseValue } from "./codec.ts";
import { CONFLICT_HINT, describeConflict } from "./contest.ts";
import type { FormerValues } from "./former_values.ts";
import { sameHost, sharesVtepMac } from "./identity.ts";
import type { LeaseAttributes, StoredLease } from "./types.ts";

/**
 * The first minute after a lease was taken over by the public IP alone, in milliseconds: its holder may have been
 * cut off from the store and still claims it back. A holder that was cut off for longer doesn't.
 */
export const CLAIM_BACK_MS = 60_000;

/** What the judgement depends on. */
export interface Holding {
  /** The lease as this host knows it. */
  readonly held: StoredLease;
  /** The value that this host wants it to have. */
  readonly wanted: string;
  readonly attributes: LeaseAttributes;
  /** Values that this host published under the key before: a store restored from a backup has one of them again. */
  readonly former: Pick<FormerValues, "has">;
  /** Whether the store has another history: what it says of this host may be what an earlier run wrote. */
  readonly isReplaced: boolean;
  /** Whether a write of this host's own got no answer: the store may have carried it out. */
  readonly unanswered: boolean;
  /** The value that was taken over less than {@link CLAIM_BACK_MS} ago: its holder has the older right. */
  readonly yieldsTo: string | undefined;
  /** Whether the store reported the change as it happened, in contrast to a list that was read after a gap. */
  readonly live: boolean;
  /** How long the store was out of reach until just now, in milliseconds. */
  readonly outageMs: number;
}

/** What to do: take it as the own lease, write the own value back, or end. */
export type Verdict =
  | { readonly kind: "adopt" }
  | { readonly kind: "claim" }
  | { readonly kind: "lost"; readonly message: string };

/** Judges what stands under the own key now. */
export function judge(stored: StoredLease, holding: Holding): Verdict {
  const { held, wanted, attributes, former, isReplaced, unanswered, yieldsTo, live, outageMs } = holding;
  const { key, value } = stored;
  const found = decodeLeaseValue(value);
  if (typeof found === "string") return lost(`The lease ${key} was overwritten: ${found}`);
  const isOurs = value === held.value || value === wanted;
  const isRight = isOurs || sameHost(found, attributes) || sharesVtepMac(found, attributes);
  if (!live && (former.has(value) || (isReplaced && isRight))) return { kind: "adopt" };
  if (!isRight) {
    return lost(`The lease ${key} was taken by another host: it now says ${value}`);
  }
  // An operator makes a lease a reservation by writing it without an etcd lease, often with the address alone.
  const isReservation = !stored.expires && (held.expires || (!isOurs && found.backendType === undefined));
  // And takes that back.
  const isUnreserved = isOurs && stored.expires && !held.expires;
  if (isReservation || isUnreserved || (isOurs && (unanswered || !live))) return { kind: "adopt" };
  const conflict = describeConflict(attributes, value);
  if (value === yieldsTo) {
    return lost(`${conflict}, which wrote its value of the lease ${key} back: ${value}. ${CONFLICT_HINT}`);
  }
  if (outageMs > CLAIM_BACK_MS) {
    return lost(
      `${conflict}, which took over the lease ${key} while the store was out of reach for ` +
        `${Math.round(outageMs / 1000)} s: ${value}. ${CONFLICT_HINT}`,
    );
  }
  return { kind: "claim" };
}

function lost(message: string): Verdict {
  return { kind: "lost", message };
}

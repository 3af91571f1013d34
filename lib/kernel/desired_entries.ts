/**
 * The entries that are to be in the kernel, by who asks for them.
 *
 * An owner is a peer's lease or the host itself. Two owners may ask for the same thing: a host that got a new
 * subnet keeps its VTEP MAC, and its old lease lives on for a day. Then the newest claim holds, and the thing
 * goes only when the last claim does.
 *
 * @module
 */
import { type Entry, entryKey, sameEntry } from "./entries.ts";

/** Keys whose entry changed, with what was there before (undefined: nothing). */
export type EntryChanges = Map<string, Entry | undefined>;

/** One owner's wish for a key, on top of the older wishes of others. */
interface Claim {
  readonly owner: string;
  readonly entry: Entry;
  readonly under: Claim | undefined;
  /** The last round in which the kernel was seen to have it. */
  seen: number;
}

/** A set of entries with claims. Pure bookkeeping: nothing here knows the kernel. */
export class DesiredEntries {
  readonly #wishes = new Map<string, readonly Entry[]>();
  readonly #claims = new Map<string, Claim>();
  #round = 0;

  /** How many different things are desired. */
  get size(): number {
    return this.#claims.size;
  }

  /** The entry that is desired under a key. */
  get(key: string): Entry | undefined {
    return this.#claims.get(key)?.entry;
  }

  /** Begins a new round of {@link markSeen}. */
  startRound(): void {
    this.#round++;
  }

  /** Notes that the kernel has what is desired under a key. @returns False if that was noted in this round before. */
  markSeen(key: string): boolean {
    const claim = this.#claims.get(key);
    if (!claim || claim.seen === this.#round) return false;
    claim.seen = this.#round;
    return true;
  }

  /** Whether {@link markSeen} was called for the key in this round. */
  wasSeen(key: string): boolean {
    return this.#claims.get(key)?.seen === this.#round;
  }

  /** The desired entries that were not seen in this round. */
  *unseen(): IterableIterator<[string, Entry]> {
    for (const [key, claim] of this.#claims) {
      if (claim.seen !== this.#round) yield [key, claim.entry];
    }
  }

  /** All desired entries by key. */
  *entries(): IterableIterator<[string, Entry]> {
    for (const [key, claim] of this.#claims) yield [key, claim.entry];
  }

  /**
   * Replaces what `owner` asks for; no entries: it asks for nothing more.
   *
   * @param changes Collects the keys whose effective entry changed. A key that is there already keeps its
   * older "before": what the kernel has is what was there when collecting began.
   */
  set(owner: string, entries: readonly Entry[], changes: EntryChanges): void {
    const wanted = new Map(entries.map((entry) => [entryKey(entry), entry]));
    for (const entry of this.#wishes.get(owner) ?? []) {
      const key = entryKey(entry);
      if (!wanted.has(key)) this.#put(key, without(this.#claims.get(key), owner), changes);
    }
    for (const [key, entry] of wanted) {
      const claim = this.#claims.get(key);
      const held = find(claim, owner);
      if (held && sameEntry(held.entry, entry)) continue;
      this.#put(key, { owner, entry, under: without(claim, owner), seen: 0 }, changes);
    }
    if (entries.length > 0) this.#wishes.set(owner, entries);
    else this.#wishes.delete(owner);
  }

  #put(key: string, claim: Claim | undefined, changes: EntryChanges): void {
    const before = this.#claims.get(key)?.entry;
    if (claim) this.#claims.set(key, claim);
    else this.#claims.delete(key);
    const same = before && claim ? sameEntry(before, claim.entry) : before === claim?.entry;
    if (!same && !changes.has(key)) changes.set(key, before);
  }
}

function find(claim: Claim | undefined, owner: string): Claim | undefined {
  while (claim && claim.owner !== owner) claim = claim.under;
  return claim;
}

/** The stack of claims less the owner's. */
function without(claim: Claim | undefined, owner: string): Claim | undefined {
  if (!claim || !find(claim, owner)) return claim;
  return claim.owner === owner ? claim.under : { ...claim, under: without(claim.under, owner) };
}

/**
 * The entries that the kernel should have, by who asks for them.
 *
 * An owner is a peer's lease or the host itself. Two owners may ask for the same thing: a host that got a new
 * subnet keeps its VTEP MAC, and its old lease lives on for a day. Then the newest claim holds, and the thing
 * goes only when the last claim does.
 *
 * @module
 */
import { type Entry, type EntryIdentity, sameEntry, sameIdentity } from "./entries.ts";
import { EntryTable } from "./entry_table.ts";

/** Something whose desired entry changed: what it is, and what was desired before (undefined: nothing). */
export interface EntryChange {
  readonly identity: Entry;
  readonly before: Entry | undefined;
}

/** What changed since some moment. */
export type EntryChanges = EntryTable<EntryChange>;

/**
 * A set of entries with claims. Pure bookkeeping: nothing here knows the kernel.
 *
 * A claim is an entry of an owner's list, and is distinguished from others by being that very object. Nearly everything is
 * claimed once: then the entry itself stands in the table, else all of them, the newest last.
 */
export class DesiredEntries {
  readonly #lists = new Map<string, readonly Entry[]>();
  readonly #claims = new EntryTable<Entry | readonly Entry[]>();
  readonly #links = new Map<string, number>();

  /** How many different things are desired. */
  get size(): number {
    return this.#claims.size;
  }

  /** How many routes are claimed over each link, for the links that have some. */
  get routeLinks(): ReadonlyMap<string, number> {
    return this.#links;
  }

  /** The entry that is desired for an identity. */
  get(identity: EntryIdentity): Entry | undefined {
    return newest(this.#claims.get(identity));
  }

  /** All desired entries. */
  *values(): Generator<Entry, void> {
    for (const claims of this.#claims.values()) yield newest(claims)!;
  }

  /**
   * Replaces what `owner` asks for; no entries: it asks for nothing more.
   *
   * @param changes Collects what changed. Something that is there already keeps its older "before": what the kernel
   * has is what was there when collecting began. Left out: nobody asks.
   */
  set(owner: string, entries: readonly Entry[], changes?: EntryChanges): void {
    const before = this.#lists.get(owner) ?? [];
    const wanted = entries.filter((entry, index) =>
      !entries.some((other, at) => at > index && sameIdentity(other, entry))
    );
    // What says the same stays the same object, and keeps its place among the claims.
    const after = wanted.map((entry) => {
      const held = before.find((each) => sameIdentity(each, entry));
      return held && sameEntry(held, entry) ? held : entry;
    });
    for (const claim of before) {
      if (!after.includes(claim)) {
        this.#replace(
          claim,
          after.find((each) => sameIdentity(each, claim)),
          changes,
        );
      }
    }
    for (const claim of after) {
      if (!before.some((each) => sameIdentity(each, claim))) this.#replace(undefined, claim, changes);
    }
    if (after.length > 0) this.#lists.set(owner, after);
    else this.#lists.delete(owner);
  }

  /** Takes one claim away and puts another one of the same identity on top, or just one of the two. */
  #replace(old: Entry | undefined, claim: Entry | undefined, changes: EntryChanges | undefined): void {
    const identity = (claim ?? old)!;
    const claims = this.#claims.get(identity);
    const before = newest(claims);
    const list = claims === undefined ? [] : isEntry(claims) ? [claims] : claims;
    const left = list.filter((each) => each !== old);
    if (claim) left.push(claim);
    if (left.length === 0) this.#claims.delete(identity);
    else this.#claims.set(identity, left.length === 1 ? left[0]! : left);
    this.#count(old, -1);
    this.#count(claim, 1);
    if (!changes) return;
    const after = left.at(-1);
    const isSame = before && after ? sameEntry(before, after) : before === after;
    if (!isSame && !changes.has(identity)) changes.set(identity, { identity, before });
  }

  #count(claim: Entry | undefined, by: number): void {
    if (claim?.kind !== "route") return;
    const count = (this.#links.get(claim.link) ?? 0) + by;
    if (count > 0) this.#links.set(claim.link, count);
    else this.#links.delete(claim.link);
  }
}

function isEntry(claims: Entry | readonly Entry[]): claims is Entry {
  return !Array.isArray(claims);
}

function newest(claims: Entry | readonly Entry[] | undefined): Entry | undefined {
  return claims === undefined || isEntry(claims) ? claims : claims.at(-1);
}

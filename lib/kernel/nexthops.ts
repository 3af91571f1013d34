/**
 * Next-hop objects: which ids are ours, and which of our routes uses which.
 *
 * Each plain route `via GATEWAY dev flannel.1` makes the kernel look through all next hops of that device:
 * 20,000 of them take seconds, and a tenth of that with next-hop objects (RTM_NEWNEXTHOP, Linux 5.3), which
 * aren't kept in that list. Up to {@link PLAIN_ROUTES} a host's routes stay as everybody knows them.
 *
 * Each route has an object of its own: the kernel takes all routes of an object along when the object goes.
 *
 * @module
 */
import type { Nexthop } from "../netlink/types.ts";
import type { EntryIdentity } from "./entries.ts";
import { EntryTable } from "./entry_table.ts";

/** How many routes are made without next-hop objects: what they cost grows with the square. */
export const PLAIN_ROUTES = 1_000;

/** Our ids lie between these two, so that they differ from those of routing daemons (which count up from 1). */
const FIRST_ID = 0x4600_0000;
const LAST_ID = 0x46ff_ffff;

/** The next-hop objects of one network. Pure bookkeeping: nothing here knows the kernel. */
export class Nexthops {
  /** The id of each route's object: only of objects that the kernel has confirmed. */
  readonly #ids = new EntryTable<number>();
  /** Ids within our range that somebody else has. */
  readonly #taken = new Set<number>();
  /** Objects of ours that a dump showed and that no route was found to use yet. */
  readonly #unused = new Set<number>();
  #next: number;

  /** @param networkId Identifies this network: others on the host begin at other ids. */
  constructor(networkId: string) {
    let hash = 0;
    for (const char of networkId) hash = (hash * 31 + char.codePointAt(0)!) >>> 0;
    this.#next = FIRST_ID + ((hash & 0xff) << 16);
  }

  /** How many objects are in use. */
  get size(): number {
    return this.#ids.size;
  }

  /**
   * Begins anew with what a dump of all objects says.
   *
   * @param isOurs Whether an object is this network's.
   */
  refresh(all: readonly Nexthop[], isOurs: (nexthop: Nexthop) => boolean): void {
    this.#ids.clear();
    this.#taken.clear();
    this.#unused.clear();
    for (const nexthop of all) {
      const { id } = nexthop;
      if (!isOurs(nexthop)) {
        if (isInRange(id)) this.#taken.add(id);
        continue;
      }
      this.#unused.add(id);
      // New ids follow on those that are there. Should they ever come round, the kernel says which are taken.
      if (isInRange(id)) this.#next = Math.max(this.#next, id);
    }
  }

  /**
   * Notes that the kernel's route uses the object `id`.
   *
   * @returns False if it must not: the object isn't ours, or another route uses it.
   */
  adopt(route: EntryIdentity, id: number): boolean {
    if (!this.#unused.delete(id)) return false;
    this.#ids.set(route, id);
    return true;
  }

  /** The objects of the last {@link refresh} that no route has adopted. */
  get unused(): ReadonlySet<number> {
    return this.#unused;
  }

  /** An id that is free as far as is known; ours only once {@link assign} says so. */
  propose(): number {
    do {
      this.#next = this.#next >= LAST_ID ? FIRST_ID : this.#next + 1;
    } while (this.#taken.has(this.#next));
    return this.#next;
  }

  /** The object is gone. */
  free(id: number): void {
    this.#unused.delete(id);
  }

  /**
   * The kernel has made the route with the object `id`, or without one.
   *
   * @returns The object that the route used before, which nothing needs any more.
   */
  assign(route: EntryIdentity, id: number | undefined): number | undefined {
    const before = this.#ids.get(route);
    if (id !== undefined) this.#ids.set(route, id);
    else this.#ids.delete(route);
    return before === id ? undefined : before;
  }

  /** The object that a route uses. */
  idOf(route: EntryIdentity): number | undefined {
    return this.#ids.get(route);
  }

  /** Whether a route of ours uses the object. Reads all of them: for notifications, which are rare. */
  uses(id: number): boolean {
    return this.#ids.values().some((each) => each === id);
  }
}

function isInRange(id: number): boolean {
  return id >= FIRST_ID && id <= LAST_ID;
}

/**
 * Next-hop objects: which ids are ours, and which gateway has which.
 *
 * Each plain route `via GATEWAY dev flannel.1` makes the kernel look through all next hops of that device:
 * 20,000 of them take seconds, and a tenth of that with next-hop objects (RTM_NEWNEXTHOP, Linux 5.3), which
 * aren't kept in that list. Up to {@link PLAIN_ROUTES} a host's routes stay as everybody knows them.
 *
 * @module
 */
import { formatIp } from "../net/ip.ts";
import type { Nexthop } from "../netlink/types.ts";
import type { RouteEntry } from "./entries.ts";

/** How many routes are made without next-hop objects: what they cost grows with the square. */
export const PLAIN_ROUTES = 1_000;

/** Our ids lie between these two, so that they are easily told from those of routing daemons (which count up from 1). */
const FIRST_ID = 0x4600_0000;
const LAST_ID = 0x46ff_ffff;

/** The next-hop objects of one network. */
export class Nexthops {
  readonly #ids = new Map<string, number>();
  #used = new Set<number>();
  #next: number;

  /** @param networkId Tells this network from others on the host: their ids start elsewhere. */
  constructor(networkId: string) {
    let hash = 0;
    for (const char of networkId) hash = (hash * 31 + char.codePointAt(0)!) >>> 0;
    this.#next = FIRST_ID + ((hash & 0xff) << 16);
  }

  /** Takes over what a dump says: `all` for the ids in use, those in `own` as ours. */
  refresh(all: readonly Nexthop[], own: ReadonlyMap<number, string>, protocol: number): Nexthop[] {
    this.#used = new Set(all.map((nexthop) => nexthop.id));
    this.#ids.clear();
    const ours: Nexthop[] = [];
    for (const nexthop of all) {
      const link = nexthop.linkIndex === undefined ? undefined : own.get(nexthop.linkIndex);
      if (link === undefined || !nexthop.gateway || nexthop.protocol !== protocol) continue;
      ours.push(nexthop);
      this.#ids.set(`${link} ${formatIp(nexthop.gateway)}`, nexthop.id);
    }
    return ours;
  }

  /** The id for a route's gateway; `isNew` when the object has still to be made. */
  take(route: RouteEntry): { id: number; isNew: boolean } {
    const key = gatewayKey(route);
    const known = this.#ids.get(key);
    if (known !== undefined) return { id: known, isNew: false };
    do {
      this.#next = this.#next >= LAST_ID ? FIRST_ID : this.#next + 1;
    } while (this.#used.has(this.#next));
    this.#used.add(this.#next);
    this.#ids.set(key, this.#next);
    return { id: this.#next, isNew: true };
  }

  /** Forgets the object for a route's gateway and gives its id, if there is one. */
  release(route: RouteEntry): number | undefined {
    const key = gatewayKey(route);
    const id = this.#ids.get(key);
    this.#ids.delete(key);
    return id;
  }

  /** How many objects are known. */
  get size(): number {
    return this.#ids.size;
  }
}

/** What a next-hop object stands for: a gateway behind a link. */
export function gatewayKey(route: RouteEntry): string {
  return `${route.link} ${route.gateway ? formatIp(route.gateway) : ""}`;
}

/**
 * A map whose keys are what entries are to the kernel. A large network has tens of thousands: there is no text and no
 * object for each key.
 *
 * @module
 */
import { ipKey } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import type { EntryIdentity } from "./entries.ts";

/** What distinguishes entries of one kind on one link, or of one prefix length, from each other. */
type Key = number | string;

/** See the module's text. */
export class EntryTable<V> {
  /** By link. */
  readonly #neighbours = new Map<string, Map<Key, V>>();
  readonly #fdb = new Map<string, Map<Key, V>>();
  /** By family and prefix length. */
  readonly #routes = new Map<number, Map<Key, V>>();
  readonly #blackholes = new Map<number, Map<Key, V>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(identity: EntryIdentity): V | undefined {
    return this.#group(identity)?.get(keyOf(identity));
  }

  has(identity: EntryIdentity): boolean {
    return this.#group(identity)?.has(keyOf(identity)) ?? false;
  }

  set(identity: EntryIdentity, value: V): void {
    const group = this.#group(identity) ?? this.#makeGroup(identity);
    const before = group.size;
    group.set(keyOf(identity), value);
    this.#size += group.size - before;
  }

  /** @returns Whether there was something. */
  delete(identity: EntryIdentity): boolean {
    const isThere = this.#group(identity)?.delete(keyOf(identity)) ?? false;
    if (isThere) this.#size--;
    return isThere;
  }

  /** Everything, in no order that means something. It may be changed meanwhile, as a Map may. */
  *values(): Generator<V, void> {
    for (const groups of [this.#neighbours, this.#fdb, this.#routes, this.#blackholes]) {
      for (const group of groups.values()) yield* group.values();
    }
  }

  clear(): void {
    for (const groups of [this.#neighbours, this.#fdb, this.#routes, this.#blackholes]) groups.clear();
    this.#size = 0;
  }

  #group(identity: EntryIdentity): Map<Key, V> | undefined {
    switch (identity.kind) {
      case "neighbour":
        return this.#neighbours.get(identity.link);
      case "fdb":
        return this.#fdb.get(identity.link);
      case "route":
        return this.#routes.get(lengthOf(identity.destination));
      case "blackhole":
        return this.#blackholes.get(lengthOf(identity.destination));
    }
  }

  #makeGroup(identity: EntryIdentity): Map<Key, V> {
    const group = new Map<Key, V>();
    switch (identity.kind) {
      case "neighbour":
        this.#neighbours.set(identity.link, group);
        break;
      case "fdb":
        this.#fdb.set(identity.link, group);
        break;
      case "route":
        this.#routes.set(lengthOf(identity.destination), group);
        break;
      case "blackhole":
        this.#blackholes.set(lengthOf(identity.destination), group);
    }
    return group;
  }
}

/** A number for a prefix length of either family. */
function lengthOf({ family, length }: Prefix): number {
  return family.version * 1_000 + length;
}

function keyOf(identity: EntryIdentity): Key {
  switch (identity.kind) {
    case "neighbour":
      return ipKey(identity.ip.family, identity.ip.value);
    case "fdb":
      return identity.mac;
    case "route":
    case "blackhole":
      return ipKey(identity.destination.family, identity.destination.base);
  }
}

/**
 * One family's routing table, as the control plane writes it.
 *
 * @module
 */
import type { Family } from "../../../lib/net/family.ts";
import { type Ip, ipToBytes } from "../../../lib/net/ip.ts";
import { firstIp, type Prefix } from "../../../lib/net/prefix.ts";
import {
  hashSeed,
  hashWord,
  type RoutesShape,
  type TableFormat,
  tableFormat,
  type TablePlaces,
} from "../shared/routes_layout.ts";
import { SOCKET_ADDRESS } from "../shared/structs.ts";

/** Where packets for a subnet go. */
export interface PeerRoute {
  readonly subnet: Prefix;
  /** The peer's end of the tunnel as the kernel takes it, of the subnet's family. */
  readonly name: Uint8Array<ArrayBuffer>;
}

/** This host's own subnet and its address in the tunnel. */
export interface OwnRoute {
  readonly subnet: Prefix;
  readonly address: Ip;
}

/** Holds what is wanted by key, and writes both copies of one table. */
export class TableWriter {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #format: TableFormat;
  readonly #nameAddress: number;
  readonly #capacity: number;
  readonly #hashMask: number;
  readonly #places: readonly [TablePlaces, TablePlaces];
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #used = 0;
  readonly #wanted: (PeerRoute | undefined)[] = [];
  /** For each copy the slots that differ from what is wanted. */
  readonly #stale: readonly [Set<number>, Set<number>] = [new Set(), new Set()];

  constructor(
    memory: SharedArrayBuffer,
    shape: RoutesShape,
    readonly family: Family,
    places: readonly [TablePlaces, TablePlaces],
    own: OwnRoute,
  ) {
    this.#words = new Int32Array(memory);
    this.#format = tableFormat(family);
    this.#nameAddress = SOCKET_ADDRESS[family.name].address / 4;
    this.#capacity = shape.capacity;
    this.#hashMask = shape.hashSize - 1;
    this.#places = places;
    for (const { header } of places) {
      this.#words.set(addressWords(firstIp(own.subnet)), header + this.#format.ownBase);
      this.#words[header + this.#format.ownLength] = own.subnet.length;
      this.#words.set(addressWords(own.address), header + this.#format.ownAddress);
    }
  }

  /** Whether a copy isn't what is wanted. */
  isStale(copy: number): boolean {
    return this.#stale[copy]!.size > 0;
  }

  /** Sets a peer's route, or takes it away (undefined). @returns False, with nothing changed, if the table is full. */
  set(key: string, route: PeerRoute | undefined): boolean {
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      if (!route) return true;
      slot = this.#free.pop() ?? this.#used++;
      if (slot >= this.#capacity) {
        this.#used = this.#capacity;
        return false;
      }
      this.#slots.set(key, slot);
    } else if (!route) {
      this.#slots.delete(key);
      this.#free.push(slot);
    }
    this.#wanted[slot] = route;
    this.#stale[0].add(slot);
    this.#stale[1].add(slot);
    return true;
  }

  /** Brings one copy up to date. No worker may be reading it. */
  bring(copy: number): void {
    const places = this.#places[copy]!;
    const { slot: format } = this.#format;
    for (const slot of this.#stale[copy]!) {
      const at = places.slots + slot * format.words;
      if (this.#words[at + format.length] !== 0) this.#remove(places, slot, at);
      const wanted = this.#wanted[slot];
      if (wanted) this.#insert(places, slot, at, wanted);
    }
    this.#stale[copy]!.clear();
    this.#listLengths(places.header);
  }

  #insert(places: TablePlaces, slot: number, at: number, { subnet, name }: PeerRoute): void {
    const words = this.#words;
    const { slot: format, lengthCounts } = this.#format;
    words.set(addressWords(firstIp(subnet)), at + format.base);
    words[at + format.length] = subnet.length + 1;
    words.set(new Int32Array(name.buffer), at + format.name);
    words[places.header + lengthCounts + subnet.length]! += 1;
    this.#enter(places.subnets, slot, this.#subnetPlace(at));
    this.#enter(places.senders, slot, this.#senderPlace(at));
  }

  #remove(places: TablePlaces, slot: number, at: number): void {
    const words = this.#words;
    const { slot: format, lengthCounts } = this.#format;
    words[places.header + lengthCounts + words[at + format.length]! - 1]! -= 1;
    this.#drop(places.subnets, slot, places.slots, (other) => this.#subnetPlace(other));
    this.#drop(places.senders, slot, places.slots, (other) => this.#senderPlace(other));
    words.fill(0, at, at + format.words);
  }

  /** Where the subnet in the slot at word `at` belongs among the subnets. */
  #subnetPlace(at: number): number {
    const { slot: format, addressWords } = this.#format;
    const hash = hashSeed(this.#words[at + format.length]! - 1);
    return this.#hash(hash, at + format.base, addressWords) & this.#hashMask;
  }

  /** Where its outer address and port belong among the senders. */
  #senderPlace(at: number): number {
    const { slot: format, addressWords } = this.#format;
    const name = at + format.name;
    // Family and port are one word.
    const hash = hashSeed(this.#words[name]!);
    return this.#hash(hash, name + this.#nameAddress, addressWords) & this.#hashMask;
  }

  #hash(hash: number, at: number, count: number): number {
    for (let i = 0; i < count; i++) hash = hashWord(hash, this.#words[at + i]!);
    return hash;
  }

  #enter(table: number, slot: number, place: number): void {
    const words = this.#words;
    while (words[table + place] !== 0) place = (place + 1) & this.#hashMask;
    words[table + place] = slot + 1;
  }

  /** Takes a slot out of a hash table and closes the gap, so that searches may stop at the first free word. */
  #drop(table: number, slot: number, slots: number, placeOf: (at: number) => number): void {
    const words = this.#words, mask = this.#hashMask;
    const size = this.#format.slot.words;
    let place = placeOf(slots + slot * size);
    while (words[table + place] !== slot + 1) place = (place + 1) & mask;
    let gap = place;
    for (let next = (gap + 1) & mask; words[table + next] !== 0; next = (next + 1) & mask) {
      const home = placeOf(slots + (words[table + next]! - 1) * size);
      // An entry may move into the gap unless its home lies behind the gap, cyclically.
      if (((next - home) & mask) >= ((next - gap) & mask)) {
        words[table + gap] = words[table + next]!;
        gap = next;
      }
    }
    words[table + gap] = 0;
  }

  #listLengths(header: number): void {
    const words = this.#words;
    const { lengthCounts, lengths, lengthsInUse } = this.#format;
    let inUse = 0;
    for (let length = this.family.bits; length >= 0; length--) {
      if (words[header + lengthCounts + length]! > 0) words[header + lengths + inUse++] = length;
    }
    words[header + lengthsInUse] = inUse;
  }
}

/** An address as words of its big-endian bytes. */
function addressWords(ip: Ip): Int32Array {
  const bytes = ipToBytes(ip);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(i * 4));
}

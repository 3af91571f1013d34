/**
 * The control plane's side of the routing table.
 *
 * @module
 */
import {
  EPOCH_STEP,
  EPOCHS,
  GENERATION,
  LENGTH_COUNTS,
  LENGTHS,
  LENGTHS_IN_USE,
  maskOf,
  MAX_WORKERS,
  OWN_ADDRESS,
  OWN_BASE,
  OWN_MASK,
  placesOf,
  routesBytes,
  type RoutesShape,
  senderHash,
  SLOT,
  subnetHash,
  type TablePlaces,
} from "../shared/routes_layout.ts";

/** Where packets for a subnet go. Addresses as signed or unsigned 32-bit numbers. */
export interface PeerRoute {
  readonly base: number;
  readonly length: number;
  readonly address: number;
  readonly port: number;
}

/** This host's own subnet and its address in the tunnel. */
export interface OwnRoute {
  readonly base: number;
  readonly length: number;
  readonly address: number;
}

/**
 * Holds the wanted routes by key and brings the shared tables up to date, a change of one peer at the cost of one
 * peer. Only one thread may write.
 */
export class RoutesWriter {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #shape: RoutesShape;
  readonly #slots = new Map<string, number>();
  readonly #free: number[] = [];
  #used = 0;
  readonly #wanted: (PeerRoute | undefined)[] = [];
  /** For each copy the slots that differ from what is wanted. */
  readonly #stale: readonly [Set<number>, Set<number>] = [new Set(), new Set()];

  constructor(shape: RoutesShape, own: OwnRoute) {
    this.#shape = shape;
    this.memory = new SharedArrayBuffer(routesBytes(shape));
    this.#words = new Int32Array(this.memory);
    // Generation 0 would read as "holds nothing" in an epoch.
    Atomics.store(this.#words, GENERATION, 1);
    for (const copy of [0, 1]) this.#writeOwn(copy, own);
    this.#bring(1);
  }

  /** Number of peers. */
  get size(): number {
    return this.#slots.size;
  }

  /**
   * Sets a peer's route, or takes it away (undefined).
   *
   * @returns False, with nothing changed, if the table is full.
   */
  set(key: string, route: PeerRoute | undefined): boolean {
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      if (!route) return true;
      slot = this.#free.pop() ?? this.#used++;
      if (slot >= this.#shape.capacity) {
        this.#used = this.#shape.capacity;
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

  /** Whether {@link publish} has something to do. */
  get pending(): boolean {
    const now = Atomics.load(this.#words, GENERATION) & 1;
    return this.#stale[now]!.size > 0;
  }

  /**
   * Shows all changes to the workers.
   *
   * @returns False if a worker still reads the copy that is to be written: call again in a moment (a worker lets
   * go of it within a batch).
   */
  publish(): boolean {
    if (!this.pending) return true;
    const generation = Atomics.load(this.#words, GENERATION);
    const next = generation + 1 & 0x7fffffff || 2;
    for (let worker = 0; worker < MAX_WORKERS; worker++) {
      const epoch = Atomics.load(this.#words, EPOCHS + worker * EPOCH_STEP);
      if (epoch !== 0 && epoch !== generation) return false;
    }
    this.#bring(next & 1);
    Atomics.store(this.#words, GENERATION, next);
    return true;
  }

  /** Clears what a worker that died held on to. */
  releaseWorker(worker: number): void {
    Atomics.store(this.#words, EPOCHS + worker * EPOCH_STEP, 0);
  }

  /** Brings one copy up to date. */
  #bring(copy: number): void {
    const places = placesOf(this.#shape, copy);
    const words = this.#words;
    for (const slot of this.#stale[copy]!) {
      const at = places.slots + slot * SLOT.words;
      if (words[at + SLOT.length] !== 0) this.#remove(places, slot, at);
      const wanted = this.#wanted[slot];
      if (wanted) this.#insert(places, slot, at, wanted);
    }
    this.#stale[copy]!.clear();
    this.#listLengths(places.header);
  }

  #writeOwn(copy: number, own: OwnRoute): void {
    const { header } = placesOf(this.#shape, copy);
    this.#words[header + OWN_BASE] = own.base;
    this.#words[header + OWN_MASK] = maskOf(own.length);
    this.#words[header + OWN_ADDRESS] = own.address;
  }

  #insert(places: TablePlaces, slot: number, at: number, route: PeerRoute): void {
    const words = this.#words;
    words[at + SLOT.base] = route.base & maskOf(route.length);
    words[at + SLOT.length] = route.length + 1;
    words[at + SLOT.address] = route.address;
    words[at + SLOT.port] = route.port;
    words[places.header + LENGTH_COUNTS + route.length]! += 1;
    this.#enter(places.subnets, slot, this.#subnetPlace(at));
    this.#enter(places.senders, slot, this.#senderPlace(at));
  }

  #remove(places: TablePlaces, slot: number, at: number): void {
    const words = this.#words;
    words[places.header + LENGTH_COUNTS + words[at + SLOT.length]! - 1]! -= 1;
    this.#drop(
      places.subnets,
      slot,
      this.#subnetPlace(at),
      (other) => this.#subnetPlace(other),
      places.slots,
    );
    this.#drop(
      places.senders,
      slot,
      this.#senderPlace(at),
      (other) => this.#senderPlace(other),
      places.slots,
    );
    words.fill(0, at, at + SLOT.words);
  }

  #subnetPlace(at: number): number {
    const words = this.#words;
    return subnetHash(words[at + SLOT.base]!, words[at + SLOT.length]! - 1, this.#shape.hashSize);
  }

  #senderPlace(at: number): number {
    const words = this.#words;
    return senderHash(words[at + SLOT.address]!, words[at + SLOT.port]!, this.#shape.hashSize);
  }

  #enter(table: number, slot: number, place: number): void {
    const words = this.#words;
    const mask = this.#shape.hashSize - 1;
    while (words[table + place] !== 0) place = (place + 1) & mask;
    words[table + place] = slot + 1;
  }

  /** Takes a slot out of a hash table and closes the gap, so that searches may stop at the first free word. */
  #drop(table: number, slot: number, place: number, placeOf: (at: number) => number, slots: number): void {
    const words = this.#words;
    const mask = this.#shape.hashSize - 1;
    while (words[table + place] !== slot + 1) place = (place + 1) & mask;
    let gap = place;
    for (let next = (gap + 1) & mask; words[table + next] !== 0; next = (next + 1) & mask) {
      const home = placeOf(slots + (words[table + next]! - 1) * SLOT.words);
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
    let inUse = 0;
    for (let length = 32; length >= 0; length--) {
      if (words[header + LENGTH_COUNTS + length]! > 0) words[header + LENGTHS + inUse++] = length;
    }
    words[header + LENGTHS_IN_USE] = inUse;
  }
}

/**
 * A worker's view of the routing table.
 *
 * @module
 */
import {
  EPOCH_STEP,
  EPOCHS,
  GENERATION,
  LENGTHS,
  LENGTHS_IN_USE,
  maskOf,
  OWN_ADDRESS,
  OWN_BASE,
  OWN_MASK,
  placesOf,
  type RoutesShape,
  senderHash,
  SLOT,
  subnetHash,
} from "../shared/routes_layout.ts";

/** Answer of the lookups that find nothing. */
export const NO_PEER = -1;

/**
 * Reads the table. Slots and everything read from them are valid from {@link enter} to the next {@link enter} or
 * {@link leave}.
 */
export class RoutesReader {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #shape: RoutesShape;
  readonly #epoch: number;
  #generation = 0;
  #slots = 0;
  #subnets = 0;
  #senders = 0;
  #header = 0;
  // The last subnet that was looked up: packets come in trains.
  #cachedIp = 0;
  #cachedSlot = NO_PEER;
  #cached = false;

  /** @param worker Number of this worker, below MAX_WORKERS; each has its own epoch. */
  constructor(memory: SharedArrayBuffer, shape: RoutesShape, worker: number) {
    this.#words = new Int32Array(memory);
    this.#shape = shape;
    this.#epoch = EPOCHS + worker * EPOCH_STEP;
  }

  /** Takes the newest table. Cheap when nothing changed: once per batch. */
  enter(): void {
    let generation = Atomics.load(this.#words, GENERATION);
    if (generation === this.#generation) return;
    // Say first what is going to be read, then see that it is still current: else it may be written to by now.
    for (;;) {
      Atomics.store(this.#words, this.#epoch, generation);
      const now = Atomics.load(this.#words, GENERATION);
      if (now === generation) break;
      generation = now;
    }
    this.#generation = generation;
    this.#cached = false;
    const places = placesOf(this.#shape, generation & 1);
    this.#slots = places.slots;
    this.#subnets = places.subnets;
    this.#senders = places.senders;
    this.#header = places.header;
  }

  /** Lets go of the table; call before sleeping. */
  leave(): void {
    this.#generation = 0;
    Atomics.store(this.#words, this.#epoch, 0);
  }

  /** Whether `ip` lies in this host's own subnet. */
  isOwn(ip: number): boolean {
    return (ip & this.#words[this.#header + OWN_MASK]!) === this.#words[this.#header + OWN_BASE];
  }

  /** This host's address in the tunnel: the source of ICMP errors. */
  get ownAddress(): number {
    return this.#words[this.#header + OWN_ADDRESS]!;
  }

  /** The slot of the peer in whose subnet `ip` lies, the longest prefix first, or {@link NO_PEER}. */
  peerOf(ip: number): number {
    if (this.#cached && ip === this.#cachedIp) return this.#cachedSlot;
    this.#cachedIp = ip;
    this.#cached = true;
    return this.#cachedSlot = this.#find(ip);
  }

  #find(ip: number): number {
    const words = this.#words;
    const size = this.#shape.hashSize;
    const lengths = words[this.#header + LENGTHS_IN_USE]!;
    for (let i = 0; i < lengths; i++) {
      const length = words[this.#header + LENGTHS + i]!;
      const base = ip & maskOf(length);
      let place = subnetHash(base, length, size);
      for (;;) {
        const slot = words[this.#subnets + place]! - 1;
        if (slot < 0) break;
        const at = this.#slots + slot * SLOT.words;
        if (words[at + SLOT.base] === base && words[at + SLOT.length] === length + 1) return slot;
        place = (place + 1) & (size - 1);
      }
    }
    return NO_PEER;
  }

  /** Whether some peer has this outer address and port. */
  isSender(address: number, port: number): boolean {
    const words = this.#words;
    const size = this.#shape.hashSize;
    let place = senderHash(address, port, size);
    for (;;) {
      const slot = words[this.#senders + place]! - 1;
      if (slot < 0) return false;
      if (this.addressOf(slot) === address && this.portOf(slot) === port) return true;
      place = (place + 1) & (size - 1);
    }
  }

  /** A peer's outer address. */
  addressOf(slot: number): number {
    return this.#words[this.#slots + slot * SLOT.words + SLOT.address]!;
  }

  /** A peer's UDP port. */
  portOf(slot: number): number {
    return this.#words[this.#slots + slot * SLOT.words + SLOT.port]!;
  }
}

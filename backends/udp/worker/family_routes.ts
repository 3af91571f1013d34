/**
 * The routing table of one address family, as a worker reads it.
 *
 * @module
 */
import type { Family } from "../../../lib/net/family.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import {
  hashSeed,
  hashWord,
  maskWord,
  type TableFormat,
  tableFormat,
  type TablePlaces,
} from "../shared/routes_layout.ts";
import { SOCKET_ADDRESS } from "../shared/structs.ts";
import type { RoutesMemory } from "./routes_memory.ts";

/** Answer of the lookups that find nothing. */
export const NO_PEER = -1;

/** Looks up addresses that stand in packets. What it gives is valid as long as its {@link RoutesReader}'s epoch. */
export class FamilyRoutes {
  /** This host's address in the tunnel, the source of ICMP errors: words of the big-endian address. */
  readonly own: Int32Array;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #packets: PacketMemory;
  readonly #format: TableFormat;
  readonly #hashMask: number;
  readonly #base: number;
  /** Words of a sockaddr: the first has family and port; then where the address starts. */
  readonly #nameAddress: number;
  #header = 0;
  #slots = 0;
  #subnets = 0;
  #senders = 0;
  // The last address that was looked up: packets come in trains.
  readonly #cachedIp: Int32Array;
  #cachedSlot = NO_PEER;
  #cached = false;

  constructor(family: Family, { words, base, shape }: RoutesMemory, packets: PacketMemory) {
    this.#words = words;
    this.#base = base;
    this.#packets = packets;
    this.#format = tableFormat(family);
    this.#hashMask = shape.hashSize - 1;
    this.#nameAddress = SOCKET_ADDRESS[family.name].address / 4;
    this.own = new Int32Array(this.#format.addressWords);
    this.#cachedIp = new Int32Array(this.#format.addressWords);
  }

  /** Reads from this copy from now on. */
  moveTo(places: TablePlaces): void {
    this.#header = places.header;
    this.#slots = places.slots;
    this.#subnets = places.subnets;
    this.#senders = places.senders;
    this.#cached = false;
    const own = places.header + this.#format.ownAddress;
    for (let i = 0; i < this.own.length; i++) this.own[i] = this.#words[own + i]!;
  }

  /** Whether the address at `at` in the packets' memory lies in this host's own subnet. */
  isOwn(at: number): boolean {
    const { view } = this.#packets;
    const words = this.#words, format = this.#format;
    const base = this.#header + format.ownBase, length = words[this.#header + format.ownLength]!;
    for (let i = 0; i < format.addressWords; i++) {
      if ((view.getInt32(at + 4 * i) & maskWord(length, i)) !== words[base + i]) return false;
    }
    return true;
  }

  /** The slot of the peer in whose subnet the address at `at` lies, the longest prefix first, or {@link NO_PEER}. */
  peerOf(at: number): number {
    const { view } = this.#packets;
    const cached = this.#cachedIp;
    let differing = this.#cached ? 0 : 1;
    for (let i = 0; i < cached.length; i++) {
      const word = view.getInt32(at + 4 * i);
      differing |= word ^ cached[i]!;
      cached[i] = word;
    }
    if (differing === 0) return this.#cachedSlot;
    this.#cached = true;
    return this.#cachedSlot = this.#find();
  }

  /** Looks up the address in {@link #cachedIp}. */
  #find(): number {
    const words = this.#words, ip = this.#cachedIp;
    const { slot: format, lengths, lengthsInUse } = this.#format;
    const inUse = words[this.#header + lengthsInUse]!;
    for (let n = 0; n < inUse; n++) {
      const length = words[this.#header + lengths + n]!;
      let hash = hashSeed(length);
      for (let i = 0; i < ip.length; i++) hash = hashWord(hash, ip[i]! & maskWord(length, i));
      for (let place = hash & this.#hashMask;; place = (place + 1) & this.#hashMask) {
        const slot = words[this.#subnets + place]! - 1;
        if (slot < 0) break;
        const at = this.#slots + slot * format.words;
        if (words[at + format.length] === length + 1 && this.#lies(ip, length, at)) return slot;
      }
    }
    return NO_PEER;
  }

  /** Whether an address lies in the subnet of this length in the slot at word `at`. */
  #lies(ip: Int32Array, length: number, at: number): boolean {
    for (let i = 0; i < ip.length; i++) {
      if ((ip[i]! & maskWord(length, i)) !== this.#words[at + i]) return false;
    }
    return true;
  }

  /** Address of the slot's sockaddr, for the kernel. */
  nameOf(slot: number): number {
    const { slot: format } = this.#format;
    return this.#base + (this.#slots + slot * format.words + format.name) * 4;
  }

  /** Whether the slot's peer has the address of the sockaddr at `name` in the packets' memory. */
  hasAddress(slot: number, name: number): boolean {
    const { u32 } = this.#packets;
    const { slot: format, addressWords } = this.#format;
    const at = this.#slots + slot * format.words + format.name + this.#nameAddress;
    const from = (name >>> 2) + this.#nameAddress;
    for (let i = 0; i < addressWords; i++) {
      if ((u32[from + i]! | 0) !== this.#words[at + i]) return false;
    }
    return true;
  }

  /** Whether the slot's peer has the port of the sockaddr at `name`. */
  hasPort(slot: number, name: number): boolean {
    const { slot: format } = this.#format;
    // Family and port are one word.
    return this.#words[this.#slots + slot * format.words + format.name] ===
      (this.#packets.u32[name >>> 2]! | 0);
  }

  /** Whether some peer has the address and port of the sockaddr at `name`. */
  isSender(name: number): boolean {
    const { u32 } = this.#packets;
    const first = name >>> 2, address = first + this.#nameAddress;
    let hash = hashSeed(u32[first]!);
    for (let i = 0; i < this.#format.addressWords; i++) hash = hashWord(hash, u32[address + i]!);
    for (let place = hash & this.#hashMask;; place = (place + 1) & this.#hashMask) {
      const slot = this.#words[this.#senders + place]! - 1;
      if (slot < 0) return false;
      if (this.hasPort(slot, name) && this.hasAddress(slot, name)) return true;
    }
  }
}

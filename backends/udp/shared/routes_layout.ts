/**
 * The routing table in shared memory: who writes and who reads what.
 *
 * There are two copies of everything. Workers read the one that the generation number's lowest bit names, without
 * locks; the control plane changes the other one and then counts the generation up. A worker says which generation
 * it reads (its *epoch*) for as long as it holds on to table entries, and 0 while it sleeps; the control plane
 * touches a copy only when no epoch names it. So a reader never sees a table that changes, and a change never stops
 * a packet.
 *
 * A copy has a table for each address family in use. All words are 32 bits. Inner addresses are words of their
 * big-endian bytes, the first byte the highest; outer addresses stand there as the kernel takes them (sockaddr).
 *
 * @module
 */
import { familiesOf, type Family, type PerFamily, perFamily } from "../../../lib/net/family.ts";
import { SOCKET_ADDRESS } from "./structs.ts";

/** Most workers. */
export const MAX_WORKERS = 16;

/** Words of the control block: the generation, and each worker's epoch (on cache lines of their own). */
export const GENERATION = 0, EPOCHS = 16, EPOCH_STEP = 16, CONTROL_WORDS = EPOCHS + MAX_WORKERS * EPOCH_STEP;

/** Where things stand in a family's table, in words. */
export interface TableFormat {
  /** Words of an address. */
  readonly addressWords: number;
  /** Words before the slots: how many peers there are per prefix length, and the lengths in use, longest first. */
  readonly lengthCounts: number;
  readonly lengthsInUse: number;
  readonly lengths: number;
  /** This host's own subnet, and its address in the tunnel. */
  readonly ownBase: number;
  readonly ownLength: number;
  readonly ownAddress: number;
  readonly headerWords: number;
  /** Words of a slot: a peer's subnet, its prefix length plus 1 (0: free), its sockaddr. */
  readonly slot: {
    readonly base: number;
    readonly length: number;
    readonly name: number;
    readonly words: number;
  };
}

/** The format of a family's table. */
export function tableFormat({ bits, name }: Family): TableFormat {
  const addressWords = bits / 32;
  const lengthsInUse = bits + 1, lengths = lengthsInUse + 1, ownBase = lengths + bits + 1;
  const ownLength = ownBase + addressWords, ownAddress = ownLength + 1;
  const nameWords = SOCKET_ADDRESS[name].size / 4;
  return {
    addressWords,
    ...{ lengthCounts: 0, lengthsInUse, lengths, ownBase, ownLength, ownAddress },
    headerWords: (ownAddress + addressWords + 15) & ~15,
    slot: { base: 0, length: addressWords, name: addressWords + 1, words: addressWords + 1 + nameWords },
  };
}

/** Where the parts of one copy of a family's table start, in words from the start of the shared memory. */
export interface TablePlaces {
  readonly header: number;
  readonly slots: number;
  /** Slots by subnet: open addressing, slot number plus 1, 0 free. */
  readonly subnets: number;
  /** Slots by outer address and port. */
  readonly senders: number;
}

/** Size of everything. */
export interface RoutesShape {
  /** The families that have a table. */
  readonly families: readonly Family["name"][];
  /** Peers that fit into each table. */
  readonly capacity: number;
  /** Words of each hash table, a power of two, at least twice the capacity. */
  readonly hashSize: number;
}

/** The shape for up to `peers` peers. */
export function routesShape(families: readonly Family[], peers: number): RoutesShape {
  const capacity = Math.max(16, peers);
  const hashSize = 2 ** Math.ceil(Math.log2(capacity * 2));
  return { families: families.map(({ name }) => name), capacity, hashSize };
}

/** Bytes of shared memory for a shape. */
export function routesBytes(shape: RoutesShape): number {
  return (CONTROL_WORDS + 2 * copyWords(shape)) * 4;
}

/** Where copy 0 or 1 stands. */
export function placesOf(shape: RoutesShape, copy: number): PerFamily<TablePlaces> {
  let header = CONTROL_WORDS + copy * copyWords(shape);
  return perFamily(familiesIn(shape), (family) => {
    const format = tableFormat(family);
    const slots = header + format.headerWords;
    const subnets = slots + shape.capacity * format.slot.words;
    const senders = subnets + shape.hashSize;
    const places = { header, slots, subnets, senders };
    header += tableWords(format, shape);
    return places;
  });
}

/** The families of a shape. */
export function familiesIn(shape: RoutesShape): Family[] {
  return familiesOf(Object.fromEntries(shape.families.map((name) => [name, true])));
}

function tableWords(format: TableFormat, { capacity, hashSize }: RoutesShape): number {
  return format.headerWords + capacity * format.slot.words + 2 * hashSize;
}

function copyWords(shape: RoutesShape): number {
  return familiesIn(shape).reduce((sum, family) => sum + tableWords(tableFormat(family), shape), 0);
}

/** Word `i` of a prefix length's netmask, as a signed number. */
export function maskWord(length: number, i: number): number {
  const bits = length - 32 * i;
  return bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits);
}

/** What {@link hashWord} begins with, from a prefix length or a port. */
export function hashSeed(value: number): number {
  return Math.imul(value, 0x85ebca6b);
}

/** Takes one more word into a hash; mask the last result to a table's size. */
export function hashWord(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

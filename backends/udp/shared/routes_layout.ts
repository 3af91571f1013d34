/**
 * The routing table in shared memory: who writes and who reads what.
 *
 * There are two copies of the table. Workers read the one that the generation number's lowest bit names, without
 * locks; the control plane changes the other one and then counts the generation up. A worker says which generation
 * it reads (its *epoch*) for as long as it holds on to table entries, and 0 while it sleeps; the control plane
 * touches a copy only when no epoch names it. So a reader never sees a table that changes, and a change never stops
 * a packet.
 *
 * All words are 32 bits. IPv4 addresses are numbers, their first byte the highest.
 *
 * @module
 */

/** Most workers. */
export const MAX_WORKERS = 16;

/** Words of the control block: the generation, and each worker's epoch (on cache lines of their own). */
export const GENERATION = 0, EPOCHS = 16, EPOCH_STEP = 16, CONTROL_WORDS = EPOCHS + MAX_WORKERS * EPOCH_STEP;

/** Words of a table before its slots: how many peers there are per prefix length, and the lengths in use, longest first. */
export const LENGTH_COUNTS = 0,
  LENGTHS_IN_USE = 33,
  LENGTHS = 34,
  OWN_BASE = 68,
  OWN_MASK = 69,
  OWN_ADDRESS = 70;
export const HEADER_WORDS = 80;

/** Words of a slot: a peer's subnet, its prefix length plus 1 (0: free), its outer address and port. */
export const SLOT = { words: 4, base: 0, length: 1, address: 2, port: 3 } as const;

/** Where the parts of one copy start, in words from the start of the shared memory. */
export interface TablePlaces {
  readonly header: number;
  readonly slots: number;
  /** Slots by subnet: open addressing, slot number plus 1, 0 free. */
  readonly subnets: number;
  /** Slots by outer address and port. */
  readonly senders: number;
}

/** Size of everything, from the number of peers that fit. */
export interface RoutesShape {
  readonly capacity: number;
  /** Words of each hash table, a power of two, at least twice the capacity. */
  readonly hashSize: number;
}

/** The shape for up to `peers` peers. */
export function routesShape(peers: number): RoutesShape {
  const capacity = Math.max(16, peers);
  return { capacity, hashSize: 2 ** Math.ceil(Math.log2(capacity * 2)) };
}

function tableWords(shape: RoutesShape): number {
  return HEADER_WORDS + shape.capacity * SLOT.words + 2 * shape.hashSize;
}

/** Bytes of shared memory for a shape. */
export function routesBytes(shape: RoutesShape): number {
  return (CONTROL_WORDS + 2 * tableWords(shape)) * 4;
}

/** Where copy 0 or 1 stands. */
export function placesOf(shape: RoutesShape, copy: number): TablePlaces {
  const header = CONTROL_WORDS + copy * tableWords(shape);
  const slots = header + HEADER_WORDS;
  const subnets = slots + shape.capacity * SLOT.words;
  return { header, slots, subnets, senders: subnets + shape.hashSize };
}

/** Netmask of a prefix length, as a signed number. */
export function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

/** Hash of a subnet, below `size` (a power of two). */
export function subnetHash(base: number, length: number, size: number): number {
  const mixed = Math.imul(base ^ Math.imul(length, 0x85ebca6b), 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) & (size - 1);
}

/** Hash of an outer sender, below `size` (a power of two). */
export function senderHash(address: number, port: number, size: number): number {
  const mixed = Math.imul(address ^ Math.imul(port, 0xc2b2ae35), 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) & (size - 1);
}

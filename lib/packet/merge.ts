/**
 * Merging of received packets into super-packets that a TUN with TSO or USO takes as one write.
 *
 * Terms: packets are *added* in the order in which they came and make *chains*; a chain is what is written as
 * one. A chain takes further packets of its flow until it is *sealed*. Chains come out in the order in which they
 * began, so that the order within a flow is kept whatever is merged. A chain of one is written as it came.
 *
 * @module
 */
import * as h from "./headers.ts";
import { MergeCandidate, type MergeKinds, NO_FLOW, SLOT_BITS } from "./merge_candidate.ts";
import type { PacketMemory } from "./memory.ts";
import type { PieceList } from "./pieces.ts";
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VNET_HEADER, type VnetHeader } from "./virtio.ts";

/** Most packets in one chain: what UDP_SEGMENT takes before Linux 6.9, and enough for 64 KiB at any usual MTU. */
export const MAX_CHAIN = 64;

/** Most pieces that {@link Merger.build} adds for a chain: virtio header, first packet, further payloads. */
export const MAX_CHAIN_PIECES = MAX_CHAIN + 1;

const MAX_LENGTH = 65535;
const NONE = -1;

/** Where a chain's first header keeps what {@link Merger.build} changes: see {@link Merger.restore}. */
const SAVED = 4;

/** Collects packets and builds super-packets. Packets stay where they are, and must until they are written. */
export class Merger {
  /** How many chains there are. */
  chains = 0;
  /** How many packets they have. */
  packets = 0;
  /** What is merged; may change whenever no chains are held. */
  readonly kinds: MergeKinds;

  readonly #memory: PacketMemory;
  readonly #candidate: MergeCandidate;
  // Per packet: where, how long, and the next one of its chain.
  readonly #at: Int32Array;
  readonly #length: Int32Array;
  readonly #next: Int32Array;
  // Per chain.
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  readonly #count: Int32Array;
  readonly #total: Int32Array;
  readonly #size: Int32Array;
  readonly #headers: Int32Array;
  readonly #protocol: Int32Array;
  readonly #sequence: Int32Array;
  readonly #id: Int32Array;
  readonly #sealed: Uint8Array;
  /** Whether the checksums of the first packet are known to hold; those of further ones are. */
  readonly #verified: Uint8Array;
  readonly #pushed: Uint8Array;
  readonly #saved: Uint16Array;
  /** The newest chain of the flows that hash to a slot; older ones are thereby sealed. */
  readonly #slots = new Int32Array(1 << SLOT_BITS).fill(NONE);

  /** @param capacity Most packets held at a time. */
  constructor(memory: PacketMemory, readonly capacity: number, kinds: MergeKinds) {
    this.#memory = memory;
    this.kinds = { ...kinds };
    this.#candidate = new MergeCandidate(memory);
    const make = () => new Int32Array(capacity);
    [this.#at, this.#length, this.#next, this.#first, this.#last] = [make(), make(), make(), make(), make()];
    [this.#count, this.#total, this.#size, this.#headers] = [make(), make(), make(), make()];
    [this.#protocol, this.#sequence, this.#id] = [make(), make(), make()];
    this.#sealed = new Uint8Array(capacity);
    this.#verified = new Uint8Array(capacity);
    this.#pushed = new Uint8Array(capacity);
    this.#saved = new Uint16Array(capacity * SAVED);
  }

  /** Whether no further packet can be added before {@link clear}. */
  get full(): boolean {
    return this.packets === this.capacity;
  }

  /** Forgets all packets. */
  clear(): void {
    if (this.chains > 0) this.#slots.fill(NONE);
    this.chains = this.packets = 0;
  }

  /**
   * Adds the IP packet of `length` bytes at `at`: to the chain of its flow where that is allowed, else as a chain
   * of its own. There must be room (see {@link full}). What isn't a packet at all is passed on untouched, too.
   */
  add(at: number, length: number): void {
    const candidate = this.#candidate;
    candidate.read(at, length, this.kinds);
    if (candidate.slot === NO_FLOW) {
      // It may belong to any flow (a fragment, a tunnel): nothing that came before may be joined any more.
      this.#slots.fill(NONE);
      this.#begin(at, length, true);
      return;
    }
    const { slot } = candidate;
    const chain = this.#slots[slot]!;
    if (candidate.mergeable && chain !== NONE && this.#joins(chain, at) && this.#isWhole(chain)) {
      if (candidate.checksumsHold(at, length)) {
        this.#join(chain, at, length);
        return;
      }
      // The kernel would give it a right checksum.
      candidate.mergeable = false;
    }
    this.#slots[slot] = this.#begin(at, length, !candidate.mergeable || candidate.push);
  }

  #begin(at: number, length: number, sealed: boolean): number {
    const packet = this.packets++, chain = this.chains++;
    const candidate = this.#candidate;
    this.#at[packet] = at;
    this.#length[packet] = length;
    this.#next[packet] = NONE;
    this.#first[chain] = this.#last[chain] = packet;
    this.#count[chain] = 1;
    this.#total[chain] = length;
    this.#sealed[chain] = sealed ? 1 : 0;
    this.#pushed[chain] = this.#verified[chain] = 0;
    if (sealed) return chain;
    this.#size[chain] = candidate.payload;
    this.#headers[chain] = candidate.headers;
    this.#protocol[chain] = candidate.protocol;
    this.#sequence[chain] = (candidate.sequence + candidate.payload) | 0;
    this.#id[chain] = candidate.id;
    return chain;
  }

  /** Whether the candidate at `at` may follow the chain's last packet. */
  #joins(chain: number, at: number): boolean {
    const candidate = this.#candidate;
    if (this.#sealed[chain] === 1 || this.#count[chain]! >= MAX_CHAIN) return false;
    if (candidate.payload > this.#size[chain]!) return false;
    if (this.#total[chain]! + candidate.payload > MAX_LENGTH) return false;
    if (candidate.headers !== this.#headers[chain] || candidate.protocol !== this.#protocol[chain]) {
      return false;
    }
    if (candidate.protocol === h.TCP && candidate.sequence !== this.#sequence[chain]) return false;
    return candidate.follows(this.#at[this.#first[chain]!]!, at, (this.#id[chain]! + 1) & 0xffff);
  }

  /** Whether the checksums of what the chain has so far hold: asked once something is to follow. */
  #isWhole(chain: number): boolean {
    if (this.#verified[chain] === 1) return true;
    const first = this.#first[chain]!;
    const holds = this.#candidate.checksumsHold(this.#at[first]!, this.#length[first]!);
    if (holds) this.#verified[chain] = 1;
    return holds;
  }

  #join(chain: number, at: number, length: number): void {
    const packet = this.packets++;
    const candidate = this.#candidate;
    this.#at[packet] = at;
    this.#length[packet] = length;
    this.#next[packet] = NONE;
    this.#next[this.#last[chain]!] = packet;
    this.#last[chain] = packet;
    this.#count[chain]!++;
    this.#total[chain]! += candidate.payload;
    this.#sequence[chain] = (candidate.sequence + candidate.payload) | 0;
    this.#id[chain] = candidate.id;
    if (candidate.push) this.#pushed[chain] = 1;
    if (candidate.push || candidate.payload < this.#size[chain]!) this.#sealed[chain] = 1;
  }

  /** How many packets the chain has. */
  packetsOf(chain: number): number {
    return this.#count[chain]!;
  }

  /**
   * Makes a chain one packet: sets `vnet`, rewrites the first packet's headers in place and adds the pieces of
   * the whole. Of a chain of one nothing changes.
   *
   * @param header Offset of the 10 bytes for the virtio header; the first piece.
   * @param pieces Must have room for {@link MAX_CHAIN_PIECES}.
   */
  build(chain: number, vnet: VnetHeader, header: number, pieces: PieceList): void {
    vnet.clear();
    if (this.#count[chain]! > 1) this.#rewrite(chain, vnet);
    vnet.write(this.#memory, header);
    pieces.add(header, VNET_HEADER);
    let packet = this.#first[chain]!;
    pieces.add(this.#at[packet]!, this.#length[packet]!);
    const headers = this.#headers[chain]!;
    for (packet = this.#next[packet]!; packet !== NONE; packet = this.#next[packet]!) {
      pieces.add(this.#at[packet]! + headers, this.#length[packet]! - headers);
    }
  }

  #rewrite(chain: number, vnet: VnetHeader): void {
    const memory = this.#memory, { u8 } = memory;
    const at = this.#at[this.#first[chain]!]!;
    const total = this.#total[chain]!;
    const version = u8[at]! >>> 4;
    const l4 = version === 4 ? h.IPV4_HEADER : h.IPV6_HEADER;
    const tcp = this.#protocol[chain] === h.TCP;
    const field = tcp ? h.TCP_CHECKSUM : h.UDP_CHECKSUM;
    this.#save(chain, at, version, l4, tcp);
    if (version === 4) {
      h.write16(u8, at + h.IPV4_LENGTH, total);
      h.write16(u8, at + h.IPV4_CHECKSUM, 0);
      h.write16(u8, at + h.IPV4_CHECKSUM, ~memory.sum(at, h.IPV4_HEADER));
    } else {
      h.write16(u8, at + h.IPV6_LENGTH, total - h.IPV6_HEADER);
    }
    if (!tcp) h.write16(u8, at + l4 + h.UDP_LENGTH, total - l4);
    else if (this.#pushed[chain] === 1) u8[at + l4 + h.TCP_FLAGS]! |= h.PSH;
    const pseudo = h.pseudoHeaderSum(memory, at, version, this.#protocol[chain]!, total - l4);
    h.write16(u8, at + l4 + field, pseudo);
    vnet.flags = NEEDS_CSUM;
    vnet.gsoType = tcp ? (version === 4 ? GSO_TCPV4 : GSO_TCPV6) : GSO_UDP_L4;
    vnet.headerLength = this.#headers[chain]!;
    vnet.gsoSize = this.#size[chain]!;
    vnet.checksumStart = l4;
    vnet.checksumOffset = field;
  }

  /** Keeps the fields that {@link #rewrite} overwrites. */
  #save(chain: number, at: number, version: number, l4: number, tcp: boolean): void {
    const { u8 } = this.#memory;
    const saved = chain * SAVED;
    this.#saved[saved] = h.read16(u8, at + (version === 4 ? h.IPV4_LENGTH : h.IPV6_LENGTH));
    this.#saved[saved + 1] = h.read16(u8, at + h.IPV4_CHECKSUM);
    this.#saved[saved + 2] = h.read16(u8, at + l4 + (tcp ? h.TCP_CHECKSUM : h.UDP_CHECKSUM));
    this.#saved[saved + 3] = tcp ? u8[at + l4 + h.TCP_FLAGS]! : h.read16(u8, at + l4 + h.UDP_LENGTH);
  }

  /** Undoes {@link build}: the chain's packets are as they came, for a kernel that refused the super-packet. */
  restore(chain: number): void {
    if (this.#count[chain]! <= 1) return;
    const { u8 } = this.#memory;
    const at = this.#at[this.#first[chain]!]!;
    const saved = chain * SAVED;
    const version = u8[at]! >>> 4;
    const l4 = at + (version === 4 ? h.IPV4_HEADER : h.IPV6_HEADER);
    h.write16(u8, at + (version === 4 ? h.IPV4_LENGTH : h.IPV6_LENGTH), this.#saved[saved]!);
    if (version === 4) h.write16(u8, at + h.IPV4_CHECKSUM, this.#saved[saved + 1]!);
    if (this.#protocol[chain] === h.TCP) {
      h.write16(u8, l4 + h.TCP_CHECKSUM, this.#saved[saved + 2]!);
      u8[l4 + h.TCP_FLAGS] = this.#saved[saved + 3]!;
    } else {
      h.write16(u8, l4 + h.UDP_CHECKSUM, this.#saved[saved + 2]!);
      h.write16(u8, l4 + h.UDP_LENGTH, this.#saved[saved + 3]!);
    }
  }

  /** The chain's first packet, to go on from with {@link nextPacket}; packets are numbers. */
  firstPacket(chain: number): number {
    return this.#first[chain]!;
  }

  /** The packet after `packet` in its chain, or -1. */
  nextPacket(packet: number): number {
    return this.#next[packet]!;
  }

  /** Where a packet is. */
  offsetOf(packet: number): number {
    return this.#at[packet]!;
  }

  /** A packet's length in bytes. */
  packetLength(packet: number): number {
    return this.#length[packet]!;
  }
}

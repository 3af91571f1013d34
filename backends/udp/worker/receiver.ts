/**
 * Receiving: datagrams as the socket gives them, several a call and several in one (UDP_GRO).
 *
 * @module
 */
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { IOVEC, PieceList } from "../../../lib/packet/pieces.ts";
import { COUNTER } from "../shared/counters.ts";
import {
  CMSG_SPACE,
  CMSGHDR,
  MMSGHDR,
  MSG_TRUNC,
  NAME_ROOM,
  SO_RXQ_OVFL,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../shared/structs.ts";
import { BUFFER, type SocketIo } from "./packet_io.ts";
import type { WorkerContext } from "./worker_context.ts";

/** Messages of one recvmmsg: with UDP_GRO each may hold 64 KiB, without rarely more than an MTU. */
const GRO_MESSAGES = 8, PLAIN_MESSAGES = 32;
/** Buffers are staggered, so that the beginnings of all of them don't fall into the same cache sets. */
const STAGGER = 27 * 64;
/** Control data: the segment size and the overflow count. */
const CONTROL = 2 * CMSG_SPACE;

/** Receives into buffers of its own; what came is valid until the next {@link receive}. */
export class Receiver {
  readonly #memory: PacketMemory;
  readonly #io: SocketIo;
  readonly #counters: Float64Array;
  /** Most messages of one {@link receive}. */
  readonly capacity: number;
  readonly #gro: boolean;
  readonly #nameLength: number;
  readonly #vector: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #buffers: number;
  readonly #stride = ((BUFFER + 63) & ~63) + STAGGER;
  /** Messages that the last call filled. */
  #dirty = 0;
  /** The socket's running count of drops. */
  #overflow = 0;

  /** @param nameLength Length of the socket's addresses (struct sockaddr) in bytes. */
  constructor({ memory, arena, base, offloads, counters }: WorkerContext, io: SocketIo, nameLength: number) {
    this.#memory = memory;
    this.#io = io;
    this.#nameLength = nameLength;
    this.#counters = counters;
    this.#gro = offloads.has("gro");
    this.capacity = !offloads.has("batch") ? 1 : this.#gro ? GRO_MESSAGES : PLAIN_MESSAGES;
    this.#buffers = arena.take(this.capacity * this.#stride);
    this.#vector = arena.take(this.capacity * MMSGHDR.size);
    this.#names = arena.take(this.capacity * NAME_ROOM);
    this.#controls = arena.take(this.capacity * CONTROL);
    const piecesAt = arena.take(this.capacity * IOVEC);
    const pieces = new PieceList(memory, piecesAt, this.capacity, base);
    for (let i = 0; i < this.capacity; i++) {
      pieces.add(this.offset(i), BUFFER);
      this.#initialise(i, base, piecesAt + i * IOVEC);
      this.#reset(i);
    }
  }

  #initialise(i: number, base: number, piece: number): void {
    const { u32 } = this.#memory;
    const message = this.#vector + i * MMSGHDR.size;
    const point = (at: number, to: number) => {
      u32[at >>> 2] = (base + to) % 2 ** 32;
      u32[(at >>> 2) + 1] = Math.floor((base + to) / 2 ** 32);
    };
    point(message + MMSGHDR.name, this.#names + i * NAME_ROOM);
    point(message + MMSGHDR.pieces, piece);
    point(message + MMSGHDR.control, this.#controls + i * CONTROL);
    u32[(message + MMSGHDR.pieceCount) >>> 2] = 1;
  }

  /** The kernel shrinks these to what it wrote: they must be set before each call. */
  #reset(i: number): void {
    const { u32 } = this.#memory;
    const message = (this.#vector + i * MMSGHDR.size) >>> 2;
    u32[message + (MMSGHDR.nameLength >>> 2)] = this.#nameLength;
    u32[message + (MMSGHDR.controlLength >>> 2)] = CONTROL;
  }

  /** Receives what is there, up to a bound. @returns How many messages came; 0: none, or an error that passes. */
  receive(): number {
    this.#counters[COUNTER.receiveCalls]!++;
    for (let i = 0; i < this.#dirty; i++) this.#reset(i);
    this.#dirty = 0;
    const count = this.#io.receive(this.#vector, this.capacity);
    if (count <= 0) return 0;
    this.#dirty = count;
    return count;
  }

  /** Where message `i` starts. */
  offset(i: number): number {
    return this.#buffers + i * this.#stride;
  }

  /** Length of message `i` in bytes; 0 if it was longer than the buffer and so is useless. */
  length(i: number): number {
    const message = (this.#vector + i * MMSGHDR.size) >>> 2;
    const { u32 } = this.#memory;
    if ((u32[message + (MMSGHDR.flags >>> 2)]! & MSG_TRUNC) !== 0) return 0;
    return u32[message + (MMSGHDR.length >>> 2)]!;
  }

  /** Length of each datagram in message `i` but the last: the message's own length where it is only one. */
  segmentSize(i: number): number {
    const length = this.length(i);
    const { u32 } = this.#memory;
    const message = (this.#vector + i * MMSGHDR.size) >>> 2;
    const control = this.#controls + i * CONTROL;
    const end = Math.min(u32[message + (MMSGHDR.controlLength >>> 2)]!, CONTROL);
    let size = length;
    for (let at = 0; at + CMSGHDR.size + 4 <= end;) {
      const word = (control + at) >>> 2;
      const level = u32[word + 2], type = u32[word + 3], value = u32[word + 4]!;
      if (level === SOL_UDP && type === UDP_GRO && value > 0) size = value;
      if (level === SOL_SOCKET && type === SO_RXQ_OVFL) this.#overflowed(value);
      const step = u32[word]!;
      if (step < CMSGHDR.size) break;
      at += (step + 7) & ~7;
    }
    return size;
  }

  #overflowed(total: number): void {
    this.#counters[COUNTER.inOverflow]! += (total - this.#overflow) >>> 0;
    this.#overflow = total;
  }

  /** Where the sender's address (struct sockaddr) of message `i` stands. */
  name(i: number): number {
    return this.#names + i * NAME_ROOM;
  }
}

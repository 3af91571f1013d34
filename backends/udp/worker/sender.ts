/**
 * Sending: datagrams are collected into runs, runs into one system call.
 *
 * Terms: a *run* is what one message carries: datagrams of one length to one peer, the last one possibly shorter;
 * with UDP_SEGMENT the kernel (or the network card) cuts it up. Without, a run has one datagram. A *batch* is what
 * one sendmmsg(2) takes.
 *
 * @module
 */
import { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS } from "../../../lib/ffi/errno.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { IOVEC, PieceList } from "../../../lib/packet/pieces.ts";
import { COUNTER } from "../shared/counters.ts";
import {
  CMSG_SPACE,
  CMSGHDR,
  MAX_DATAGRAM,
  MAX_SEGMENTS,
  MMSGHDR,
  SOL_UDP,
  UDP_SEGMENT,
} from "../shared/structs.ts";
import type { FamilyRoutes } from "./family_routes.ts";
import type { SocketIo } from "./packet_io.ts";
import type { WorkerContext } from "./worker_context.ts";

/** Messages of one sendmmsg, and the pieces that all of them have (UIO_MAXIOV is 1024 for each). */
const MAX_RUNS = 64, MAX_PIECES = 1024;
/** How often a send is tried again when the kernel has no memory for it. */
const NOBUFS_TRIES = 3;
/** Places for destinations that take no runs; two that share one only share the caution. */
const SINGLE_PLACES = 1024;

/** Packets to a destination that go one by one after a refused run, before UDP_SEGMENT is tried there again. */
const AFTER_NARROW = 4096, AFTER_UNABLE = 65535;

/** The way to this destination can't have UDP_SEGMENT: its interface doesn't checksum, or IPsec covers it. */
function isUnable(error: number): boolean {
  return error === EIO;
}

/** The datagrams of a run exceed the MTU of their route, which may change (EINVAL before Linux 6.14). */
function isTooNarrow(error: number): boolean {
  return error === EMSGSIZE || error === EINVAL;
}

/** Collects and sends. The pieces that are added must stay unchanged until {@link flush} returns. */
export class Sender {
  readonly #memory: PacketMemory;
  readonly #io: SocketIo;
  readonly #routes: FamilyRoutes;
  readonly #counters: Float64Array;
  readonly #pieces: PieceList;
  readonly #piecesAt: number;
  readonly #vector: number;
  readonly #controls: number;
  readonly #base: number;
  readonly #batch: boolean;
  readonly #segment: boolean;
  /** Packets that are still to go one by one, by destination. */
  readonly #single = new Uint16Array(SINGLE_PLACES);

  // Per run.
  readonly #firstPiece = new Int32Array(MAX_RUNS + 1);
  readonly #size = new Int32Array(MAX_RUNS);
  readonly #total = new Int32Array(MAX_RUNS);
  readonly #count = new Int32Array(MAX_RUNS);
  readonly #peer = new Int32Array(MAX_RUNS);
  #runs = 0;
  // The run that may still grow.
  #open = false;

  /** @param nameLength Length of the addresses (struct sockaddr) that `routes` has, in bytes. */
  constructor(
    { memory, arena, base, offloads, counters }: WorkerContext,
    io: SocketIo,
    routes: FamilyRoutes,
    nameLength: number,
  ) {
    this.#memory = memory;
    this.#io = io;
    this.#routes = routes;
    this.#counters = counters;
    this.#piecesAt = arena.take(MAX_PIECES * IOVEC);
    this.#pieces = new PieceList(memory, this.#piecesAt, MAX_PIECES, base);
    // One message more than there are runs: for datagrams that go one by one.
    this.#vector = arena.take((MAX_RUNS + 1) * MMSGHDR.size);
    this.#controls = arena.take((MAX_RUNS + 1) * CMSG_SPACE);
    this.#base = base;
    this.#batch = offloads.has("batch");
    this.#segment = offloads.has("segment");
    for (let i = 0; i <= MAX_RUNS; i++) this.#initialise(i, nameLength);
  }

  #initialise(i: number, nameLength: number): void {
    const message = this.#vector + i * MMSGHDR.size, control = this.#controls + i * CMSG_SPACE;
    const { u32 } = this.#memory;
    u32[(message + MMSGHDR.nameLength) >>> 2] = nameLength;
    this.#pointer(message + MMSGHDR.control, control);
    u32[(control + CMSGHDR.length) >>> 2] = CMSGHDR.size + 2;
    u32[(control + CMSGHDR.level) >>> 2] = SOL_UDP;
    u32[(control + CMSGHDR.type) >>> 2] = UDP_SEGMENT;
  }

  /** Stores the address of an offset in the packet memory. */
  #pointer(at: number, to: number): void {
    this.#point(at, this.#base + to);
  }

  /** Stores an address. */
  #point(at: number, address: number): void {
    // The store takes the lower 32 bits.
    this.#memory.u32[at >>> 2] = address;
    this.#memory.u32[(at >>> 2) + 1] = Math.floor(address / 2 ** 32);
  }

  /**
   * Adds a datagram of one or two pieces. Sends what has been collected first if there is no room left.
   *
   * @param peer The destination's slot in the routes.
   * @param secondLength 0 for a datagram of one piece.
   */
  add(
    peer: number,
    first: number,
    firstLength: number,
    second: number,
    secondLength: number,
  ): void {
    const length = firstLength + secondLength;
    if (this.#pieces.count + 2 > MAX_PIECES) this.flush();
    let run = this.#runs - 1;
    if (!this.#continues(run, peer, length)) {
      if (this.#runs === (this.#batch ? MAX_RUNS : 1)) this.flush();
      run = this.#begin(peer, length);
    }
    this.#pieces.add(first, firstLength);
    if (secondLength > 0) this.#pieces.add(second, secondLength);
    this.#total[run]! += length;
    this.#count[run]!++;
    if (length < this.#size[run]!) this.#open = false;
    this.#counters[COUNTER.sentPackets]!++;
    this.#counters[COUNTER.sentBytes]! += length;
    if (!this.#batch && !this.#open) this.flush();
  }

  /** Whether nothing waits for {@link flush}: all pieces that were added may change. */
  get isEmpty(): boolean {
    return this.#runs === 0;
  }

  #continues(run: number, peer: number, length: number): boolean {
    return this.#open && peer === this.#peer[run] && length <= this.#size[run]! &&
      this.#count[run]! < MAX_SEGMENTS && this.#total[run]! + length <= MAX_DATAGRAM;
  }

  #begin(peer: number, length: number): number {
    const run = this.#runs++;
    this.#firstPiece[run] = this.#pieces.count;
    this.#size[run] = length;
    this.#total[run] = this.#count[run] = 0;
    this.#peer[run] = peer;
    this.#open = this.#segment && !this.#mustGoSingly(peer);
    this.#point(this.#vector + run * MMSGHDR.size + MMSGHDR.name, this.#routes.nameOf(peer));
    return run;
  }

  #mustGoSingly(peer: number): boolean {
    const place = peer & (SINGLE_PLACES - 1);
    if (this.#single[place] === 0) return false;
    this.#single[place]!--;
    return true;
  }

  /** Sends everything that has been collected. */
  flush(): void {
    const runs = this.#runs;
    if (runs === 0) return;
    this.#firstPiece[runs] = this.#pieces.count;
    for (let run = 0; run < runs; run++) this.#compose(run);
    let tries = NOBUFS_TRIES;
    for (let run = 0; run < runs;) {
      this.#counters[COUNTER.sendCalls]!++;
      const sent = this.#io.send(this.#vector + run * MMSGHDR.size, runs - run);
      if (sent > 0) {
        run += sent;
        tries = NOBUFS_TRIES;
      } else if (sent === -EINTR || (sent === -ENOBUFS && tries-- > 0)) {
        continue;
      } else if (sent === -EAGAIN) {
        // The wire is slower than what comes: nothing behind this one fits either.
        for (; run < runs; run++) this.#lose(COUNTER.outBufferFull, this.#count[run]!, this.#total[run]!);
      } else {
        // Only the first message is refused; those behind it are tried again.
        this.#refused(run++, -sent);
        while (run < runs && this.#count[run]! > 1 && this.#isSingle(run)) this.#sendSingly(run++);
      }
    }
    this.#runs = this.#pieces.count = 0;
    this.#open = false;
  }

  /** Writes a run's message. */
  #compose(run: number): void {
    const { u32, u8 } = this.#memory;
    const message = this.#vector + run * MMSGHDR.size;
    const first = this.#firstPiece[run]!;
    this.#pointer(message + MMSGHDR.pieces, this.#piecesAt + first * IOVEC);
    u32[(message + MMSGHDR.pieceCount) >>> 2] = this.#firstPiece[run + 1]! - first;
    const segmented = this.#count[run]! > 1;
    u32[(message + MMSGHDR.controlLength) >>> 2] = segmented ? CMSG_SPACE : 0;
    if (!segmented) return;
    const data = this.#controls + run * CMSG_SPACE + CMSGHDR.data;
    u8[data] = this.#size[run]!;
    u8[data + 1] = this.#size[run]! >>> 8;
  }

  /** A run that the kernel didn't take: sent packet by packet if that can help. */
  #refused(run: number, error: number): void {
    const unable = isUnable(error);
    if (this.#count[run] === 1 || !(unable || isTooNarrow(error))) {
      this.#lose(COUNTER.outSendFailed, this.#count[run]!, this.#total[run]!);
      return;
    }
    this.#single[this.#placeOf(run)] = unable ? AFTER_UNABLE : AFTER_NARROW;
    if (unable) this.#counters[COUNTER.segmentDowngrades]!++;
    this.#sendSingly(run);
  }

  #lose(counter: number, packets: number, bytes: number): void {
    this.#counters[counter]! += packets;
    this.#counters[COUNTER.sentPackets]! -= packets;
    this.#counters[COUNTER.sentBytes]! -= bytes;
  }

  /** The run's destination among those that take no runs. */
  #placeOf(run: number): number {
    return this.#peer[run]! & (SINGLE_PLACES - 1);
  }

  #isSingle(run: number): boolean {
    return this.#single[this.#placeOf(run)] !== 0;
  }

  /** Sends a run's datagrams as messages of their own, through the spare message. */
  #sendSingly(run: number): void {
    const { u32 } = this.#memory;
    const message = this.#vector + MAX_RUNS * MMSGHDR.size;
    this.#counters[COUNTER.splitSends]!++;
    this.#point(message + MMSGHDR.name, this.#routes.nameOf(this.#peer[run]!));
    u32[(message + MMSGHDR.controlLength) >>> 2] = 0;
    const end = this.#firstPiece[run + 1]!;
    let left = this.#total[run]!;
    for (let piece = this.#firstPiece[run]!; piece < end;) {
      const length = Math.min(left, this.#size[run]!);
      const first = piece;
      for (let n = 0; n < length; piece++) n += this.#pieces.length(piece);
      left -= length;
      this.#pointer(message + MMSGHDR.pieces, this.#piecesAt + first * IOVEC);
      u32[(message + MMSGHDR.pieceCount) >>> 2] = piece - first;
      this.#counters[COUNTER.sendCalls]!++;
      const sent = this.#io.send(message, 1);
      if (sent === 1) continue;
      this.#lose(sent === -EAGAIN ? COUNTER.outBufferFull : COUNTER.outSendFailed, 1, length);
    }
  }
}

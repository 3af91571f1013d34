/**
 * Writing packets to the TUN: merged where that is in force, else each as it came.
 *
 * @module
 */
import { EBADFD, EINVAL, EIO } from "../../../lib/ffi/errno.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import { MAX_CHAIN_PIECES, Merger } from "../../../lib/packet/merge.ts";
import { IOVEC, PieceList } from "../../../lib/packet/pieces.ts";
import { GSO_UDP_L4, VNET_HEADER, VnetHeader } from "../../../lib/packet/virtio.ts";
import { COUNTER } from "../shared/counters.ts";
import type { TunIo } from "./packet_io.ts";
import type { SharedOffloads } from "../shared/offloads.ts";
import type { WorkerContext } from "./worker_context.ts";

/** Most packets between two flushes. */
const CAPACITY = 1024;

/** Some kernels refuse super-packets that they announced to take (Linux 6.6.44 and its siblings). */
function mustStopMerging(error: number): boolean {
  return error === EINVAL || error === EIO;
}

/** Writes packets that stay where they are until {@link flush}. */
export class TunWriter {
  /** errno of a write that says that the device is gone; 0 while it is there. */
  fault = 0;

  readonly #io: TunIo;
  readonly #offloads: SharedOffloads;
  readonly #counters: Float64Array;
  readonly #merger: Merger;
  readonly #pieces: PieceList;
  readonly #piecesAt: number;
  readonly #header: number;
  readonly #vnet = new VnetHeader();
  readonly #memory: PacketMemory;
  readonly #hasHeader: boolean;
  #merging: boolean;
  /** What the last write of a single packet gave. */
  #lastResult = 0;

  constructor({ memory, arena, base, offloads, counters }: WorkerContext, io: TunIo) {
    this.#memory = memory;
    this.#io = io;
    this.#offloads = offloads;
    this.#counters = counters;
    this.#hasHeader = offloads.has("vnetHeader");
    const kinds = { tcp: offloads.has("mergeTcp"), udp: offloads.has("mergeUdp") };
    this.#merging = this.#hasHeader && (kinds.tcp || kinds.udp);
    this.#merger = new Merger(memory, CAPACITY, kinds);
    this.#header = arena.take(VNET_HEADER);
    this.#piecesAt = arena.take(MAX_CHAIN_PIECES * IOVEC);
    this.#pieces = new PieceList(memory, this.#piecesAt, MAX_CHAIN_PIECES, base);
  }

  /** Writes the packet of `length` bytes at `at`, now or at the next {@link flush}. */
  write(at: number, length: number): void {
    if (!this.#merging) {
      this.#writeOne(at, length);
      return;
    }
    if (this.#merger.full) this.flush();
    this.#merger.add(at, length);
  }

  /** Writes what is pending, in order. */
  flush(): void {
    const merger = this.#merger;
    for (let chain = 0; chain < merger.chains; chain++) {
      const packets = merger.packetsOf(chain);
      if (packets === 1 || !this.#merging) {
        this.#writeChain(chain);
        continue;
      }
      this.#pieces.count = 0;
      merger.build(chain, this.#vnet, this.#header, this.#pieces);
      const result = this.#io.writePieces(this.#piecesAt, this.#pieces.count);
      if (result >= 0) {
        this.#counters[COUNTER.tunWrites]!++;
        this.#counters[COUNTER.mergedPackets]! += packets;
      } else {
        this.#refused(chain, -result);
      }
    }
    merger.clear();
  }

  /** A super-packet that the kernel didn't take: its packets are written as they came. */
  #refused(chain: number, error: number): void {
    this.#merger.restore(chain);
    this.#writeChain(chain);
    // A device that is down refuses everything; only what passes one by one was refused for being merged.
    if (!mustStopMerging(error) || this.#lastResult < 0) return;
    const kind = this.#vnet.gsoType === GSO_UDP_L4 ? "mergeUdp" : "mergeTcp";
    if (this.#offloads.drop(kind)) this.#counters[COUNTER.mergeDowngrades]!++;
    const { kinds } = this.#merger;
    if (kind === "mergeUdp") kinds.udp = false;
    else kinds.tcp = false;
    this.#merging = kinds.udp || kinds.tcp;
  }

  #writeChain(chain: number): void {
    const merger = this.#merger;
    for (let packet = merger.firstPacket(chain); packet >= 0; packet = merger.nextPacket(packet)) {
      this.#writeOne(merger.offsetOf(packet), merger.packetLength(packet));
    }
  }

  #writeOne(at: number, length: number): void {
    const pieces = this.#pieces;
    pieces.count = 0;
    let result: number;
    if (this.#hasHeader) {
      this.#vnet.clear();
      this.#vnet.write(this.#memory, this.#header);
      pieces.add(this.#header, VNET_HEADER);
      pieces.add(at, length);
      result = this.#io.writePieces(this.#piecesAt, 2);
    } else if (at % 64 === 0) {
      result = this.#io.write(at, length);
    } else {
      pieces.add(at, length);
      result = this.#io.writePieces(this.#piecesAt, 1);
    }
    this.#lastResult = result;
    if (result >= 0) {
      this.#counters[COUNTER.tunWrites]!++;
      return;
    }
    this.#counters[COUNTER.inWriteFailed]!++;
    if (result === -EBADFD) this.fault = EBADFD;
  }
}

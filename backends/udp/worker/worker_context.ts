/**
 * What every part of a worker's packet path works with.
 *
 * @module
 */
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import type { Arena } from "./arena.ts";
import type { PacketIo } from "./packet_io.ts";
import type { SharedOffloads } from "../shared/offloads.ts";

/** One worker's memory, its kernel, and what it shares with the control plane. */
export interface WorkerContext {
  readonly memory: PacketMemory;
  /** Gives out the memory's room. */
  readonly arena: Arena;
  /** Address of the memory's first byte. */
  readonly base: number;
  readonly io: PacketIo;
  /** The offloads in force. */
  readonly offloads: SharedOffloads;
  readonly counters: Float64Array;
}

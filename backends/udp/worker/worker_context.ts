/**
 * What every part of a worker's packet path works with.
 *
 * @module
 */
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import type { SharedOffloads } from "../shared/offloads.ts";
import type { Arena } from "./arena.ts";

/** One worker's memory, and what it shares with the control plane. */
export interface WorkerContext {
  readonly memory: PacketMemory;
  /** Gives out the memory's room. */
  readonly arena: Arena;
  /** Address of the memory's first byte. */
  readonly base: number;
  /** The offloads in force. */
  readonly offloads: SharedOffloads;
  readonly counters: Float64Array;
}

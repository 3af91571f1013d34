/**
 * The routing table's memory as a worker has it.
 *
 * @module
 */
import type { RoutesShape } from "../shared/routes_layout.ts";

/** The shared memory, seen as words and as the kernel sees it. */
export interface RoutesMemory {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Address of its first byte. */
  readonly base: number;
  readonly shape: RoutesShape;
}

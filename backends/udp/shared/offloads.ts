/**
 * The ladder of offloads: what a host can, what the config allows, and what is in force right now.
 *
 * The words stand in shared memory: the control plane sets them before the workers start, a worker takes a offload
 * back when the kernel refuses it at run time, and the control plane reads what is left.
 *
 * @module
 */

/** The offloads, in the order in which they stand in memory. */
export const OFFLOADS = ["vnetHeader", "uso", "segment", "gro", "mergeTcp", "mergeUdp", "batch"] as const;

/** Name of a offload. */
export type Offload = typeof OFFLOADS[number];

/** Which offloads are on. */
export type Offloads = { readonly [name in Offload]: boolean };

/** What each offload is, for logs and status. */
export const OFFLOAD_TEXT: { readonly [name in Offload]: string } = {
  vnetHeader: "TSO",
  uso: "USO",
  segment: "UDP_SEGMENT",
  gro: "UDP_GRO",
  mergeTcp: "merging of TCP",
  mergeUdp: "merging of UDP",
  batch: "several packets a call",
};

/** Offloads in shared memory. */
export class SharedOffloads {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param memory What another thread's {@link SharedOffloads.memory} gave; absent to make it. */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(OFFLOADS.length * 4);
    this.#words = new Int32Array(this.memory);
  }

  /** Whether a offload is in force. */
  has(offload: Offload): boolean {
    return Atomics.load(this.#words, OFFLOADS.indexOf(offload)) === 1;
  }

  /** Sets all offloads. */
  set(offloads: Offloads): void {
    OFFLOADS.forEach((offload, i) => Atomics.store(this.#words, i, offloads[offload] ? 1 : 0));
  }

  /** Takes a offload back. @returns Whether it was in force. */
  drop(offload: Offload): boolean {
    return Atomics.exchange(this.#words, OFFLOADS.indexOf(offload), 0) === 1;
  }

  /** What is in force. */
  get current(): Offloads {
    return Object.fromEntries(OFFLOADS.map((offload) => [offload, this.has(offload)])) as Offloads;
  }
}

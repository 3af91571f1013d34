/**
 * The ladder of offloads: what a host can, what the config allows, and what is in force right now.
 *
 * The words stand in shared memory: the control plane sets them before the workers start, a worker takes a rung
 * back when the kernel refuses it at run time, and the control plane reads what is left.
 *
 * @module
 */

/** The rungs, in the order in which they stand in memory. */
export const RUNGS = ["vnetHeader", "uso", "segment", "gro", "mergeTcp", "mergeUdp", "batch"] as const;

/** Name of a rung. */
export type Rung = typeof RUNGS[number];

/** Which rungs are on. */
export type Rungs = { readonly [name in Rung]: boolean };

/** What each rung is, for logs and status. */
export const RUNG_TEXT: { readonly [name in Rung]: string } = {
  vnetHeader: "TSO",
  uso: "USO",
  segment: "UDP_SEGMENT",
  gro: "UDP_GRO",
  mergeTcp: "merging of TCP",
  mergeUdp: "merging of UDP",
  batch: "several packets a call",
};

/** Rungs in shared memory. */
export class SharedRungs {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param memory What another thread's {@link SharedRungs.memory} gave; absent to make it. */
  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(RUNGS.length * 4);
    this.#words = new Int32Array(this.memory);
  }

  /** Whether a rung is in force. */
  has(rung: Rung): boolean {
    return Atomics.load(this.#words, RUNGS.indexOf(rung)) === 1;
  }

  /** Sets all rungs. */
  set(rungs: Rungs): void {
    RUNGS.forEach((rung, i) => Atomics.store(this.#words, i, rungs[rung] ? 1 : 0));
  }

  /** Takes a rung back. @returns Whether it was in force. */
  drop(rung: Rung): boolean {
    return Atomics.exchange(this.#words, RUNGS.indexOf(rung), 0) === 1;
  }

  /** What is in force. */
  get current(): Rungs {
    return Object.fromEntries(RUNGS.map((rung) => [rung, this.has(rung)])) as Rungs;
  }
}

/**
 * The control plane's side of the routing table.
 *
 * @module
 */
import { type PerFamily, perFamily } from "../../../lib/net/family.ts";
import {
  EPOCH_STEP,
  EPOCHS,
  familiesIn,
  GENERATION,
  MAX_WORKERS,
  placesOf,
  routesBytes,
  type RoutesShape,
} from "../shared/routes_layout.ts";
import { type OwnRoute, type PeerRoute, TableWriter } from "./table_writer.ts";

/**
 * Holds the wanted routes by key and brings the shared tables up to date, a change of one peer at the cost of one
 * peer. Only one thread may write.
 */
export class RoutesWriter {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #tables: PerFamily<TableWriter>;
  readonly #keys = new Set<string>();

  /** @param own This host's own subnet in each family of the shape. */
  constructor(shape: RoutesShape, own: PerFamily<OwnRoute>) {
    this.memory = new SharedArrayBuffer(routesBytes(shape));
    this.#words = new Int32Array(this.memory);
    const [first, second] = [placesOf(shape, 0), placesOf(shape, 1)];
    this.#tables = perFamily(familiesIn(shape), (family) => {
      const { name } = family;
      return new TableWriter(this.memory, shape, family, [first[name]!, second[name]!], own[name]!);
    });
    // Generation 0 would read as "holds nothing" in an epoch.
    Atomics.store(this.#words, GENERATION, 1);
    this.#bring(1);
  }

  /** Number of peers. */
  get size(): number {
    return this.#keys.size;
  }

  /**
   * Sets a peer's route in each family, or takes it away where there is none.
   *
   * @returns False if a table is full; the route is missing there.
   */
  set(key: string, routes: PerFamily<PeerRoute>): boolean {
    let fits = true;
    let isReached = false;
    for (const table of this.#all()) {
      const route = routes[table.family.name];
      if (!table.set(key, route)) fits = false;
      else if (route) isReached = true;
    }
    if (isReached) this.#keys.add(key);
    else this.#keys.delete(key);
    return fits;
  }

  /** Whether {@link publish} has something to do. */
  get pending(): boolean {
    const now = Atomics.load(this.#words, GENERATION) & 1;
    return this.#all().some((table) => table.isStale(now));
  }

  /**
   * Shows all changes to the workers.
   *
   * @returns False if a worker still reads the copy to be written: call again in a moment (a worker lets
   * go of it within a batch).
   */
  publish(): boolean {
    if (!this.pending) return true;
    const generation = Atomics.load(this.#words, GENERATION);
    const next = generation + 1 & 0x7fffffff || 2;
    for (let worker = 0; worker < MAX_WORKERS; worker++) {
      const epoch = Atomics.load(this.#words, EPOCHS + worker * EPOCH_STEP);
      if (epoch !== 0 && epoch !== generation) return false;
    }
    this.#bring(next & 1);
    Atomics.store(this.#words, GENERATION, next);
    return true;
  }

  /** Clears what a worker that died held on to. */
  releaseWorker(worker: number): void {
    Atomics.store(this.#words, EPOCHS + worker * EPOCH_STEP, 0);
  }

  #all(): TableWriter[] {
    return Object.values(this.#tables);
  }

  #bring(copy: number): void {
    for (const table of this.#all()) table.bring(copy);
  }
}

/**
 * A worker's view of the routing table.
 *
 * @module
 */
import { type Family, type PerFamily, perFamily } from "../../../lib/net/family.ts";
import type { PacketMemory } from "../../../lib/packet/memory.ts";
import {
  EPOCH_STEP,
  EPOCHS,
  familiesIn,
  GENERATION,
  placesOf,
  type TablePlaces,
} from "../shared/routes_layout.ts";
import { FamilyRoutes } from "./family_routes.ts";
import type { RoutesMemory } from "./routes_memory.ts";

/**
 * Reads the table. Slots and everything read from them are valid from {@link enter} to the next {@link enter} or
 * {@link leave}.
 */
export class RoutesReader {
  /** The table of each family. */
  readonly tables: PerFamily<FamilyRoutes>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #families: readonly Family[];
  readonly #places: readonly [PerFamily<TablePlaces>, PerFamily<TablePlaces>];
  readonly #epoch: number;
  #generation = 0;

  /**
   * @param worker Number of this worker, below MAX_WORKERS; each has its own epoch.
   * @param packets The memory whose addresses are looked up.
   */
  constructor(routes: RoutesMemory, worker: number, packets: PacketMemory) {
    const { words, shape } = routes;
    this.#words = words;
    this.#families = familiesIn(shape);
    this.#places = [placesOf(shape, 0), placesOf(shape, 1)];
    this.#epoch = EPOCHS + worker * EPOCH_STEP;
    this.tables = perFamily(this.#families, (family) => new FamilyRoutes(family, routes, packets));
  }

  /** Takes the newest table. Cheap when nothing changed: once per batch. */
  enter(): void {
    let generation = Atomics.load(this.#words, GENERATION);
    // Say first what is going to be read, then see that it is still current: else it may be written to by now.
    for (;;) {
      Atomics.store(this.#words, this.#epoch, generation);
      const now = Atomics.load(this.#words, GENERATION);
      if (now === generation) break;
      generation = now;
    }
    if (generation === this.#generation) return;
    this.#generation = generation;
    const places = this.#places[generation & 1]!;
    for (const { name } of this.#families) this.tables[name]!.moveTo(places[name]!);
  }

  /** Lets go of the table; call before sleeping. */
  leave(): void {
    Atomics.store(this.#words, this.#epoch, 0);
  }
}

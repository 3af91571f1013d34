/**
 * The backends that the program was given, by the config's Type.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import type { BackendType } from "./types.ts";

/** Loads a backend's module. */
export type BackendLoader = () => Promise<BackendType>;

/** Knows the backends by type and loads each when it is chosen: the clouds' SDKs are large, most hosts need none. */
export class BackendRegistry {
  readonly #loaders: ReadonlyMap<string, BackendLoader>;

  /** @param loaders By type, lower case, in the order in which messages name them. */
  constructor(loaders: Readonly<Record<string, BackendLoader>>) {
    this.#loaders = new Map(Object.entries(loaders));
  }

  /** The types that there are. */
  get types(): readonly string[] {
    return [...this.#loaders.keys()];
  }

  /**
   * Loads the backend of a type (lower case).
   *
   * @returns The backend, or a sentence that names the types there are.
   */
  async load(type: string): Promise<BackendType | string> {
    const load = this.#loaders.get(type);
    if (load) return await load();
    return `Backend.Type ${JSON.stringify(type)}: must be one of ${this.types.join(", ")}` +
      didYouMean(type, this.types);
  }
}

/** A backend's options go from its own `parse` to its own `open`: nobody between needs their type. */
export function erase<T>(backend: BackendType<T>): BackendType {
  return backend as BackendType;
}

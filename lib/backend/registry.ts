/**
 * The backends that the program was given, by the config's Type.
 *
 * @module
 */
import { didYouMean } from "../config/suggest.ts";
import type { CommandName } from "../options/commands.ts";
import type { OptionTable } from "../options/spec.ts";
import type { Options } from "../options/table.ts";
import type { BackendType } from "./types.ts";

/** Carries out a command of a backend. @returns The exit status. */
export type BackendCommand = (options: Options) => Promise<number>;

/** A backend as the program lists it. */
export interface BackendEntry {
  /** Loads its module: the clouds' SDKs are large, most hosts need none. */
  readonly load: () => Promise<BackendType>;
  /** Options of the daemon that only this backend, or a few, know; `context.options` has their values. */
  readonly options?: OptionTable;
  /** Loads what carries out its commands, by their words (lib/options/commands.ts declares them). */
  readonly commands?: Readonly<Partial<Record<CommandName, () => Promise<BackendCommand>>>>;
}

/** Knows the backends by type and loads each when it is chosen. */
export class BackendRegistry {
  /** The options that the backends declare. */
  readonly options: OptionTable;
  readonly #entries: ReadonlyMap<string, BackendEntry>;

  /** @param entries By type, lower case, in the order in which messages name them. */
  constructor(entries: Readonly<Record<string, BackendEntry>>) {
    this.#entries = new Map(Object.entries(entries));
    this.options = Object.assign({}, ...Object.values(entries).map(({ options }) => options));
  }

  /** The types that there are. */
  get types(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** Loads what carries out a command of a backend. @throws {Error} If no backend has it. */
  async loadCommand(name: CommandName): Promise<BackendCommand> {
    for (const { commands } of this.#entries.values()) {
      const load = commands?.[name];
      if (load) return await load();
    }
    throw new Error(`no backend of this program has the command ${name}`);
  }

  /**
   * Loads the backend of a type (lower case).
   *
   * @returns The backend, or a sentence that names the types there are.
   */
  async load(type: string): Promise<BackendType | string> {
    const entry = this.#entries.get(type);
    if (entry) return await entry.load();
    return `Backend.Type ${JSON.stringify(type)}: must be one of ${this.types.join(", ")}` +
      didYouMean(type, this.types);
  }
}

/** A backend's options go from its own `parse` to its own `open`: nobody between needs their type. */
export function erase<T>(backend: BackendType<T>): BackendType {
  return backend as BackendType;
}

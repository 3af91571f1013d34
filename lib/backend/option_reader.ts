/**
 * Reading a backend's options: the keys of the config's Backend object but Type.
 *
 * ```ts
 * const reader = new OptionReader(options);
 * const vni = reader.integer("VNI", { min: 1, max: 0xffffff }, 1);
 * const learning = reader.boolean("Learning", false);
 * return reader.finish({ vni, learning });
 * ```
 *
 * @module
 */
import { FieldReader } from "../config/fields.ts";
import type { JsonObject } from "../config/types.ts";
import type { ParsedOptions } from "./types.ts";

/**
 * Reads a backend's options with the rules of {@link FieldReader}: names match whatever their case, faults
 * are collected, what was read is what `config check` prints.
 */
export class OptionReader extends FieldReader {
  constructor(options: JsonObject) {
    super(options, "Backend.");
  }

  /** The outcome, once every key has been read. */
  finish<T>(options: T): ParsedOptions<T> {
    return {
      options,
      complete: this.complete,
      fields: this.fields,
      faults: this.faults,
      unknownKeys: this.unknownKeys(),
    };
  }
}

/**
 * Options of the gce backend: it has none.
 *
 * @module
 */
import type { JsonObject } from "../../lib/config/types.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import type { ParsedOptions } from "../../lib/backend/types.ts";

/** What the config's Backend object says for gce. */
export type GceOptions = Readonly<Record<string, never>>;

/** Everything is learnt from the metadata server; keys in the config are unknown ones. */
export function parseGceOptions(options: JsonObject): ParsedOptions<GceOptions> {
  return new OptionReader(options).finish({});
}

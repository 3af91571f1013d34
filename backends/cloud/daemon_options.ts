/**
 * What the command line says to the cloud backends.
 *
 * @module
 */
import { integer } from "../../lib/options/spec.ts";

/** Seconds between checks of the cloud's routes, up to a day. */
export const CLOUD_RESYNC = integer(
  "Backends",
  "Seconds between checks of the cloud's routes",
  "SECONDS",
  120,
  [1, 86_400],
);

/** For the registry. */
export const CLOUD_OPTIONS = { "cloud-resync": CLOUD_RESYNC };

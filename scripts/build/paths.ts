/**
 * Paths, under the names that the build uses.
 *
 * @module
 */
export { basename, dirname, join, relative } from "node:path/posix";
export { fileURLToPath as fromFileUrl } from "node:url";

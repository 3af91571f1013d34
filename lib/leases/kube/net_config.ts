/**
 * The network config of a cluster: a file, mounted from a ConfigMap.
 *
 * @module
 */
import { messageOf } from "../../errors.ts";
import { type StoredConfig, StoreError } from "../types.ts";

/** Keys that say which subnets hosts may choose; where the cluster assigns them they mean nothing. */
const ALLOCATION_KEYS = new Set([
  ...["subnetlen", "subnetmin", "subnetmax"],
  ...["ipv6subnetlen", "ipv6subnetmin", "ipv6subnetmax"],
]);

/** Reads the file; undefined if there is none yet. @throws {StoreError} If it is there and can't be read. */
export async function readNetConfig(path: string): Promise<StoredConfig | undefined> {
  try {
    return { text: withoutAllocation(await Deno.readTextFile(path)), revision: 0n };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new StoreError(`Cannot read the network config ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** The text less what has no effect here; what isn't a JSON object stays as it is, for whoever reports it. */
function withoutAllocation(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return text;
    const kept = Object.entries(value).filter(([key]) => !ALLOCATION_KEYS.has(key.toLowerCase()));
    return kept.length === Object.keys(value).length ? text : JSON.stringify(Object.fromEntries(kept));
  } catch {
    return text;
  }
}

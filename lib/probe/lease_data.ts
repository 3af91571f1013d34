/**
 * What of a lease's backend data a probe compares with the kernel.
 *
 * @module
 */
import type { Json, JsonObject } from "../config/types.ts";
import type { Lease } from "../leases/types.ts";
import type { Family } from "../net/family.ts";

/** The VTEP's MAC that a vxlan lease names, in lower case. */
export function vtepMacOf(lease: Lease, family: Family): string | undefined {
  return textOf(lease.attributes.backendData[family.name], "VtepMAC")?.toLowerCase();
}

function textOf(data: Json | undefined, name: string): string | undefined {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return undefined;
  const value = (data as JsonObject)[name];
  return typeof value === "string" ? value : undefined;
}

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

/** The public key that a wireguard lease names. */
export function publicKeyOf(lease: Lease, family: Family): string | undefined {
  const { backendData } = lease.attributes;
  return textOf(backendData[family.name] ?? backendData.ipv4 ?? backendData.ipv6, "PublicKey");
}

function textOf(data: Json | undefined, name: string): string | undefined {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return undefined;
  const value = (data as JsonObject)[name];
  return typeof value === "string" ? value : undefined;
}

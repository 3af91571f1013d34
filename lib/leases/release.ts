/**
 * Giving a host's lease back, when the host leaves for good.
 *
 * @module
 */
import { sameHost } from "./identity.ts";
import { decodeLease } from "./codec.ts";
import type { CallOptions, LeaseAttributes, LeaseStore } from "./types.ts";

/**
 * Deletes the leases that carry the host's public IP. Reservations stay: they are the operator's.
 *
 * @returns The keys that were deleted; none the second time.
 */
export async function releaseLeases(
  store: LeaseStore,
  publicIps: LeaseAttributes["publicIps"],
  options: CallOptions = {},
): Promise<string[]> {
  const host: LeaseAttributes = { publicIps, backendData: {} };
  const released: string[] = [];
  for (const stored of (await store.listLeases(options)).leases) {
    const { lease } = decodeLease(stored);
    if (!stored.expires || !lease || !sameHost(lease.attributes, host)) continue;
    if (await store.deleteLease(stored, options)) released.push(stored.key);
  }
  return released;
}

/**
 * Which records in a store are this host's, for a host that leaves: by its subnet file, and without one (after a
 * reboot) by what it would publish again.
 *
 * @module
 */
import { FAMILIES, familiesOf } from "../net/family.ts";
import { sameIp } from "../net/ip.ts";
import { decodeLease, encodeLeaseKey } from "./codec.ts";
import type { LeavingHost } from "./contract.ts";
import { HostIdentity, sameHost } from "./identity.ts";
import type { Lease, LeaseSnapshot, StoredLease } from "./types.ts";

/** A lease in the store, and what it says. */
export interface FoundLease {
  readonly stored: StoredLease;
  readonly lease: Lease;
}

/**
 * The leases of this host.
 *
 * @param onDoubt Called with each lease of the host's public IP that may just as well be another host's.
 */
export function findOwnLeases(
  snapshot: LeaseSnapshot,
  host: LeavingHost,
  onDoubt: (stored: StoredLease) => void,
): FoundLease[] {
  const identity = new HostIdentity(host.attributes, host.evidence);
  return snapshot.leases.flatMap((stored) => {
    const { lease } = decodeLease(stored);
    if (!lease) return [];
    if (identity.judge(stored, lease) === "proven" || isAtOwnAddress(stored, lease, host)) {
      return [{ stored, lease }];
    }
    if (sameHost(lease.attributes, host.attributes)) onDoubt(stored);
    return [];
  });
}

/** The lease of the subnet file at any address that was this host's; another one at the address that is here. */
function isAtOwnAddress(stored: StoredLease, { attributes }: Lease, host: LeavingHost): boolean {
  const published = familiesOf(attributes.publicIps).map(({ name }) => attributes.publicIps[name]!);
  const { subnets } = host.evidence;
  if (subnets && familiesOf(subnets).length > 0 && stored.key === encodeLeaseKey(subnets)) {
    return published.some((ip) => host.allAddresses.some((own) => sameIp(own, ip)));
  }
  return sameHost(attributes, host.attributes) &&
    FAMILIES.some(({ name }) =>
      attributes.publicIps[name] !== undefined && sameIp(attributes.publicIps[name], host.addresses[name])
    );
}

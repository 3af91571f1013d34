/**
 * Which leases in the store are this host's, for a host that leaves: by its subnet file, and without one (after a
 * reboot) by what it would publish again.
 *
 * @module
 */
import type { ResolvedNetwork } from "../backend/network.ts";
import type { OpenContext } from "../backend/types.ts";
import type { ExternalInterface } from "../external/types.ts";
import { messageOf } from "../errors.ts";
import { decodeLease, encodeLeaseKey } from "../leases/codec.ts";
import { type HostEvidence, HostIdentity, sameHost } from "../leases/identity.ts";
import type { Lease, LeaseAttributes, LeaseSnapshot, StoredLease } from "../leases/types.ts";
import { FAMILIES, familiesOf, type PerFamily } from "../net/family.ts";
import { type Ip, sameIp } from "../net/ip.ts";
import type { Log } from "../observe/types.ts";

/** A lease in the store, and what it says. */
export interface FoundLease {
  readonly stored: StoredLease;
  readonly lease: Lease;
}

/** What is known of the host. */
export interface LeavingHost {
  /** What a daemon on this host would publish. */
  readonly attributes: LeaseAttributes;
  readonly evidence: HostEvidence;
  /** Addresses of the interface to the other hosts. */
  readonly addresses: PerFamily<Ip>;
  /** All addresses of this host, and those that the options name as its public ones. */
  readonly allAddresses: readonly Ip[];
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

/** What a daemon on this host would publish; without the backend's part where the backend can't be opened. */
export async function publishedBy(
  network: ResolvedNetwork,
  context: OpenContext,
  external: ExternalInterface,
  log: Log,
): Promise<LeaseAttributes> {
  const { publicIps } = external;
  // A backend that cleans up outside of this host would ask its cloud now, and publishes nothing.
  if (network.backend.cleanup) return { publicIps, backendData: {} };
  try {
    const { attributes } = await network.backend.open(network.options, context);
    return { ...attributes, publicIps };
  } catch (error) {
    log.warn(`Cannot tell what this host published, looking for its lease by address: ${messageOf(error)}`);
    return { publicIps, backendData: {} };
  }
}

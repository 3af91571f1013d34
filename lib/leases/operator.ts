/**
 * What an operator does to a lease: judged first, then written only if nobody has changed it since. Pure but for the
 * write itself.
 *
 * @module
 */
import type { FamilyConfig } from "../config/types.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import { formatPrefix, type Prefix, prefixesOverlap, samePrefix } from "../net/prefix.ts";
import { fits } from "./allocator.ts";
import { encodeLeaseKey, encodeLeaseValue } from "./codec.ts";
import type { LeaseView } from "./inspect.ts";
import type { CallOptions, LeaseStore, StoredLease } from "./types.ts";

/** What is going to happen, in sentences, and how. */
export interface Plan {
  readonly says: readonly string[];
  /** Absent: there is nothing to do. @returns False where the lease has changed since it was read: nothing was done. */
  readonly act?: (store: LeaseStore, options: CallOptions) => Promise<boolean>;
}

/** It can't be done; the message says why and what can. */
class NotPossibleError extends Error {
  override readonly name = "NotPossibleError";
}

/** What stands in the store. */
export interface Pool {
  readonly config: readonly FamilyConfig[];
  readonly leases: readonly LeaseView[];
}

/**
 * Makes a lease a reservation, or reserves a free subnet.
 *
 * @param holder Public addresses of the host that gets a free one; none: no host does.
 * @throws {NotPossibleError}
 */
export function planReserve(pool: Pool, subnets: PerFamily<Prefix>, holder: PerFamily<Ip>): Plan {
  const found = leaseWith(pool, subnets);
  return found ? reserveLease(found, holder) : reserveFree(pool, subnets, holder);
}

function reserveLease(lease: LeaseView, holder: PerFamily<Ip>): Plan {
  const stored = recordOf(lease);
  const name = nameOf(lease.subnets!);
  const wanted = familiesOf(holder);
  const isOthers = wanted.some(({ name }) => !sameIp(holder[name], lease.attributes?.publicIps[name]));
  if (!lease.expires) {
    if (isOthers) throw new NotPossibleError(`${name} is reserved for ${holderOf(lease)}: revoke that first`);
    return { says: [`${name} is already reserved for ${holderOf(lease)}.`] };
  }
  if (lease.fault !== undefined) {
    throw new NotPossibleError(`${name} is malformed: ${lease.fault}; revoke it`);
  }
  if (isOthers) {
    throw new NotPossibleError(
      `${name} is leased to ${holderOf(lease)}: revoke that first, or leave -for out`,
    );
  }
  return {
    says: [`${name}, leased to ${holderOf(lease)}, becomes its reservation: it never expires.`],
    act: async (store, options) =>
      await store.updateLease({ ...stored, expires: false }, stored.value, 0, options) !== undefined,
  };
}

function reserveFree({ config, leases }: Pool, subnets: PerFamily<Prefix>, holder: PerFamily<Ip>): Plan {
  const name = nameOf(subnets);
  if (!fits(config, subnets)) {
    throw new NotPossibleError(`${name} isn't a subnet of this network: ${rule(config)}`);
  }
  const other = leases.find((lease) => overlap(lease.subnets ?? {}, subnets));
  if (other) {
    throw new NotPossibleError(
      `${name} overlaps with ${nameOf(other.subnets!)}, ${other.expires ? "leased to" : "of"} ${
        holderOf(other)
      }`,
    );
  }
  const families = familiesOf(holder);
  const missing = config.find(({ family }) => holder[family.name] === undefined);
  if (families.length > 0 && missing) {
    throw new NotPossibleError(`-for: needs the host's ${missing.family.label} address as well`);
  }
  const address = families.map(({ name }) => formatIp(holder[name]!)).join(", ");
  const held = leases.filter(({ attributes }) =>
    families.some(({ name }) => sameIp(holder[name], attributes?.publicIps[name]))
  );
  return {
    says: [
      families.length > 0
        ? `${name} is free and becomes a reservation for ${address}, which gets it when it joins.`
        : `${name} is free and becomes a reservation for no host: nobody gets it until it is unreserved.`,
      ...held.map(({ subnets }) =>
        `${address} has ${
          nameOf(subnets!)
        } now, and keeps that one while it is there: revoke it to move the host.`
      ),
    ],
    act: async (store, options) => {
      const value = encodeLeaseValue({ publicIps: holder, backendData: {} });
      return await store.createLease(encodeLeaseKey(subnets), value, undefined, options) !== undefined;
    },
  };
}

/**
 * Gives a reservation its time to live back; one that is for no host is removed.
 *
 * @param ttl Seconds. @throws {NotPossibleError}
 */
export function planUnreserve(pool: Pool, subnets: PerFamily<Prefix>, ttl: number): Plan {
  const lease = existing(pool, subnets);
  const name = nameOf(lease.subnets!);
  const stored = recordOf(lease);
  if (lease.expires) return { says: [`${name} is leased to ${holderOf(lease)} and isn't reserved.`] };
  if (!lease.attributes) {
    return {
      says: [`${name} is reserved for no host, and becomes free.`],
      act: (store, options) => store.deleteLease(stored, options),
    };
  }
  return {
    says: [
      `${name} becomes a lease of ${holderOf(lease)} that expires in ${
        Math.round(ttl / 60)
      } minutes unless that host renews it.`,
    ],
    act: async (store, options) =>
      await store.updateLease({ ...stored, expires: true }, stored.value, ttl, options) !== undefined,
  };
}

/** Deletes a lease or reservation. @throws {NotPossibleError} */
export function planRevoke(pool: Pool, subnets: PerFamily<Prefix>): Plan {
  const lease = existing(pool, subnets);
  const name = nameOf(lease.subnets!);
  const stored = recordOf(lease);
  const what = lease.expires ? "lease" : "reservation";
  return {
    says: [
      `The ${what} of ${name}, ${
        lease.attributes ? `held by ${holderOf(lease)}` : "held by no host"
      }, is deleted.`,
      ...lease.attributes
        ? [
          "Its flanneld ends, and takes another subnet when it is started again (as systemd does).",
          "The other hosts drop their routes to the subnet at once: its containers there aren't reached any more.",
        ]
        : [],
    ],
    act: (store, options) => store.deleteLease(stored, options),
  };
}

function existing(pool: Pool, subnets: PerFamily<Prefix>): LeaseView {
  const lease = leaseWith(pool, subnets);
  if (lease) return lease;
  throw new NotPossibleError(`${nameOf(subnets)} is neither leased nor reserved`);
}

/** The lease whose key names these subnets; of a lease of two families either is enough. */
function leaseWith({ leases }: Pool, wanted: PerFamily<Prefix>): LeaseView | undefined {
  return leases.find(({ subnets }) =>
    subnets !== undefined && familiesOf(wanted).every(({ name }) => samePrefix(subnets[name], wanted[name]))
  );
}

function overlap(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return familiesOf(a).some(({ name }) => b[name] !== undefined && prefixesOverlap(a[name]!, b[name]));
}

/** @throws {NotPossibleError} In a cluster. */
function recordOf({ stored, key }: LeaseView): StoredLease {
  if (stored) return stored;
  throw new NotPossibleError(`${key}: its subnet is assigned by the cluster`);
}

function nameOf(subnets: PerFamily<Prefix>): string {
  return familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!)).join(",");
}

function holderOf({ attributes }: LeaseView): string {
  const publicIps = attributes?.publicIps ?? {};
  return familiesOf(publicIps).map(({ name }) => formatIp(publicIps[name]!)).join(", ") || "no host";
}

/** What a subnet of this network is. */
function rule(config: readonly FamilyConfig[]): string {
  return config.map(({ subnetLength, subnetMin, subnetMax }) =>
    `a /${subnetLength} from ${formatIp(subnetMin)} to ${formatIp(subnetMax)}`
  ).join(", and ");
}

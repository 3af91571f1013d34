/**
 * What `flanneld leases list -json`, `leases show -json` and `leases pool -json` print. The types are the documentation of the schema: a field keeps its
 * name and meaning as long as `schemaVersion` stays 1.
 *
 * @module
 */
import type { NetworkLeases } from "../daemon/network_leases.ts";
import type { LeaseView } from "../leases/inspect.ts";
import type { PoolMap, SubnetRun } from "../leases/pool_map.ts";
import { subnetAt } from "../config/pool_runs.ts";
import { familiesOf } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { HostNames } from "../status/host_names.ts";

/** The whole answer. */
export interface LeasesDocument {
  readonly schemaVersion: 1;
  readonly time: string;
  readonly store: string;
  /** Of the store: the state that this is. */
  readonly revision: string;
  readonly pools: readonly PoolDocument[];
  readonly leases: readonly LeaseDocument[];
}

/** The pool of one family. Numbers above 2^53 are rounded. */
export interface PoolDocument {
  readonly family: "ipv4" | "ipv6";
  readonly network: string;
  readonly subnetLength: number;
  /** total = used + reserved + free. */
  readonly total: number;
  readonly used: number;
  readonly reserved: number;
  /** Of the used ones, those with less than an hour left; null where that wasn't asked (-expiry=false). */
  readonly expiring: number | null;
  readonly free: number;
  /** The longest run of free subnets; null where nothing is free. */
  readonly largestFree: { readonly first: string; readonly last: string; readonly count: number } | null;
  /** Leases that take nothing of the pool. */
  readonly outside: number;
}

/** One lease. */
export interface LeaseDocument {
  readonly key: string;
  /** IPv4 first; empty where the key is none of a lease. */
  readonly subnets: readonly string[];
  /** The Node's name, or that of /etc/hosts; else empty. */
  readonly host: string;
  readonly publicIps: readonly string[];
  /** Null where the lease says nothing, as those of udp, alloc and the clouds. */
  readonly backendType: string | null;
  /** leased: expires unless it is renewed; reserved: never expires; assigned: by the cluster; malformed: see `fault`. */
  readonly state: "leased" | "reserved" | "assigned" | "malformed";
  /** Null where it doesn't expire, isn't known, or wasn't asked (-expiry=false). */
  readonly secondsLeft: number | null;
  /** Since it last got its whole time; null where the store doesn't know. */
  readonly renewedSecondsAgo: number | null;
  /** When it was made; null where the store doesn't know, as etcd doesn't. */
  readonly createdAt: string | null;
  /** Revisions at which the key was created and last written; null in a cluster. */
  readonly createRevision: string | null;
  readonly revision: string | null;
  readonly fault: string | null;
}

/** A network's leases as a document. */
export function leasesDocument(
  { store, revision, pools, leases }: NetworkLeases,
  names: HostNames,
): LeasesDocument {
  const isKnown = leases.every(({ expires, secondsLeft }) => !expires || secondsLeft !== undefined);
  return {
    ...{ schemaVersion: 1, time: new Date().toISOString(), store, revision },
    pools: pools.map((pool) => poolDocument(pool, isKnown)),
    leases: leases.map((lease) => leaseDocument(lease, names)),
  };
}

/** @param isKnown Whether it is known when leases expire. */
function poolDocument({ config, family, largestFree, ...pool }: PoolMap, isKnown: boolean): PoolDocument {
  return {
    family: family.name,
    network: formatPrefix(config.network),
    subnetLength: config.subnetLength,
    total: Number(pool.total),
    used: Number(pool.used),
    reserved: Number(pool.reserved),
    expiring: isKnown ? Number(pool.expiring) : null,
    free: Number(pool.free),
    largestFree: largestFree
      ? {
        ...{ first: endOf(config, largestFree, "first"), last: endOf(config, largestFree, "last") },
        count: Number(largestFree.last - largestFree.first + 1n),
      }
      : null,
    outside: pool.outside,
  };
}

function endOf(config: PoolMap["config"], run: SubnetRun, end: "first" | "last"): string {
  return formatPrefix(subnetAt(config, run[end]));
}

/** One lease as a document. */
export function leaseDocument(lease: LeaseView, names: HostNames): LeaseDocument {
  const { key, subnets = {}, attributes, stored } = lease;
  const publicIps = familiesOf(attributes?.publicIps ?? {}).map(({ name }) =>
    formatIp(attributes!.publicIps[name]!)
  );
  const named = publicIps.find((ip) => names.has(ip));
  return {
    key,
    subnets: familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!)),
    host: lease.host ?? (named === undefined ? "" : names.get(named)!),
    publicIps,
    backendType: attributes?.backendType ?? null,
    state: stateOf(lease),
    secondsLeft: lease.secondsLeft === undefined ? null : Math.round(lease.secondsLeft),
    renewedSecondsAgo: lease.renewedAgo === undefined ? null : Math.round(lease.renewedAgo),
    createdAt: lease.createdAt === undefined ? null : new Date(lease.createdAt).toISOString(),
    createRevision: stored ? String(stored.createRevision) : null,
    revision: stored ? String(stored.revision) : null,
    fault: lease.fault ?? null,
  };
}

function stateOf({ fault, assigned, expires }: LeaseView): LeaseDocument["state"] {
  if (assigned) return "assigned";
  if (fault !== undefined) return "malformed";
  return expires ? "leased" : "reserved";
}

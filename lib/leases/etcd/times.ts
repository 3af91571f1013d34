/**
 * How long leases live: etcd is asked for each by itself, many at a time.
 *
 * @module
 */
import type { InspectOptions, StoredLease, TimedLease } from "../types.ts";
import type { Patience } from "./limits.ts";
import { EndpointsError, type EtcdPool } from "./pool.ts";
import { StoreError } from "../types.ts";

/** Requests under way: more don't make it faster, and etcd has other clients. */
const AT_ONCE = 64;

/** A lease, and the etcd lease that it hangs on ("0": none). */
export interface HungLease {
  readonly id: string;
  readonly lease: StoredLease;
}

/**
 * The leases, those that `timed` picks with their times. Each of etcd's leases is asked for once. One that ends meanwhile has no time left; of one that etcd doesn't let us ask for (a
 * user may lack the right) the times aren't known.
 */
export async function withTimes(
  pool: EtcdPool,
  leases: readonly HungLease[],
  { timed, patience }: Pick<InspectOptions, "timed"> & { readonly patience: Patience },
): Promise<readonly TimedLease[]> {
  const wanted = timed && new Set(timed(leases.map(({ lease }) => lease)));
  const asked = leases.filter(({ id, lease }) => id !== "0" && (wanted?.has(lease) ?? true));
  const ids = [...new Set(asked.map(({ id }) => id))];
  const times = new Map<string, Partial<TimedLease>>();
  let next = 0;
  const ask = async () => {
    while (next < ids.length) {
      const id = ids[next++]!;
      times.set(id, await timesOf(pool, id, patience));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return leases.map(({ id, lease }) =>
    wanted === undefined || wanted.has(lease) ? { ...lease, ...times.get(id) } : lease
  );
}

async function timesOf(pool: EtcdPool, id: string, patience: Patience): Promise<Partial<TimedLease>> {
  try {
    const { TTL, grantedTTL } = await pool.call("Lease.leaseTimeToLive", { ID: id, keys: false }, patience);
    const secondsLeft = Math.max(0, Number(TTL));
    return Number(TTL) < 0 ? { secondsLeft } : { secondsLeft, renewedAgo: Number(grantedTTL) - secondsLeft };
  } catch (error) {
    if (error instanceof EndpointsError || error instanceof StoreError) throw error;
    return {};
  }
}

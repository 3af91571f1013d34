/**
 * How long leases live: etcd is asked for each by itself, many at a time.
 *
 * @module
 */
import type { StoredLease, TimedLease } from "../types.ts";
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
 * The leases with their times. One that ends meanwhile has no time left; of one that etcd doesn't let us ask for (a
 * user may lack the right) the times aren't known.
 */
export async function withTimes(
  pool: EtcdPool,
  leases: readonly HungLease[],
  patience: Patience,
): Promise<readonly TimedLease[]> {
  const timed: TimedLease[] = leases.map(({ lease }) => lease);
  let next = 0;
  const ask = async () => {
    while (next < leases.length) {
      const index = next++;
      const { id, lease } = leases[index]!;
      if (id !== "0") timed[index] = { ...lease, ...await timesOf(pool, id, patience) };
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return timed;
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

/**
 * etcd leases: what gives a key its time to live.
 *
 * A grant is a write to etcd of its own, made before the write that uses it, so either may fail alone. Grants
 * carry an id that is chosen here: one that is made twice because its answer was lost is one. A grant whose use
 * failed is used for the next write, and given back at the end: retries leave nothing behind, however many.
 *
 * @module
 */
import type { Patience } from "./limits.ts";
import type { EtcdPool } from "./pool.ts";

/** A granted etcd lease. */
export interface Grant {
  /** Decimal, as the API takes it. */
  readonly id: string;
  /** Seconds that it was asked for. */
  readonly ttl: number;
}

/** Keys whose last write may or may not have been done; beyond this many the oldest is left to run out. */
const UNSURE_LIMIT = 16;
/** Longest that giving one back may take, in milliseconds. */
const COURTESY_MS = 500;

/** Makes grants, and remembers those that aren't used. */
export class Grants {
  readonly #pool: EtcdPool;
  /** No key hangs on it. */
  #free: Grant | undefined;
  /** By the key that may hang on it. */
  readonly #unsure = new Map<string, Grant>();
  readonly #courtesies = new Set<Promise<void>>();

  constructor(pool: EtcdPool) {
    this.#pool = pool;
  }

  /** A grant to put the lease `name` with, that lives for `ttl` seconds from now on. */
  async take(name: string, ttl: number, patience: Patience): Promise<Grant> {
    const spare = await this.#takeSpare(name, ttl, patience);
    if (spare) return spare;
    const grant = { id: newId(), ttl };
    const request = { TTL: String(Math.max(1, Math.ceil(ttl))), ID: grant.id };
    await this.#pool.use(async (client, limits) => {
      try {
        await client.call("Lease.leaseGrant", request, limits);
      } catch (error) {
        // The answer to the first try was lost.
        if (!/lease already exists/.test(String(error))) throw error;
      }
    }, patience);
    return grant;
  }

  /** A grant of an earlier write, out of reach of other calls before anything is waited for. */
  async #takeSpare(name: string, ttl: number, patience: Patience): Promise<Grant | undefined> {
    const spare = this.#unsure.get(name) ?? this.#free;
    if (spare?.ttl !== ttl) return undefined;
    const isUnsure = this.#free !== spare;
    if (isUnsure) this.#unsure.delete(name);
    else this.#free = undefined;
    try {
      return await this.keepAlive(spare.id, patience) > 0 ? spare : undefined;
    } catch (error) {
      if (isUnsure) this.unsure(name, spare);
      else this.unused(spare);
      throw error;
    }
  }

  /** The write with this grant wasn't done: another may use it. */
  unused(grant: Grant): void {
    this.#free = grant;
  }

  /** Whether the write of `name` with this grant was done isn't known: the next one uses it again. */
  unsure(name: string, grant: Grant): void {
    this.#unsure.set(name, grant);
    const [oldest] = this.#unsure.keys();
    if (this.#unsure.size > UNSURE_LIMIT) this.#unsure.delete(oldest!);
  }

  /** Gives the etcd lease its whole time again. @returns Seconds of it, 0 where there is none any more. */
  async keepAlive(id: string, patience: Patience): Promise<number> {
    return (await this.#pool.use((client, limits) => client.keepAlive(id, limits), patience)).value;
  }

  /**
   * Gives an etcd lease back that our key has left, in the background, unless others hang their keys on it. A
   * courtesy that never fails: at the worst the lease runs out by itself.
   */
  giveBack(id: string): void {
    const courtesy = this.#revokeIfBare(id).catch(() => {}).finally(() => this.#courtesies.delete(courtesy));
    this.#courtesies.add(courtesy);
  }

  async #revokeIfBare(id: string): Promise<void> {
    const patience = { until: performance.now() + COURTESY_MS };
    const { keys } = await this.#pool.call("Lease.leaseTimeToLive", { ID: id, keys: true }, patience);
    if (keys.length === 0) await this.#pool.call("Lease.leaseRevoke", { ID: id }, patience);
  }

  /** Gives back what isn't used. */
  async close(): Promise<void> {
    const free = this.#free;
    this.#free = undefined;
    if (free) this.giveBack(free.id);
    await Promise.all(this.#courtesies);
  }
}

/** A number of 62 random bits, not 0: etcd's own ids, and other hosts', differ from it for all practical purposes. */
function newId(): string {
  const [bits] = crypto.getRandomValues(new BigUint64Array(1));
  return String((bits! >> 2n) | 1n);
}

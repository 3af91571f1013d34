/**
 * etcd leases: what gives a key its time to live.
 *
 * A grant is a write to etcd of its own, made before the write that uses it, so either may fail alone. Grants
 * carry an id that is chosen here: one that is made twice because its answer was lost is one. A grant whose use
 * failed is used for the next write, and given back at the end: retries leave nothing behind, however many.
 *
 * @module
 */
import { Turns } from "../../time/turns.ts";
import type { EtcdClient } from "./client.ts";
import type { CallLimits, Patience } from "./limits.ts";
import { EndpointsError, type EtcdPool } from "./pool.ts";

/** A granted etcd lease. */
export interface Grant {
  /** Decimal, as the API takes it. */
  readonly id: string;
  /** Seconds that it was asked for. */
  readonly ttl: number;
}

/** Of each kind, how many are remembered; more are left to run out. */
const REMEMBERED = 16;
/** Longest that giving one back may take, in milliseconds. */
const COURTESY_MS = 500;

/** Makes grants, and remembers those that aren't used. */
export class Grants {
  readonly #pool: EtcdPool;
  /** No key hangs on it. */
  #free: Grant | undefined;
  /** By the key that may hang on it. */
  readonly #unsure = new Map<string, Grant>();
  /** To be given back. */
  readonly #leaving = new Set<string>();
  readonly #courtesy = new Turns();
  /** When to give back no more, by performance.now(). */
  #closeAt = Infinity;

  constructor(pool: EtcdPool) {
    this.#pool = pool;
  }

  /** A grant to put the lease `name` with, that lives for `ttl` seconds from now on. */
  async take(name: string, ttl: number, patience: Patience): Promise<Grant> {
    // Out of reach of other calls before anything is waited for.
    const { grant, isUnsure } = this.#takeSpare(name, ttl) ?? { grant: undefined, isUnsure: false };
    const taken = grant ?? { id: newId(), ttl };
    try {
      // A spare one may have run out, or its grant be still under way: under the same id there is only one.
      if (!grant || await this.keepAlive(grant.id, patience) === 0) {
        await this.#pool.use((client, limits) => grantAt(client, taken, limits), patience);
      }
      return taken;
    } catch (error) {
      if (isUnsure) this.unsure(name, taken);
      else this.unused(taken);
      throw error;
    }
  }

  /** The grant of an earlier write that may be used for this one. */
  #takeSpare(name: string, ttl: number): { grant: Grant; isUnsure: boolean } | undefined {
    const unsure = this.#unsure.get(name);
    if (unsure?.ttl === ttl) {
      this.#unsure.delete(name);
      return { grant: unsure, isUnsure: true };
    }
    const free = this.#free;
    if (free?.ttl !== ttl) return undefined;
    this.#free = undefined;
    return { grant: free, isUnsure: false };
  }

  /** The write with this grant wasn't done: another may use it. */
  unused(grant: Grant): void {
    if (this.#free) this.giveBack(this.#free.id);
    this.#free = grant;
  }

  /** Whether the write of `name` with this grant was done isn't known: the next one uses it again. */
  unsure(name: string, grant: Grant): void {
    this.#unsure.set(name, grant);
    const [oldest] = this.#unsure.keys();
    if (this.#unsure.size > REMEMBERED) this.#unsure.delete(oldest!);
  }

  /** Gives the etcd lease its whole time again. @returns Seconds of it, 0 where there is none any more. */
  async keepAlive(id: string, patience: Patience): Promise<number> {
    return (await this.#pool.use((client, limits) => client.keepAlive(id, limits), patience)).value;
  }

  /**
   * Gives an etcd lease back that our key has left, in the background, unless others hang their keys on it. A
   * courtesy that never fails: what can't be given back is tried again with the next one, and at the worst runs
   * out by itself.
   */
  giveBack(id: string): void {
    if (this.#leaving.size < REMEMBERED) this.#leaving.add(id);
    void this.#courtesy.take(() => this.#revokeLeaving());
  }

  async #revokeLeaving(): Promise<void> {
    try {
      for (const id of this.#leaving) {
        await this.#revokeBare(id, { until: Math.min(this.#closeAt, performance.now() + COURTESY_MS) });
        this.#leaving.delete(id);
      }
    } catch {
      // No endpoint answers now.
    }
  }

  /** @throws {EndpointsError} */
  async #revokeBare(id: string, patience: Patience): Promise<void> {
    try {
      const { keys } = await this.#pool.call("Lease.leaseTimeToLive", { ID: id, keys: true }, patience);
      if (keys.length === 0) await this.#pool.call("Lease.leaseRevoke", { ID: id }, patience);
    } catch (error) {
      // Any refusal: it has ended already, or isn't ours to end.
      if (error instanceof EndpointsError) throw error;
    }
  }

  /** Gives back what isn't used. */
  async close(): Promise<void> {
    const free = this.#free;
    this.#free = undefined;
    if (free) this.#leaving.add(free.id);
    this.#closeAt = performance.now() + COURTESY_MS;
    await this.#courtesy.idle();
    await this.#revokeLeaving();
  }
}

async function grantAt(client: EtcdClient, { id, ttl }: Grant, limits: CallLimits): Promise<void> {
  try {
    await client.call("Lease.leaseGrant", { ID: id, TTL: String(Math.max(1, Math.ceil(ttl))) }, limits);
  } catch (error) {
    // The answer to an earlier try was lost.
    if (!/lease already exists/.test(String(error))) throw error;
  }
}

/** A number of 62 random bits, not 0: etcd's own ids, and other hosts', differ from it for all practical purposes. */
function newId(): string {
  const [bits] = crypto.getRandomValues(new BigUint64Array(1));
  return String((bits! >> 2n) | 1n);
}

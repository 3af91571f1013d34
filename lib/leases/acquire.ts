/**
 * How a host comes by its lease: its own from before, else the subnet of its subnet file, else a new one.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { FamilyConfig } from "../config/types.ts";
import { FAMILIES, familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, sameIp } from "../net/ip.ts";
import { formatPrefix, type Prefix, prefixesOverlap, samePrefix } from "../net/prefix.ts";
import type { Log } from "../observe/types.ts";
import { Allocator, fits, OutOfSubnetsError, type RandomBelow } from "./allocator.ts";
import { Backoff, type Clock, Throttle } from "./clock.ts";
import { decodeLease, decodeLeaseKey, encodeLeaseKey, encodeLeaseValue } from "./codec.ts";
import {
  CompactedError,
  type Lease,
  type LeaseAttributes,
  type LeaseSnapshot,
  type LeaseStore,
  type StoredLease,
  StoreError,
} from "./types.ts";

/** What a host brings along. */
export interface AcquireOptions {
  readonly store: LeaseStore;
  readonly config: readonly FamilyConfig[];
  /** What it publishes with the lease. */
  readonly attributes: LeaseAttributes;
  /** Seconds until the lease expires unless renewed. */
  readonly ttl: number;
  /** The subnets of an earlier subnet file. */
  readonly previous?: PerFamily<Prefix>;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: RandomBelow;
  readonly signal?: AbortSignal;
}

/** A lease that was acquired. */
export interface AcquiredLease {
  readonly held: StoredLease;
  readonly lease: Lease;
  /** All leases, read before ours was written: whoever watches goes on from its revision. */
  readonly snapshot: LeaseSnapshot;
  /** Where it comes from: held before, the subnet file, or chosen. */
  readonly origin: "reused" | "previous" | "new";
}

/**
 * Acquires a lease. Waits for a store that doesn't answer, for as long as it takes.
 *
 * @throws {OutOfSubnetsError} If no subnet is free. @throws {StoreError} If waiting for the store won't help.
 * @throws The signal's reason.
 */
export async function acquireLease(options: AcquireOptions): Promise<AcquiredLease> {
  const { clock, log, signal } = options;
  const backoff = new Backoff(clock);
  const throttle = new Throttle(clock, 30_000);
  for (;;) {
    try {
      const acquired = await new Acquisition(options).run();
      if (acquired) return acquired;
      log.debug("Another host was faster: looking at the leases again");
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof StoreError || error instanceof OutOfSubnetsError) throw error;
      if (throttle.pass() !== undefined) {
        log.warn("Cannot acquire a lease yet, trying again", { error: messageOf(error) });
      }
    }
    await backoff.wait(signal);
  }
}

/** One look at the store and the attempts based on it. */
class Acquisition {
  readonly #o: AcquireOptions;
  readonly #value: string;

  constructor(options: AcquireOptions) {
    this.#o = options;
    this.#value = encodeLeaseValue(options.attributes);
  }

  get #call(): { signal?: AbortSignal } {
    return this.#o.signal ? { signal: this.#o.signal } : {};
  }

  /** Undefined if another host came between: everything must be looked at again. */
  async run(): Promise<AcquiredLease | undefined> {
    const snapshot = await this.#o.store.listLeases(this.#call);
    const mine = this.#leasesWithOurIp(snapshot);
    const usable = this.#choose(mine.filter(({ lease }) => fits(this.#o.config, lease.subnets)));
    if (usable) return await this.#reuse(usable, snapshot);
    const rest = new Set<StoredLease>();
    for (const { stored } of mine) {
      if (!await this.#dropMisfit(stored)) return undefined;
      rest.add(stored);
    }
    return await this.#create(snapshot, snapshot.leases.filter((lease) => !rest.has(lease)));
  }

  #leasesWithOurIp(snapshot: LeaseSnapshot): { stored: StoredLease; lease: Lease }[] {
    const { ipv4, ipv6 } = this.#o.attributes.publicIps;
    // An IPv4 address has one text form: who looks for one needn't decode 20,000 leases.
    const needle = ipv4 && !ipv6 ? formatIp(ipv4) : "";
    return snapshot.leases.flatMap((stored) => {
      if (!stored.value.includes(needle)) return [];
      const { lease } = decodeLease(stored);
      return lease && sameHost(lease.attributes, this.#o.attributes) ? [{ stored, lease }] : [];
    });
  }

  /** Of several, the one of the subnet file, else a reservation, else the first. */
  #choose<T extends { stored: StoredLease; lease: Lease }>(leases: readonly T[]): T | undefined {
    const previous = this.#o.previous;
    return leases.find(({ lease }) => previous && sameSubnets(lease.subnets, previous)) ??
      leases.find(({ stored }) => !stored.expires) ?? leases[0];
  }

  async #reuse(
    { stored, lease }: { stored: StoredLease; lease: Lease },
    snapshot: LeaseSnapshot,
  ): Promise<AcquiredLease | undefined> {
    const { store, ttl, attributes, log } = this.#o;
    const held = await store.updateLease(stored, this.#value, ttl, this.#call);
    if (!held) return undefined;
    if (stored.value !== this.#value) {
      log.info("The lease with this host's public IP said something else before", {
        key: stored.key,
        before: stored.value,
        now: this.#value,
        hint: "if another host uses the same public IP, set -public-ip or -iface on one of them",
      });
    }
    return { held, lease: { subnets: lease.subnets, attributes }, snapshot, origin: "reused" };
  }

  async #dropMisfit(stored: StoredLease): Promise<boolean> {
    this.#o.log.warn("This host's lease doesn't fit the network config any more: deleting it", {
      key: stored.key,
    });
    return await this.#o.store.deleteLease(stored, this.#call);
  }

  async #create(
    snapshot: LeaseSnapshot,
    leases: readonly StoredLease[],
  ): Promise<AcquiredLease | undefined> {
    const allocator = new Allocator(this.#o.config, leases);
    const previous = allocator.available(this.#o.previous ?? {});
    this.#tellLoss(previous, leases);
    if (familiesOf(previous).length > 0) {
      const acquired = await this.#tryCreate(
        allocator.choose(this.#o.random, previous),
        snapshot,
        "previous",
      );
      // Whoever was faster is named after the next look.
      return acquired;
    }
    for (let lost = 0;; lost++) {
      // What was lost may be free again, and the figures are old.
      if (lost > 0 && !allocator.hasFree()) return undefined;
      const subnets = allocator.choose(this.#o.random);
      const acquired = await this.#tryCreate(subnets, snapshot, "new");
      if (acquired) return acquired;
      allocator.take(subnets);
      await this.#o.clock.sleep(this.#o.clock.random() * 20, this.#o.signal);
    }
  }

  async #tryCreate(
    subnets: PerFamily<Prefix>,
    snapshot: LeaseSnapshot,
    origin: "previous" | "new",
  ): Promise<AcquiredLease | undefined> {
    const { store, ttl, attributes } = this.#o;
    const held = await store.createLease(encodeLeaseKey(subnets), this.#value, ttl, this.#call);
    if (!held) return undefined;
    if (!await this.#isAlone(held, subnets, snapshot)) {
      await store.deleteLease(held, this.#call);
      return undefined;
    }
    return { held, lease: { subnets, attributes }, snapshot, origin };
  }

  /**
   * The transaction keeps two hosts from one key. With two families, two keys can share one subnet: then the
   * earlier one keeps it. What happened between our look and our write tells.
   */
  async #isAlone(held: StoredLease, subnets: PerFamily<Prefix>, snapshot: LeaseSnapshot): Promise<boolean> {
    if (familiesOf(subnets).length < 2) return true;
    for (const key of await this.#keysBefore(held, snapshot)) {
      const other = key === held.key ? undefined : decodeLeaseKey(key);
      if (other && overlap(other, subnets)) return false;
    }
    return true;
  }

  /** Keys that were put after the snapshot and before `held`. */
  async #keysBefore(held: StoredLease, snapshot: LeaseSnapshot): Promise<Set<string>> {
    const { store, signal } = this.#o;
    using stop = new DisposableAbort(signal);
    const keys = new Set<string>();
    try {
      for await (const { events } of store.watchLeases(snapshot.revision, { signal: stop.signal })) {
        for (const event of events) {
          if (event.kind === "delete") keys.delete(event.key);
          else if (event.lease.key === held.key) return keys;
          else keys.add(event.lease.key);
        }
      }
    } catch (error) {
      if (!(error instanceof CompactedError)) throw error;
      const { leases } = await store.listLeases(this.#call);
      return new Set(leases.filter(({ revision }) => revision < held.revision).map(({ key }) => key));
    }
    signal?.throwIfAborted();
    return keys;
  }

  /** A subnet must never change under running containers without a word of why. */
  #tellLoss(available: PerFamily<Prefix>, leases: readonly StoredLease[]): void {
    for (const { name } of familiesOf(this.#o.previous ?? {})) {
      const subnet = this.#o.previous?.[name];
      if (!subnet || available[name]) continue;
      const holder = leases.find(({ key }) => {
        const other = decodeLeaseKey(key)?.[name];
        return other && prefixesOverlap(other, subnet);
      });
      if (holder) this.#tellHolder(subnet, holder);
      else {
        this.#o.log.warn("This host's earlier subnet doesn't fit the network config: it gets a new one", {
          subnet: formatPrefix(subnet),
        });
      }
    }
  }

  #tellHolder(subnet: Prefix, holder: StoredLease): void {
    const { lease } = decodeLease(holder);
    const ips = familiesOf(lease?.attributes.publicIps ?? {})
      .map(({ name }) => formatIp(lease!.attributes.publicIps[name]!));
    this.#o.log.error(
      "This host's earlier subnet now belongs to another host: it gets a new one, and containers that still " +
        "have addresses of the old one must be restarted",
      { subnet: formatPrefix(subnet), key: holder.key, holder: ips.join(" ") || holder.value.slice(0, 80) },
    );
  }
}

/** An AbortSignal that fires with another one, or when its scope ends. */
class DisposableAbort implements Disposable {
  readonly #controller = new AbortController();
  readonly signal: AbortSignal;

  constructor(other?: AbortSignal) {
    this.signal = other ? AbortSignal.any([other, this.#controller.signal]) : this.#controller.signal;
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}

/** Whether both are one host's: the first family in which both have an address decides. */
export function sameHost(a: LeaseAttributes, b: LeaseAttributes): boolean {
  const family = FAMILIES.find(({ name }) => a.publicIps[name] && b.publicIps[name]);
  return family !== undefined && sameIp(a.publicIps[family.name], b.publicIps[family.name]);
}

function sameSubnets(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.every(({ name }) => samePrefix(a[name], b[name]));
}

function overlap(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.some(({ name }) => {
    const [left, right] = [a[name], b[name]];
    return left !== undefined && right !== undefined && prefixesOverlap(left, right);
  });
}

/**
 * A lease of subnets that nobody has: those of the subnet file where they are free, else random ones.
 *
 * @module
 */
import { FAMILIES, familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { formatPrefix, type Prefix, prefixesOverlap } from "../net/prefix.ts";
import type { AcquiredLease, AcquireOptions } from "./acquire_types.ts";
import { Allocator } from "./allocator.ts";
import { decodeLease, decodeLeaseKey, encodeLeaseKey, encodeLeaseValue } from "./codec.ts";
import { CompactedError, type Lease, type LeaseSnapshot, type StoredLease } from "./types.ts";

/** Creates one lease, by one look at the store. */
export class LeaseCreation {
  readonly #o: AcquireOptions;
  readonly #snapshot: LeaseSnapshot;

  constructor(options: AcquireOptions, snapshot: LeaseSnapshot) {
    this.#o = options;
    this.#snapshot = snapshot;
  }

  get #call(): { signal?: AbortSignal } {
    return this.#o.signal ? { signal: this.#o.signal } : {};
  }

  /** @param leases Those that count. @returns Undefined if another host came between. */
  async run(leases: readonly StoredLease[]): Promise<AcquiredLease | undefined> {
    const allocator = new Allocator(this.#o.config, leases);
    const previous = allocator.available(this.#o.previous ?? {});
    this.#tellLoss(previous, leases);
    if (familiesOf(previous).length > 0) {
      const acquired = await this.#tryCreate(
        allocator.choose(this.#o.random, previous),
        "previous",
      );
      // Whoever was faster is named after the next look.
      return acquired;
    }
    for (let lost = 0;; lost++) {
      // What was lost may be free again, and the figures are old.
      if (lost > 0 && !allocator.hasFree()) return undefined;
      const subnets = allocator.choose(this.#o.random);
      const acquired = await this.#tryCreate(subnets, "new");
      if (acquired) return acquired;
      allocator.take(subnets);
      await this.#o.clock.sleep(this.#o.clock.random() * 20, this.#o.signal);
      this.#o.signal?.throwIfAborted();
    }
  }

  async #tryCreate(
    subnets: PerFamily<Prefix>,
    origin: "previous" | "new",
  ): Promise<AcquiredLease | undefined> {
    const { store, ttl, attributes } = this.#o;
    const value = encodeLeaseValue(attributes);
    const held = await store.createLease(encodeLeaseKey(subnets), value, ttl, this.#call);
    if (!held) return undefined;
    if (!await this.#isAlone(held, subnets)) {
      await store.deleteLease(held, this.#call);
      return undefined;
    }
    return { held, lease: { subnets, attributes }, snapshot: this.#snapshot, origin };
  }

  /**
   * The transaction keeps two hosts from one key. With two families, two keys can share one subnet: then the
   * earlier one keeps it. What happened between our read and our write decides.
   */
  async #isAlone(held: StoredLease, subnets: PerFamily<Prefix>): Promise<boolean> {
    if (familiesOf(subnets).length < 2) return true;
    for (const key of await this.#keysBefore(held)) {
      const other = key === held.key ? undefined : decodeLeaseKey(key);
      if (other && overlap(other, subnets)) return false;
    }
    return true;
  }

  /** Keys that were put after the snapshot and before `held`. */
  async #keysBefore(held: StoredLease): Promise<Set<string>> {
    const { store, signal } = this.#o;
    using stop = new DisposableAbort(signal);
    const keys = new Set<string>();
    try {
      for await (const { events } of store.watchLeases(this.#snapshot, { signal: stop.signal })) {
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
    const earlier = this.#o.previous ?? {};
    for (const { name } of familiesOf(earlier)) {
      const subnet = earlier[name];
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
      "This host's earlier subnet is leased to another public IP, and nothing proves that the lease is this " +
        "host's: taking a new subnet; restart the containers with addresses of the earlier one",
      { subnet: formatPrefix(subnet), key: holder.key, holder: ips.join(" ") || holder.value.slice(0, 80) },
    );
  }
}

/**
 * With two families, two keys can share one subnet, and the older key has the right to it. A create whose
 * answer was lost leaves a key that nobody has checked yet.
 */
export function olderRival(
  stored: StoredLease,
  { subnets }: Lease,
  snapshot: LeaseSnapshot,
): StoredLease | undefined {
  if (familiesOf(subnets).length < 2) return undefined;
  return snapshot.leases.find((other) => {
    if (other.key === stored.key || other.createRevision >= stored.createRevision) return false;
    const theirs = decodeLeaseKey(other.key);
    return theirs !== undefined && overlap(theirs, subnets);
  });
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

function overlap(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.some(({ name }) => {
    const [left, right] = [a[name], b[name]];
    return left !== undefined && right !== undefined && prefixesOverlap(left, right);
  });
}

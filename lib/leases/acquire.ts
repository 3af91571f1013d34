/**
 * How a host comes by its lease: its own from before, else the one with its public IP, else the subnet of its
 * subnet file, else a new one.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import type { AcquiredLease, AcquireOptions } from "./acquire_types.ts";
import { fits, OutOfSubnetsError } from "./allocator.ts";
import { Backoff } from "../time/backoff.ts";
import { Throttle } from "../time/throttle.ts";
import { decodeLease, encodeLeaseValue } from "./codec.ts";
import { HeldElsewhereError, watchForHolder } from "./contest.ts";
import { LeaseCreation, olderRival } from "./create.ts";
import { HostIdentity, sameHost, sameSubnets } from "./identity.ts";
import { type Lease, type LeaseSnapshot, type StoredLease, StoreError } from "./types.ts";

/** A lease that may be this host's. */
interface Candidate {
  readonly stored: StoredLease;
  readonly lease: Lease;
  /** Whether it is, beyond doubt. */
  readonly proven: boolean;
}

/**
 * Acquires a lease. Waits for a store that doesn't answer, for as long as it takes.
 *
 * @throws {OutOfSubnetsError} If no subnet is free. @throws {StoreError} If waiting for the store won't help.
 * @throws {HeldElsewhereError} If a live host holds the lease with this host's public IP.
 * @throws The signal's reason.
 */
export async function acquireLease(options: AcquireOptions): Promise<AcquiredLease> {
  const { clock, log, signal } = options;
  const backoff = new Backoff(clock);
  const throttle = new Throttle(clock, 30_000);
  const unproven = new Map<string, string>();
  for (;;) {
    try {
      const acquired = await new Acquisition(options, unproven).run();
      if (acquired) return acquired;
      log.debug("Another host took the subnet first: reading the leases again");
    } catch (error) {
      signal?.throwIfAborted();
      if (isFinal(error)) throw error;
      if (throttle.pass() !== undefined) {
        log.warn("Cannot acquire a lease yet, retrying", { error: messageOf(error) });
      }
    }
    await backoff.wait(signal);
    signal?.throwIfAborted();
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof StoreError || error instanceof OutOfSubnetsError ||
    error instanceof HeldElsewhereError;
}

/** One look at the store and the attempts based on it. */
class Acquisition {
  readonly #o: AcquireOptions;
  readonly #value: string;
  readonly #identity: HostIdentity;
  readonly #unproven: Map<string, string>;

  /** @param unproven Keys that an earlier attempt has overwritten without proof, with their values before that. */
  constructor(options: AcquireOptions, unproven: Map<string, string>) {
    this.#o = options;
    this.#value = encodeLeaseValue(options.attributes);
    const { attributes, previous, evidence } = options;
    this.#identity = new HostIdentity(attributes, { ...evidence, ...previous ? { subnets: previous } : {} });
    this.#unproven = unproven;
  }

  get #call(): { signal?: AbortSignal } {
    return this.#o.signal ? { signal: this.#o.signal } : {};
  }

  /** Undefined if another host came between: everything must be looked at again. */
  async run(): Promise<AcquiredLease | undefined> {
    const snapshot = await this.#o.store.listLeases(this.#call);
    const candidates = this.#candidates(snapshot);
    const usable = this.#choose(candidates.filter((candidate) => this.#isUsable(candidate, snapshot)));
    if (usable) return await this.#reuse(usable, snapshot);
    const rest = new Set<StoredLease>();
    for (const { stored } of candidates) {
      if (!await this.#dropMisfit(stored)) return undefined;
      rest.add(stored);
    }
    return await new LeaseCreation(this.#o, snapshot).run(
      snapshot.leases.filter((lease) => !rest.has(lease)),
    );
  }

  #candidates(snapshot: LeaseSnapshot): Candidate[] {
    return snapshot.leases.flatMap((stored) => {
      const { lease } = this.#identity.mayOwn(stored) ? decodeLease(stored) : {};
      const ownership = lease ? this.#identity.judge(stored, lease) : "none";
      if (!lease || ownership === "none") return [];
      return [{ stored, lease, proven: ownership === "proven" && !this.#unproven.has(stored.key) }];
    });
  }

  #isUsable({ stored, lease }: Candidate, snapshot: LeaseSnapshot): boolean {
    if (!fits(this.#o.config, lease.subnets)) return false;
    const older = olderRival(stored, lease, snapshot);
    if (!older) return true;
    this.#o.log.error(
      "The subnets of this host's lease belong to an older lease: taking others; restart the " +
        "containers with addresses of these",
      { key: stored.key, older: older.key, holder: older.value.slice(0, 200) },
    );
    return false;
  }

  /** Of several, the one of the subnet file, else a reservation, else one that is proven, else the first. */
  #choose(candidates: readonly Candidate[]): Candidate | undefined {
    const { previous } = this.#o;
    return candidates.find(({ lease }) => previous && sameSubnets(lease.subnets, previous)) ??
      candidates.find(({ stored }) => !stored.expires) ?? candidates.find(({ proven }) => proven) ??
      candidates[0];
  }

  async #reuse(candidate: Candidate, snapshot: LeaseSnapshot): Promise<AcquiredLease | undefined> {
    const { stored, lease } = candidate;
    const { store, ttl, attributes } = this.#o;
    const replaced = this.#unproven.get(stored.key) ?? stored.value;
    const isContest = !candidate.proven && this.#mayBeLive(lease);
    if (isContest) this.#unproven.set(stored.key, replaced);
    const held = await store.updateLease(stored, this.#value, ttl, this.#call);
    if (!held) return undefined;
    const acquired = {
      held,
      lease: { subnets: lease.subnets, attributes },
      snapshot,
      origin: "reused",
    } as const;
    if (!isContest) {
      this.#logChange(candidate);
      return acquired;
    }
    if (!await this.#isLeftAlone(held, replaced)) return undefined;
    this.#unproven.delete(stored.key);
    return { ...acquired, replaced };
  }

  /** Whether a running host may have written the lease. An operator's reservation has no backend type yet. */
  #mayBeLive({ attributes }: Lease): boolean {
    return attributes.backendType !== undefined || this.#o.attributes.backendType === undefined;
  }

  #logChange({ stored, lease, proven }: Candidate): void {
    if (stored.value === this.#value) return;
    const fields = { key: stored.key, before: stored.value, now: this.#value };
    if (proven && !sameHost(lease.attributes, this.#o.attributes)) {
      return this.#o.log.info(
        "What this host publishes changed since its last run: it keeps its lease",
        fields,
      );
    }
    this.#o.log.info("This host's lease overwritten with its present attributes", fields);
  }

  /** Whether nobody writes the value of the lease that was taken over back. @throws {HeldElsewhereError} */
  async #isLeftAlone(held: StoredLease, replaced: string): Promise<boolean> {
    this.#o.log.info(
      "Taking over the lease of this host's public IP or VtepMAC unless a running host holds it",
      {
        key: held.key,
        before: replaced,
        now: held.value,
      },
    );
    return await watchForHolder(held, this.#o);
  }

  async #dropMisfit(stored: StoredLease): Promise<boolean> {
    this.#o.log.warn("This host's lease can't be used any more, deleting it", { key: stored.key });
    return await this.#o.store.deleteLease(stored, this.#call);
  }
}

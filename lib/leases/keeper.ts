/**
 * Keeps the own lease: renews it in time, publishes what changes, and notices when it is no longer ours.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { Backoff } from "../time/backoff.ts";
import { Throttle } from "../time/throttle.ts";
import { Absence } from "./absence.ts";
import { encodeLeaseValue, sameLeaseKey } from "./codec.ts";
import { CLAIM_BACK_MS, type Holding, judge } from "./judge.ts";
import { FormerValues } from "./former_values.ts";
import { type KeeperOptions, LeaseLostError, type LeaseTrouble } from "./keeper_types.ts";
import { Overwrites } from "./overwrites.ts";
import { RenewalTime } from "./renewal_time.ts";
import {
  type LeaseAttributes,
  type LeaseEvent,
  type LeaseSnapshot,
  type StoredLease,
  StoreGoneError,
} from "./types.ts";
import { LEASE_RENEWALS } from "./metrics.ts";

/** Longest sleep: the time of day may jump, and the machine may have slept. */
const LONGEST_SLEEP_MS = 60_000;

/** Between two looks at a store in which the lease is missing for a reason that isn't known yet, in milliseconds. */
const LOOK_PAUSE_MS = 1000;
/** What the store says of the own key. */
type Sighting = { readonly stored: StoredLease | undefined; readonly revision: bigint };

/** Holds the own lease. Everything it does to the store it does one after the other, in {@link run}. */
export class LeaseKeeper {
  readonly #o: KeeperOptions;
  readonly #time: RenewalTime;
  readonly #backoff: Backoff;
  readonly #throttle: Throttle;
  readonly #sightings: Sighting[] = [];
  #held: StoredLease;
  #attributes: LeaseAttributes;
  #wanted: string;
  readonly #former: FormerValues;
  readonly #acquiredAt: number;
  /** The error of the last write, which may or may not have been carried out. */
  #unanswered: string | undefined;
  /** Another host overwrote the lease: it is written again, whatever its value. */
  #claims = false;
  readonly #overwrites: Overwrites;
  #recheck = false;
  readonly #absence = new Absence();
  /** Something came in since the last look. */
  #news = false;
  #stopSleep = () => {};

  constructor(options: KeeperOptions) {
    this.#o = options;
    this.#held = options.held;
    this.#attributes = options.attributes;
    this.#wanted = encodeLeaseValue(options.attributes);
    this.#former = new FormerValues(options.former);
    this.#time = new RenewalTime(options.clock, options);
    this.#backoff = new Backoff(options.clock);
    this.#throttle = new Throttle(options.clock, 30_000);
    this.#overwrites = new Overwrites(options, this.#throttle);
    this.#acquiredAt = options.clock.now();
  }

  /** The lease as it stands in the store, to our knowledge. */
  get held(): StoredLease {
    return this.#held;
  }

  /** What this host published under the key before, in this run and in earlier ones. */
  get former(): readonly string[] {
    return this.#former.all;
  }

  /** Seconds until it expires; Infinity for a reservation. */
  get remaining(): number {
    return this.#held.expires ? (this.#time.expiresAt - this.#o.clock.now()) / 1000 : Infinity;
  }

  /** When it last got its whole time, in milliseconds since 1970; undefined for a reservation. */
  get renewedAt(): number | undefined {
    const { clock } = this.#o;
    return this.#held.expires ? clock.date() - (clock.now() - this.#time.freshAt) : undefined;
  }

  /** What is wrong with it now; empty when nothing is. */
  trouble(): LeaseTrouble {
    const now = this.#o.clock.now();
    const isOverdue = this.#held.expires && now > this.#time.renewAt && this.#unanswered !== undefined;
    return {
      ...isOverdue ? { overdueMs: now - this.#time.renewAt } : {},
      ...this.#unanswered !== undefined ? { error: this.#unanswered } : {},
      ...this.#overwrites.trouble,
    };
  }

  /** Publishes other attributes under the same key, as soon as the store answers. */
  update(attributes: LeaseAttributes): void {
    this.#attributes = attributes;
    this.#wanted = encodeLeaseValue(attributes);
    this.#wake();
  }

  /** To be called with every event of the own key. */
  observe(event: LeaseEvent): void {
    const sighting = event.kind === "put"
      ? { stored: event.lease, revision: event.lease.revision }
      : { stored: undefined, revision: event.revision };
    this.#sightings.push(sighting);
    this.#wake();
  }

  /**
   * To be called with every list that was read after the lease was acquired.
   *
   * @param replaced Whether the store has another history since the last list: its revisions mean something else.
   */
  observeSnapshot(snapshot: LeaseSnapshot, replaced: boolean): void {
    const stored = this.#find(snapshot);
    if (!replaced && stored?.revision === this.#held.revision) return;
    this.#absence.listed(!stored, replaced);
    // The list may be older than what was written meanwhile: a new one decides.
    this.#recheck = true;
    this.#wake();
  }

  /**
   * Keeps the lease until the signal fires.
   *
   * @throws {LeaseLostError} When the lease is lost. @throws {StoreGoneError}
   */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#news = false;
      try {
        if (!await this.#step(signal)) await this.#sleep(signal);
        else this.#backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LeaseLostError || error instanceof StoreGoneError) throw error;
        if (this.#throttle.pass() !== undefined) {
          this.#o.log.warn("Cannot renew the lease, retrying", {
            key: this.#held.key,
            remaining: Math.round(this.remaining),
            error: messageOf(error),
          });
        }
        await this.#backoff.wait(signal);
      }
    }
  }

  /** Does the next thing that is due. @returns Whether there was one. */
  async #step(signal: AbortSignal): Promise<boolean> {
    const sighting = this.#sightings.shift();
    if (sighting) {
      if (sighting.revision > this.#held.revision) await this.#judge(sighting.stored, true, signal);
      return true;
    }
    if (this.#recheck) {
      const found = this.#find(await this.#o.store.listLeases({ signal }));
      this.#recheck = false;
      if (this.#absence.isReplaced || found?.revision !== this.#held.revision) {
        await this.#judge(found, false, signal);
      }
      if (!this.#recheck) this.#absence.over();
      return true;
    }
    const due = this.#held.expires && this.#o.clock.now() >= this.#time.renewAt;
    if (!due && !this.#claims && this.#wanted === this.#held.value) return false;
    await this.#write(signal);
    return true;
  }

  async #write(signal: AbortSignal): Promise<void> {
    const began = this.#o.clock.now();
    const { store, ttl } = this.#o;
    const isRenewal = this.#wanted === this.#held.value && !this.#claims;
    const write = isRenewal
      ? store.renewLease(this.#held, ttl, { signal })
      : store.updateLease(this.#held, this.#wanted, ttl, { signal });
    const written = await this.#answered(write);
    if (!written) this.#recheck = true;
    else {
      if (isRenewal) this.#o.metrics?.count(LEASE_RENEWALS);
      this.#hold(written, began);
    }
  }

  /** Remembers whether the store answered. */
  async #answered<T>(write: Promise<T>): Promise<T> {
    try {
      const answer = await write;
      this.#unanswered = undefined;
      return answer;
    } catch (error) {
      this.#unanswered = messageOf(error);
      throw error;
    }
  }

  #hold(stored: StoredLease, began: number): void {
    const why = stored.value === this.#held.value ? "renewed" : "published";
    if (why === "published") this.#former.add(this.#held.value);
    this.#held = stored;
    this.#claims = false;
    if (why === "published") this.#o.onPublished?.(stored);
    this.#time.fresh(began);
    this.#o.log.debug(`Lease ${why}`, { key: stored.key, revision: String(stored.revision) });
  }

  /**
   * Somebody else changed the key, or it is gone.
   *
   * @param live Whether an event says so, and not a list.
   * @throws {LeaseLostError}
   */
  async #judge(stored: StoredLease | undefined, live: boolean, signal: AbortSignal): Promise<void> {
    if (!stored) return await this.#missing(live, signal);
    const verdict = judge(stored, this.#holding(live));
    if (verdict.kind === "lost") throw new LeaseLostError(verdict.message);
    if (verdict.kind === "claim") return await this.#claim(stored, signal);
    if (this.#held.expires && !stored.expires) {
      this.#o.log.info("The lease is a reservation now and doesn't expire", { key: stored.key });
    }
    this.#time.adopt(this.#held.expires, stored.expires);
    this.#held = stored;
  }

  #holding(live: boolean): Holding {
    const { clock, replaced, outageMs } = this.#o;
    const isNew = clock.now() - this.#acquiredAt < CLAIM_BACK_MS;
    return {
      held: this.#held,
      wanted: this.#wanted,
      attributes: this.#attributes,
      former: this.#former,
      isReplaced: this.#absence.isReplaced,
      unanswered: this.#unanswered !== undefined,
      live,
      yieldsTo: isNew ? replaced : undefined,
      outageMs: outageMs?.() ?? 0,
    };
  }

  /** Another host with this one's public IP overwrote the lease; {@link #step} writes it again. */
  async #claim(stored: StoredLease, signal: AbortSignal): Promise<void> {
    const pause = this.#overwrites.note(stored, { attributes: this.#attributes, value: this.#wanted });
    this.#held = stored;
    this.#claims = true;
    if (pause > 0) await this.#o.clock.sleep(pause, signal);
  }

  /** The lease is created again where nobody deleted it: it expired, or the store lost its data. */
  async #missing(isDeleted: boolean, signal: AbortSignal): Promise<void> {
    const { store, ttl, clock, log } = this.#o;
    const { key, expires } = this.#held;
    const began = clock.now();
    const verdict = this.#absence.judge(isDeleted, expires && began >= this.#time.expiresAt);
    if (verdict === "lost") throw new LeaseLostError(`The lease ${key} was deleted`);
    // Also where this fails, the store is looked at again.
    this.#recheck = true;
    if (verdict === "unknown") return await clock.sleep(LOOK_PAUSE_MS, signal);
    if (this.#absence.isReplaced) await this.#checkNetwork(signal);
    const create = store.createLease(key, this.#wanted, expires ? ttl : undefined, { signal });
    const created = await this.#answered(create);
    if (!created) return;
    const why = this.#absence.isReplaced ? "The store lost its data" : "Lease expired";
    log.warn(`${why}, this host's subnet is still free: lease recreated`, { key });
    this.#hold(created, began);
  }

  /** A store with other data may have another network. @throws {LeaseLostError} */
  async #checkNetwork(signal: AbortSignal): Promise<void> {
    const config = await this.#answered(this.#o.store.readConfig({ signal }));
    if (!config || this.#o.isNetwork?.(config.text) !== false) return;
    throw new LeaseLostError(
      `The store was replaced by one with another network: ${this.#held.key} isn't a subnet of it`,
    );
  }

  #find(snapshot: LeaseSnapshot): StoredLease | undefined {
    return snapshot.leases.find(({ key }) => sameLeaseKey(key, this.#held.key));
  }

  #wake(): void {
    this.#news = true;
    this.#stopSleep();
  }

  /** Until something is due or was seen. */
  async #sleep(signal: AbortSignal): Promise<void> {
    if (this.#news) return;
    const stop = new AbortController();
    this.#stopSleep = () => stop.abort();
    const ms = this.#held.expires ? this.#time.renewAt - this.#o.clock.now() : LONGEST_SLEEP_MS;
    await this.#o.clock.sleep(
      Math.max(0, Math.min(ms, LONGEST_SLEEP_MS)),
      AbortSignal.any([signal, stop.signal]),
    );
    this.#stopSleep = () => {};
  }
}

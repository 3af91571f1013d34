/**
 * When the own lease expires, and when it is renewed.
 *
 * @module
 */
import type { Clock } from "../time/clock.ts";

/** A lease that somebody else wrote again is renewed about this long after: its new end is unknown. */
const ADOPTED_RENEW_MS = 60_000;

/** A lease's time: how long it lives, and when it is renewed. */
export interface LeaseTime {
  /** Seconds that a lease lives. */
  readonly ttl: number;
  /** Seconds before its end at which it is renewed; half of `ttl` where it isn't shorter than `ttl`. */
  readonly margin: number;
}

/** Times of the clock, in milliseconds. */
export class RenewalTime {
  readonly #clock: Clock;
  readonly #ttl: number;
  readonly #margin: number;
  #freshAt = 0;
  #expiresAt = 0;
  #renewAt = 0;

  constructor(clock: Clock, { ttl, margin }: LeaseTime) {
    this.#clock = clock;
    this.#ttl = ttl * 1000;
    this.#margin = (margin < ttl ? margin : ttl / 2) * 1000;
    this.fresh(clock.now());
  }

  /** When it last got its whole time. */
  get freshAt(): number {
    return this.#freshAt;
  }

  get expiresAt(): number {
    return this.#expiresAt;
  }

  get renewAt(): number {
    return this.#renewAt;
  }

  /** The lease lives for its whole time from `began`, when the write of it was sent. */
  fresh(began: number): void {
    this.#freshAt = began;
    this.#expiresAt = began + this.#ttl;
    // Hosts that started together needn't renew together; a margin of almost the TTL leaves little room for that.
    const spread = Math.min(this.#margin, this.#ttl - this.#margin) / 10;
    this.#renewAt = this.#expiresAt - this.#margin - spread * this.#clock.random();
  }

  /**
   * Somebody else wrote the lease: it is renewed soon, and not later than before.
   *
   * @param was Whether it expired before. @param is Whether it does now.
   */
  adopt(was: boolean, is: boolean): void {
    const soon = this.#clock.now() + ADOPTED_RENEW_MS * (0.5 + this.#clock.random() / 2);
    if (!was && is) this.#expiresAt = soon;
    this.#renewAt = Math.min(was ? this.#renewAt : soon, soon);
  }
}

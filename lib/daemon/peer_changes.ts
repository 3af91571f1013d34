/**
 * When each peer's lease last changed. Peers that are as they were at the start cost nothing.
 *
 * @module
 */
import type { PeerView } from "../backend/types.ts";

/** Follows the peers from when it is made until it is disposed. */
export class PeerChangeTimes implements Disposable {
  readonly #times = new Map<string, number>();
  readonly #subscription: Disposable;

  constructor(peers: PeerView, now: () => number = Date.now) {
    this.#subscription = peers.subscribe((changes) => {
      for (const [key, lease] of changes) {
        if (lease) this.#times.set(key, now());
        else this.#times.delete(key);
      }
    });
  }

  /** Milliseconds since 1970; undefined where it hasn't changed since this began. */
  of(key: string): number | undefined {
    return this.#times.get(key);
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }
}

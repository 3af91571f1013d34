/**
 * Which faults come when: from the seed alone.
 *
 * @module
 */
import { type RandomSource, randomSource } from "../lab/random.ts";
import type { Claim, Fault, PlannedFault } from "./fault.ts";
import { DAEMON_FAULTS } from "./faults/daemon.ts";
import { ENTRY_FAULTS } from "./faults/entries.ts";
import { STORE_FAULTS } from "./faults/store.ts";
import { UNDERLAY_FAULTS } from "./faults/underlay.ts";
import type { ChaosBackend } from "./options.ts";

/** At most so many faults in a round. */
const MOST = 3;
/** Faults of a round begin within this time, in milliseconds. */
const SPREAD = 2000;

/** All that a backend can suffer. */
export function faultsFor(backend: ChaosBackend): readonly Fault[] {
  return [...DAEMON_FAULTS, ...STORE_FAULTS, ...UNDERLAY_FAULTS, ...ENTRY_FAULTS].filter(({ backends }) =>
    backends === undefined || backends.includes(backend)
  );
}

/** Plans one round after the other. */
export class Planner {
  readonly #random: RandomSource;
  /** Faults that didn't come yet in this turn: every one comes before one comes again. */
  #deck: Fault[] = [];

  constructor(readonly faults: readonly Fault[], readonly hosts: number, seed: number) {
    this.#random = randomSource(seed);
  }

  /** The next round: one to three faults, the first to begin first. */
  next(): PlannedFault[] {
    const count = 1 + this.#random.below(MOST);
    const taken = new Set<string>();
    const planned: PlannedFault[] = [];
    for (let tries = 0; planned.length < count && tries < this.faults.length; tries++) {
      const fault = this.#draw();
      const host = this.#random.below(this.hosts);
      const claims = this.#claimsOf(fault.claims, host);
      if (claims.some((claim) => taken.has(claim))) {
        this.#deck.unshift(fault);
        continue;
      }
      claims.forEach((claim) => taken.add(claim));
      const [least, most] = fault.lasts ?? [0, 0];
      planned.push({
        fault,
        host,
        after: planned.length === 0 ? 0 : this.#random.below(SPREAD),
        lasts: least + this.#random.below(most - least + 1),
        seed: this.#random.below(2 ** 32),
      });
    }
    return planned.sort((a, b) => a.after - b.after);
  }

  #draw(): Fault {
    if (this.#deck.length === 0) this.#deck = this.#shuffled();
    return this.#deck.pop()!;
  }

  #shuffled(): Fault[] {
    const deck = [...this.faults];
    for (let left = deck.length; left > 1; left--) {
      const other = this.#random.below(left);
      [deck[left - 1], deck[other]] = [deck[other]!, deck[left - 1]!];
    }
    return deck;
  }

  #claimsOf(claim: Claim, host: number): string[] {
    if (claim === "store") return ["store"];
    const hosts = claim === "every daemon" ? Array.from({ length: this.hosts }, (_, index) => index) : [host];
    const what = claim === "every daemon" ? "daemon" : claim;
    return hosts.map((index) => `${what} of ${index}`);
  }
}

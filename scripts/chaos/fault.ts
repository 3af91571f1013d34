/**
 * What a fault is.
 *
 * @module
 */
import type { RandomSource } from "../lab/random.ts";
import type { ChaosHost } from "./chaos_host.ts";
import type { ChaosNetwork } from "./network.ts";
import type { ChaosBackend } from "./options.ts";

/** Of what a fault takes hold: two faults of one round never take hold of the same thing. */
export type Claim = "daemon" | "every daemon" | "underlay" | "device" | "entries" | "store" | "store path";

/** Where a fault acts. */
export interface FaultPlace {
  readonly network: ChaosNetwork;
  /** The host that was chosen for it. Faults of the store don't look at it. */
  readonly host: ChaosHost;
  /** The same in each run of a seed, whatever happens beside it. */
  readonly random: RandomSource;
}

/** One kind of fault. */
export interface Fault {
  readonly name: string;
  readonly claims: Claim;
  /** Backends that have what it breaks. @default every one */
  readonly backends?: readonly ChaosBackend[];
  /** How long it lasts, least and most, in milliseconds. @default not at all */
  readonly lasts?: readonly [number, number];
  /** Breaks something. */
  begin(place: FaultPlace): Promise<void> | void;
  /** Takes the cause away; healing is flanneld's. */
  end?(place: FaultPlace): Promise<void> | void;
}

/** A fault of a round: where, and when. */
export interface PlannedFault {
  readonly fault: Fault;
  /** Index of the host. */
  readonly host: number;
  /** From the round's begin, in milliseconds. */
  readonly after: number;
  /** In milliseconds. */
  readonly lasts: number;
  /** For {@link FaultPlace.random}. */
  readonly seed: number;
}

/**
 * Which leases may become peers: a store that anybody can write to must not decide where this host routes.
 *
 * A lease is refused if a subnet of it lies outside of the network, or overlaps the own subnet. Of leases that
 * overlap each other the oldest is admitted: whatever order the events came in, every host decides the same.
 *
 * @module
 */
import { familiesOf, type PerFamily } from "../net/family.ts";
import { containsPrefix, formatPrefix, type Prefix, prefixesOverlap } from "../net/prefix.ts";
import { PrefixIndex } from "./prefix_index.ts";

/** What a lease claims. */
export interface Claim {
  readonly subnets: PerFamily<Prefix>;
  /** Orders claims by age: the lower one is the older. */
  readonly since: bigint;
}

interface Judged extends Claim {
  readonly key: string;
  /** Whether it stands against all others, on every host alike. */
  wins: boolean;
  /** Why this host refuses it. */
  refusal: string | undefined;
}

/** Judges claims against the network and against each other, as they come, change and go. */
export class Admission {
  readonly #networks: readonly Prefix[];
  readonly #claims = new Map<string, Judged>();
  readonly #index = new PrefixIndex<Judged>();
  #own: string | undefined;

  /** @param networks The network of each family; a subnet of another family is left to the backend. */
  constructor(networks: readonly Prefix[]) {
    this.#networks = networks;
  }

  /** Why a key is refused; undefined if it is admitted or unknown. */
  refusal(key: string): string | undefined {
    return this.#claims.get(key)?.refusal;
  }

  /** Takes the own claim: it is judged as the others are, and this host refuses whatever overlaps it. */
  setOwn(key: string, claim: Claim): ReadonlySet<string> {
    this.#own = key;
    return this.set(key, claim);
  }

  /** Takes a claim, or its end. @returns The keys, other than this one, that were judged again. */
  set(key: string, claim: Claim | undefined): ReadonlySet<string> {
    const before = this.#claims.get(key);
    if (!before && claim && this.#admitAlone(key, claim)) return NOBODY;
    const open = new Set<Judged>();
    if (before) {
      this.#claims.delete(key);
      for (const subnet of this.#inNetwork(before)) this.#index.delete(subnet, before);
      for (const other of this.#dependants(before)) open.add(other);
    }
    if (claim) {
      const { subnets, since } = claim;
      const judged: Judged = { key, subnets, since, wins: false, refusal: undefined };
      for (const other of this.#dependants(judged)) open.add(other);
      this.#claims.set(key, judged);
      for (const subnet of this.#inNetwork(judged)) this.#index.add(subnet, judged);
      open.add(judged);
    }
    const again = this.#judgeAll(open);
    again.delete(key);
    return again;
  }

  /** Nearly every claim is new and overlaps no other: nobody else is judged. @returns Whether it is such a one. */
  #admitAlone(key: string, { subnets, since }: Claim): boolean {
    const judged: Judged = { key, subnets, since, wins: false, refusal: undefined };
    const inNetwork = this.#inNetwork(judged);
    for (const subnet of inNetwork) {
      if (this.#index.overlaps(subnet, baseIn(subnet))) return false;
    }
    this.#claims.set(key, judged);
    for (const subnet of inNetwork) this.#index.add(subnet, judged);
    this.#judge(judged);
    return true;
  }

  /** Judges these, then what depends on those that changed, until nothing does: the oldest never change. */
  #judgeAll(open: Set<Judged>): Set<string> {
    const judged = new Set<string>();
    while (open.size > 0) {
      const dependants = new Set<Judged>();
      for (const claim of open) {
        judged.add(claim.key);
        const { wins } = claim;
        this.#judge(claim);
        if (claim.wins !== wins) { for (const other of this.#dependants(claim)) dependants.add(other); }
      }
      open = dependants;
    }
    return judged;
  }

  /** What is judged by this claim: younger ones that overlap it; older ones too if it is the own. */
  *#dependants(claim: Judged): Iterable<Judged> {
    for (const other of this.#overlapping(claim)) {
      if (claim.key === this.#own || isOlder(claim, other)) yield other;
    }
  }

  #judge(claim: Judged): void {
    const outside = this.#outside(claim);
    const rival = outside ? undefined : this.#rival(claim);
    claim.wins = !outside && !rival;
    claim.refusal = outside ?? this.#againstOwn(claim) ??
      (rival ? `its subnet overlaps that of the older lease ${rival.key}` : undefined);
  }

  #outside({ subnets }: Claim): string | undefined {
    for (const network of this.#networks) {
      const subnet = subnets[network.family.name];
      if (subnet && !containsPrefix(network, subnet)) {
        return `its subnet ${formatPrefix(subnet)} is outside the network ${formatPrefix(network)}`;
      }
    }
    return undefined;
  }

  #againstOwn({ key, subnets }: Judged): string | undefined {
    const own = this.#own === undefined || this.#own === key ? undefined : this.#claims.get(this.#own);
    for (const { name } of familiesOf(own?.subnets ?? {})) {
      const [mine, other] = [own!.subnets[name]!, subnets[name]];
      if (other && prefixesOverlap(mine, other)) {
        return `its subnet ${formatPrefix(other)} overlaps this host's own ${formatPrefix(mine)}`;
      }
    }
    return undefined;
  }

  /** The oldest that stands in its way: the same on every host. */
  #rival(claim: Judged): Judged | undefined {
    let rival: Judged | undefined;
    for (const other of this.#overlapping(claim)) {
      if (other.wins && isOlder(other, rival ?? claim)) rival = other;
    }
    return rival;
  }

  /** Claims inside the network that overlap this one. */
  *#overlapping(claim: Judged): Iterable<Judged> {
    for (const subnet of this.#inNetwork(claim)) {
      for (const other of this.#index.overlapping(subnet, baseIn(subnet))) if (other !== claim) yield other;
    }
  }

  /** The subnets that count; none of a lease that is outside. */
  #inNetwork(claim: Claim): Prefix[] {
    if (this.#outside(claim)) return [];
    return this.#networks.flatMap(({ family }) => claim.subnets[family.name] ?? []);
  }
}

/** Who is judged again where there is no other claim. */
const NOBODY: ReadonlySet<string> = new Set();

/** Reads the base of a claim's prefix in the family of `subnet`. */
function baseIn({ family: { name } }: Prefix): (claim: Claim) => bigint {
  return ({ subnets }) => subnets[name]!.base;
}

/** By creation; keys that were created in one transaction go by their text. */
function isOlder(a: Judged, b: Judged): boolean {
  if (a.since !== b.since) return a.since < b.since;
  return a.key < b.key;
}

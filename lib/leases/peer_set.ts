/**
 * The peers' leases as values, kept by key: a state that snapshots and events lead to, and what each changed.
 * What is malformed or refused (see admission.ts) is known, named and counted, and isn't a peer.
 *
 * @module
 */
import type { PerFamily } from "../net/family.ts";
import type { Prefix } from "../net/prefix.ts";
import { Admission } from "./admission.ts";
import { decodeLeaseKey, type LeaseFault } from "./codec.ts";
import type { LeaseSink, ListedChange, ListedLease, OwnLease } from "./contract.ts";
import type { Lease } from "./types.ts";

/** What a peer set is made for. */
export interface PeerSetOptions {
  /** The network of each family: leases of subnets outside of it are refused. */
  readonly networks: readonly Prefix[];
  /** The own lease: never a peer, and nothing that overlaps it is one. */
  readonly own?: Pick<OwnLease, "key" | "subnets" | "since">;
  /**
   * Whether hosts publish a backend type with their leases: where they don't, a reservation doesn't show whether its
   * host has been there.
   *
   * @default true
   */
  readonly hostsSayType?: boolean;
  /** Called once for each key and fault. */
  readonly onFault?: (fault: LeaseFault) => void;
  /** Called after a change with the leases that are refused since then, or for another reason than before. */
  readonly onRefused?: (refused: readonly LeaseFault[]) => void;
}

/** The live peers. The own lease is never among them. */
export class PeerSet implements LeaseSink {
  readonly #known = new Map<string, ListedLease>();
  readonly #peers = new Map<string, Lease>();
  readonly #listeners = new Set<(changes: ReadonlyMap<string, Lease | undefined>) => void>();
  readonly #refused = new Map<string, string>();
  readonly #admission: Admission;
  readonly #o: PeerSetOptions;
  #malformed = 0;
  #faults = 0;

  constructor(options: PeerSetOptions) {
    this.#o = options;
    this.#admission = new Admission(options.networks);
    if (options.own) this.#claimOwn(options.own.since);
  }

  get peers(): ReadonlyMap<string, Lease> {
    return this.#peers;
  }

  /** How many keys are malformed at the moment. */
  get malformed(): number {
    return this.#malformed;
  }

  /** How many malformed leases were named so far. */
  get faults(): number {
    return this.#faults;
  }

  /** Leases that aren't peers though they are well-formed, with the reason. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /** Calls back after each change with the peers that were added or changed, and those that are gone (undefined). */
  subscribe(onChange: (changes: ReadonlyMap<string, Lease | undefined>) => void): Disposable {
    this.#listeners.add(onChange);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onChange) };
  }

  /** What takes subnets and is no peer: reservations for no host, leases that are refused or malformed. */
  *others(): Iterable<
    { readonly key: string; readonly subnets: PerFamily<Prefix>; readonly reserved: boolean }
  > {
    for (const [key, { lease, reserved = false }] of this.#known) {
      if (this.#peers.has(key)) continue;
      const subnets = lease?.subnets ?? decodeLeaseKey(key);
      if (subnets) yield { key, subnets, reserved };
    }
  }

  /** Whether a subnet is reserved for a host that has not been there yet: its lease says nothing but the address. */
  isAwaited(key: string): boolean {
    if (this.#o.hostsSayType === false) return false;
    const { reserved, lease } = this.#known.get(key) ?? {};
    const { backendType, backendData = {} } = lease?.attributes ?? {};
    return reserved === true && backendType === undefined && Object.keys(backendData).length === 0;
  }

  /** How many peers are hosts: all but those that are awaited. Looks at each. */
  countHosts(): number {
    let count = 0;
    for (const key of this.#peers.keys()) if (!this.isAwaited(key)) count++;
    return count;
  }

  get(key: string): ListedLease | undefined {
    return this.#known.get(key);
  }

  /** Replaces everything: what is missing is removed, what differs is changed. */
  list(leases: Iterable<ListedLease>): void {
    const changes = new Changes();
    const present = new Set<string>();
    for (const listed of leases) {
      present.add(listed.key);
      this.#put(listed, changes);
    }
    for (const key of this.#known.keys()) {
      if (!present.has(key)) this.#delete(key, changes);
    }
    this.#tell(changes);
  }

  /** Applies changes in their order. Several of one key are one. */
  change(leaseChanges: Iterable<ListedChange>): void {
    const changes = new Changes();
    for (const change of leaseChanges) {
      if (change.kind === "put") this.#put(change.listed, changes);
      else this.#delete(change.key, changes);
    }
    this.#tell(changes);
  }

  #put(listed: ListedLease, changes: Changes): void {
    const { key, since, lease, fault } = listed;
    if (listed.own) return this.#note(this.#claimOwn(since), changes);
    const known = this.#known.get(key);
    if (known === listed) return;
    if (fault !== undefined && fault !== known?.fault) {
      this.#faults++;
      this.#o.onFault?.({ key, reason: fault });
    }
    this.#malformed += Number(fault !== undefined) - Number(known?.fault !== undefined);
    this.#known.set(key, listed);
    const others = this.#admission.set(key, lease && { subnets: lease.subnets, since });
    this.#note([key, ...others], changes);
  }

  #delete(key: string, changes: Changes): void {
    const known = this.#known.get(key);
    if (!known) return;
    this.#malformed -= Number(known.fault !== undefined);
    this.#known.delete(key);
    this.#note([key, ...this.#admission.set(key, undefined)], changes);
  }

  /** A lease that was created again is younger than before. @returns Keys that may be judged otherwise now. */
  #claimOwn(since: bigint): Iterable<string> {
    const { own } = this.#o;
    return own ? this.#admission.setOwn(own.key, { subnets: own.subnets, since }) : [];
  }

  /** Brings the peers and the refused ones up to date with what is known of these keys. */
  #note(keys: Iterable<string>, changes: Changes): void {
    for (const key of keys) {
      const before = this.#peers.get(key);
      const known = this.#known.get(key)?.lease;
      const reason = known && this.#admission.refusal(key);
      if (reason === undefined) this.#refused.delete(key);
      else {
        if (this.#refused.get(key) !== reason) changes.refused.add(key);
        this.#refused.set(key, reason);
      }
      const after = reason === undefined ? known : undefined;
      if (before && after && sameLease(before, after)) continue;
      if (after) this.#peers.set(key, after);
      else this.#peers.delete(key);
      changes.note(key, before);
    }
  }

  #tell(changes: Changes): void {
    // What was refused for a moment only is no news.
    const refused = [...changes.refused].flatMap((key) => {
      const reason = this.#refused.get(key);
      return reason === undefined ? [] : [{ key, reason }];
    });
    if (refused.length > 0) this.#o.onRefused?.(refused);
    if (this.#listeners.size === 0) return;
    const changed = changes.since(this.#peers);
    if (changed.size === 0) return;
    for (const listener of [...this.#listeners]) listener(changed);
  }
}

/** What happened to each key, from before the first to after the last of its changes. */
class Changes {
  readonly #before = new Map<string, Lease | undefined>();
  /** Keys that were refused, or for another reason than before. */
  readonly refused = new Set<string>();

  note(key: string, before: Lease | undefined): void {
    if (!this.#before.has(key)) this.#before.set(key, before);
  }

  /** The leases of the keys that are now other than they were. */
  since(now: ReadonlyMap<string, Lease>): Map<string, Lease | undefined> {
    const changed = new Map<string, Lease | undefined>();
    for (const [key, before] of this.#before) {
      const after = now.get(key);
      const isSame = before && after ? sameLease(before, after) : before === after;
      if (!isSame) changed.set(key, after);
    }
    return changed;
  }
}

/** Whether two leases under one key say the same. */
function sameLease(a: Lease, b: Lease): boolean {
  return canonical(a) === canonical(b);
}

function canonical({ attributes }: Lease): string {
  return JSON.stringify(attributes, (_, value) => {
    if (typeof value === "bigint") return String(value);
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    // The order of an object's keys says nothing.
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

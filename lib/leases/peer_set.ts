/**
 * The peers' leases as values, kept by key: a state that snapshots and events lead to, and what each changed.
 *
 * @module
 */
import { type DecodedLease, decodeLease, type LeaseFault, sameLeaseKey } from "./codec.ts";
import type { Lease, LeaseEventBatch, LeaseSnapshot, StoredLease } from "./types.ts";

/** One peer's change. */
export type PeerChange =
  | { readonly kind: "added"; readonly key: string; readonly before?: undefined; readonly after: Lease }
  | { readonly kind: "changed"; readonly key: string; readonly before: Lease; readonly after: Lease }
  | { readonly kind: "removed"; readonly key: string; readonly before: Lease; readonly after?: undefined };

interface Known {
  readonly value: string;
  /** Absent for a malformed lease, which counts as no peer. */
  readonly lease: Lease | undefined;
}

/** The live peers. The own lease is never among them; malformed ones are told once and left out. */
export class PeerSet {
  readonly #known = new Map<string, Known>();
  readonly #peers = new Map<string, Lease>();
  readonly #listeners = new Set<(keys: readonly string[]) => void>();
  readonly #onFault: (fault: LeaseFault) => void;
  #own: string | undefined;
  #faults = 0;

  /**
   * @param own The own lease's key, ignored on every path.
   * @param onFault Called once for each key and value that is malformed.
   */
  constructor(own: string | undefined, onFault: (fault: LeaseFault) => void = () => {}) {
    this.#own = own;
    this.#onFault = onFault;
  }

  get peers(): ReadonlyMap<string, Lease> {
    return this.#peers;
  }

  /** How many keys are malformed at the moment. */
  get malformed(): number {
    return this.#known.size - this.#peers.size;
  }

  /** How many faults were told so far. */
  get faults(): number {
    return this.#faults;
  }

  /** Calls back after each change with the keys that changed (added, changed or gone). */
  subscribe(onChange: (keys: readonly string[]) => void): Disposable {
    this.#listeners.add(onChange);
    return { [Symbol.dispose]: () => void this.#listeners.delete(onChange) };
  }

  /** Whether `key` names the own lease, in whatever text. */
  isOwn(key: string): boolean {
    return this.#own !== undefined && sameLeaseKey(this.#own, key);
  }

  /** Replaces everything: what is missing is removed, what differs is changed. */
  applySnapshot(snapshot: LeaseSnapshot): PeerChange[] {
    const changes = new Changes();
    const present = new Set<string>();
    for (const stored of snapshot.leases) {
      present.add(stored.key);
      this.#put(stored, changes);
    }
    for (const key of this.#known.keys()) {
      if (!present.has(key)) this.#delete(key, changes);
    }
    return this.#tell(changes);
  }

  /** Applies events in their order. Several events of one key are one change. */
  applyBatch(batch: LeaseEventBatch): PeerChange[] {
    const changes = new Changes();
    for (const event of batch.events) {
      if (event.kind === "put") this.#put(event.lease, changes);
      else this.#delete(event.key, changes);
    }
    return this.#tell(changes);
  }

  #put(stored: StoredLease, changes: Changes): void {
    const { key, value } = stored;
    const known = this.#known.get(key);
    if (known?.value === value || this.isOwn(key)) return;
    const { lease, fault }: DecodedLease = decodeLease(stored);
    if (fault) {
      this.#faults++;
      this.#onFault(fault);
    }
    this.#known.set(key, { value, lease });
    if (lease && known?.lease && sameLease(lease, known.lease)) return;
    if (lease) this.#peers.set(key, lease);
    else this.#peers.delete(key);
    changes.note(key, known?.lease, lease);
  }

  #delete(key: string, changes: Changes): void {
    const known = this.#known.get(key);
    if (!known) return;
    this.#known.delete(key);
    this.#peers.delete(key);
    changes.note(key, known.lease, undefined);
  }

  #tell(changes: Changes): PeerChange[] {
    const list = changes.list();
    if (list.length > 0) {
      const keys = list.map(({ key }) => key);
      for (const listener of [...this.#listeners]) listener(keys);
    }
    return list;
  }
}

/** What happened to each key, from before the first to after the last of its changes. */
class Changes {
  readonly #byKey = new Map<string, { before: Lease | undefined; after: Lease | undefined }>();

  note(key: string, before: Lease | undefined, after: Lease | undefined): void {
    const earlier = this.#byKey.get(key);
    if (earlier) earlier.after = after;
    else this.#byKey.set(key, { before, after });
  }

  list(): PeerChange[] {
    const list: PeerChange[] = [];
    for (const [key, { before, after }] of this.#byKey) {
      if (before && after) {
        if (!sameLease(before, after)) list.push({ kind: "changed", key, before, after });
      } else if (after) list.push({ kind: "added", key, after });
      else if (before) list.push({ kind: "removed", key, before });
    }
    return list;
  }
}

/** Whether two leases under one key say the same. */
export function sameLease(a: Lease, b: Lease): boolean {
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

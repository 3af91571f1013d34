/**
 * From records to leases: what a store of records lists and reports, read and passed on. A record that didn't
 * change isn't read again.
 *
 * @module
 */
import { decodeLease, RESERVED_FOR_NOBODY, sameLeaseKey } from "./codec.ts";
import type { LeaseSink, ListedChange, ListedLease } from "./contract.ts";
import type { Lease, LeaseEventBatch, LeaseSnapshot, StoredLease } from "./types.ts";

/** A record that was read, with what shows whether it is still the same: the texts of 20,000 leases take 3 MB. */
class ReadRecord implements ListedLease {
  readonly key: string;
  readonly since: bigint;
  readonly reserved: boolean;
  readonly lease: Lease | undefined;
  readonly fault: string | undefined;
  readonly #revision: bigint;
  readonly #hash: number;

  constructor(stored: StoredLease) {
    const { key, value, revision, createRevision, expires } = stored;
    this.key = key;
    this.since = createRevision;
    this.reserved = !stored.expires;
    // One object where the record hasn't been written since it was created.
    this.#revision = revision === createRevision ? createRevision : revision;
    this.#hash = hashOf(value);
    const { lease, fault } = decodeLease(stored);
    this.lease = lease;
    this.fault = expires || value !== RESERVED_FOR_NOBODY ? fault?.reason : undefined;
  }

  /** Whether the record still says this. A store that was restored may give a revision again: the text counts too. */
  says({ value, revision, createRevision }: StoredLease): boolean {
    return this.#revision === revision && this.since === createRevision && this.#hash === hashOf(value);
  }
}

/** FNV-1a of 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash;
}

/** Feeds a sink from records. */
export class RecordFeed {
  readonly #sink: LeaseSink;
  readonly #own: string | undefined;

  /** @param own The own lease's key. */
  constructor(sink: LeaseSink, own?: string) {
    this.#sink = sink;
    this.#own = own;
  }

  /** Whether `key` names the own lease, in whatever text. */
  isOwn(key: string): boolean {
    return this.#own !== undefined && sameLeaseKey(this.#own, key);
  }

  list({ leases }: Pick<LeaseSnapshot, "leases">): void {
    this.#sink.list(this.#readAll(leases));
  }

  change({ events }: Pick<LeaseEventBatch, "events">): void {
    this.#sink.change(this.#changes(events));
  }

  *#readAll(leases: Iterable<StoredLease>): Iterable<ListedLease> {
    for (const stored of leases) yield this.#read(stored);
  }

  *#changes(events: LeaseEventBatch["events"]): Iterable<ListedChange> {
    for (const event of events) {
      if (event.kind === "put") yield { kind: "put", listed: this.#read(event.lease) };
      else if (!this.isOwn(event.key)) yield { kind: "delete", key: event.key };
    }
  }

  #read(stored: StoredLease): ListedLease {
    const { key, createRevision } = stored;
    if (this.isOwn(key)) return { key, since: createRevision, own: true };
    const known = this.#sink.get(key);
    return known instanceof ReadRecord && known.says(stored) ? known : new ReadRecord(stored);
  }
}

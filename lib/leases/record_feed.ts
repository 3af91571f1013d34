/**
 * From records to leases: what a store of records lists and reports, read and passed on. A record that didn't
 * change isn't read again.
 *
 * @module
 */
import { decodeLease, sameLeaseKey } from "./codec.ts";
import type { LeaseSink, ListedChange, ListedLease } from "./contract.ts";
import type { Lease, LeaseEventBatch, LeaseSnapshot, StoredLease } from "./types.ts";

/** A record that was read, with the text that it was read from. */
class ReadRecord implements ListedLease {
  readonly key: string;
  readonly since: bigint;
  readonly value: string;
  readonly lease: Lease | undefined;
  readonly fault: string | undefined;

  constructor(stored: StoredLease) {
    this.key = stored.key;
    this.since = stored.createRevision;
    this.value = stored.value;
    const { lease, fault } = decodeLease(stored);
    this.lease = lease;
    this.fault = fault?.reason;
  }
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
    const { key, value, createRevision } = stored;
    if (this.isOwn(key)) return { key, since: createRevision, own: true };
    const known = this.#sink.get(key);
    const isSame = known instanceof ReadRecord && known.value === value && known.since === createRevision;
    return isSame ? known : new ReadRecord(stored);
  }
}

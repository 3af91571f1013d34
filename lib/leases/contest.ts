/**
 * Two live hosts with one public IP: the holder of the lease keeps it, the newcomer ends.
 *
 * A newcomer can't see whether the host that wrote the lease still runs, so it writes its own value and watches
 * the key. A running holder sees that, and writes its value back at once (keeper.ts). The original flannel
 * doesn't; beside it the newcomer takes the lease over, as it does from a host that is gone.
 *
 * @module
 */
import { familiesOf } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import type { Clock } from "../time/clock.ts";
import { decodeLeaseValue, sameLeaseKey } from "./codec.ts";
import { sameHost } from "./identity.ts";
import type { LeaseAttributes, LeaseStore, StoredLease } from "./types.ts";

/** How long a newcomer watches its key before it uses the subnet, in milliseconds. */
export const CONTEST_MS = 2000;

/** A running host holds the lease that this host would take over by its public IP. */
export class HeldElsewhereError extends Error {
  override readonly name = "HeldElsewhereError";

  /** @param holder The lease as its holder wrote it. */
  constructor(attributes: LeaseAttributes, holder: Pick<StoredLease, "key" | "value">) {
    super(
      `${
        describeConflict(attributes, holder.value)
      }, which holds the lease ${holder.key} and writes its value ` +
        `back: ${holder.value}. ${CONFLICT_HINT}`,
    );
  }
}

/** What to do about two hosts with one identity. */
export const CONFLICT_HINT =
  "Set -public-ip or -iface so that every host has its own address (behind one NAT address, with the udp " +
  "backend: -udp-port)";

/** Which identity two hosts share, as the beginning of a sentence. */
export function describeConflict(attributes: LeaseAttributes, value: string): string {
  const holder = decodeLeaseValue(value);
  const isSameIp = typeof holder === "string" || sameHost(holder, attributes);
  return isSameIp
    ? `The public IP ${publicIpsOf(attributes)} is in use by another host`
    : "The VtepMAC of this host is in use by another host (a copied machine has the same /etc/machine-id)";
}

/** What the watch needs. */
export interface ContestOptions {
  readonly store: LeaseStore;
  readonly attributes: LeaseAttributes;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/**
 * Watches a lease that was just taken over.
 *
 * @returns True if nobody wrote it for {@link CONTEST_MS}; false if it was deleted meanwhile.
 * @throws {HeldElsewhereError} If its holder wrote it back. @throws What ends the watch, and the signal's reason.
 */
export async function watchForHolder(held: StoredLease, options: ContestOptions): Promise<boolean> {
  const { store, attributes, clock, signal } = options;
  const end = new AbortController();
  const watchSignal = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
  const timer = clock.sleep(CONTEST_MS, watchSignal).then(() => end.abort());
  try {
    for await (const { events } of store.watchLeases(held.revision, { signal: watchSignal })) {
      for (const event of events) {
        const isPut = event.kind === "put";
        if (!sameLeaseKey(isPut ? event.lease.key : event.key, held.key)) continue;
        if (!isPut) return false;
        if (event.lease.revision > held.revision) throw new HeldElsewhereError(attributes, event.lease);
      }
    }
  } finally {
    end.abort();
    await timer;
  }
  signal?.throwIfAborted();
  return true;
}

/** The public addresses of a host, for messages. */
function publicIpsOf({ publicIps }: LeaseAttributes): string {
  return familiesOf(publicIps).map(({ name }) => formatIp(publicIps[name]!)).join(" ");
}

/**
 * Cheap questions whose answers say whether a firewall may have changed since it was last read.
 *
 * @module
 */
import { LegacyTables } from "./legacy_tables.ts";
import { SystemError } from "../ffi/errno.ts";
import {
  listenToRemovals,
  type NftablesNotification,
  NftablesSocket,
  type NftFamily,
} from "../netlink/nftables.ts";

/** What the kernel says of its firewalls without a program being run. */
export interface HostProbe extends Disposable {
  /**
   * A number that is another after every change of nftables (of iptables-nft too) in this network namespace;
   * undefined where the kernel doesn't say.
   */
  generation(): number | undefined;
  /** The same for the nat and filter tables of legacy iptables. */
  legacyStamp(): number | undefined;
  /** Whether nftables has such a table; undefined where the kernel doesn't say. */
  hasTable(family: NftFamily, table: string): boolean | undefined;
  /** The packets that a named counter of nftables has counted; undefined where there is none. */
  counterPackets(family: NftFamily, table: string, counter: string): bigint | undefined;
  /** What is removed from nftables from now on, until the signal fires; undefined where the kernel doesn't say. */
  removals(signal: AbortSignal): AsyncIterable<NftablesNotification> | undefined;
}

/** Knows nothing: everything is read in every pass. For rules that are in another network namespace. */
export const blindProbe: HostProbe = {
  generation: () => undefined,
  legacyStamp: () => undefined,
  hasTable: () => undefined,
  counterPackets: () => undefined,
  removals: () => undefined,
  [Symbol.dispose]() {},
};

/** A probe of this process's network namespace. */
export function systemProbe(): HostProbe {
  const nftables = whereSupported(() => new NftablesSocket());
  const legacy = new LegacyTables();
  return {
    generation: () => whereSupported(() => nftables?.generation()),
    legacyStamp: () => legacy.stamp(),
    hasTable: (family, table) => whereSupported(() => nftables?.hasTable(family, table)),
    counterPackets: (family, table, counter) =>
      whereSupported(() => nftables?.counterPackets(family, table, counter)),
    removals: (signal) => signal.aborted ? undefined : whereSupported(() => listenToRemovals(signal)),
    [Symbol.dispose]() {
      nftables?.[Symbol.dispose]();
      legacy[Symbol.dispose]();
    },
  };
}

/** Undefined on a kernel without nfnetlink or nf_tables. */
function whereSupported<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof SystemError) return undefined;
    throw error;
  }
}

/**
 * Names and counts what stands in the store and isn't a peer.
 *
 * @module
 */
import type { PeerSetOptions } from "../leases/peer_set.ts";
import type { Log, Metrics } from "../observe/types.ts";
import { LEASE_FAULTS, LEASE_REFUSALS } from "./metrics.ts";

/** Refused leases are named one by one up to this many at a time. */
const NAMED = 5;

/** What a peer set calls for leases that it can't use. */
export function reportLeases(log: Log, metrics: Metrics): Pick<PeerSetOptions, "onFault" | "onRefused"> {
  return {
    onFault({ key, reason }) {
      metrics.count(LEASE_FAULTS);
      log.warn(`Skipping the malformed lease ${JSON.stringify(key)}: ${reason}`);
    },
    onRefused(refused) {
      metrics.count(LEASE_REFUSALS, {}, refused.length);
      for (const { key, reason } of refused.slice(0, NAMED)) {
        log.warn(`peer ${JSON.stringify(key)} refused, nothing is routed to it: ${reason}`);
      }
      if (refused.length > NAMED) {
        log.warn("more peers refused; flanneld status lists them", { refused: refused.length - NAMED });
      }
    },
  };
}

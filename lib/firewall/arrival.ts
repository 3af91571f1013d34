/**
 * A tunnel's packet that comes in, and what a condition of a firewall's rule says of it.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";

/** A packet of a peer's tunnel as the input hook sees it: the first one of its flow. */
export interface ArrivingPacket {
  readonly family: Family;
  /** Where it comes in. */
  readonly device: string;
  /** The peer's address; absent as long as no peer is known. */
  readonly from?: Ip;
  /** Absent for a tunnel that isn't over UDP. */
  readonly udpPort?: number;
  /** IANA protocol number: 17 for UDP. */
  readonly ipProtocol: number;
}

/** Whether a condition holds; undefined where that can't be known from the rule alone. */
export type Holds = boolean | undefined;

/** Whether all of them hold. */
export function allHold(conditions: readonly Holds[]): Holds {
  if (conditions.includes(false)) return false;
  return conditions.includes(undefined) ? undefined : true;
}

/** The other way round. */
export function negated(holds: Holds): Holds {
  return holds === undefined ? undefined : !holds;
}

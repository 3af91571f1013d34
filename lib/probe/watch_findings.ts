/**
 * What the last rounds of a peer's probes say, in the form that verdicts are made of.
 *
 * @module
 */
import type { Family } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { EchoHistory } from "./history.ts";
import { type KernelReader, pathOf } from "./kernel_path.ts";
import { addressToAsk, describeCarrier, mayBeSilent, type ProbeNetwork, type ProbeTarget } from "./target.ts";
import type { Verdict } from "./types.ts";
import type { Findings, SideFindings } from "./findings.ts";

/** Bytes after the IP header of a small packet. */
export const SMALL_PAYLOAD = 64;
/** So many of the last packets must be lost before a verdict speaks of loss. */
const LOSSES = 3;

/** A peer in one family. */
export interface FamilyHistory {
  readonly small: EchoHistory;
  readonly large: EchoHistory;
  readonly underlay: EchoHistory;
  verdict: Verdict | undefined;
}

/** One that knows nothing yet. */
export function newHistory(): FamilyHistory {
  const make = () => new EchoHistory();
  return { small: make(), large: make(), underlay: make(), verdict: undefined };
}

/** Of what was sent lately, 0 to 1. */
export function lossOf({ sent, received }: EchoHistory): number {
  return sent === 0 ? 0 : 1 - received / sent;
}

/** What is known of a peer in a family now. */
export function findingsOf(
  { lease }: ProbeTarget,
  family: Family,
  { small, large, underlay }: FamilyHistory,
  network: ProbeNetwork,
  { reader, mtu }: { readonly reader: KernelReader; readonly mtu: number },
): Findings {
  const publicIp = lease.attributes.publicIps[family.name];
  const carrier = describeCarrier(network);
  const isDead = small.isInterrupted;
  const kernel = isDead
    ? reader.path(network.type, lease, addressToAsk(network.type, lease.subnets[family.name]!))
    : undefined;
  const { nextHop, neighbour } = kernel?.underlay ?? {};
  const isHole = !isDead && small.isAnswered && large.isInterrupted && large.sent > 1;
  return {
    publicIp: publicIp ? formatIp(publicIp) : "its public address",
    path: kernel && kernel.path !== "none" ? kernel.path : pathOf(network.type),
    ...carrier === undefined || kernel?.path === "direct" ? {} : { carrier },
    ...kernel?.link ? { device: kernel.link.name } : {},
    overlay: {
      ...sideOf(small, isDead),
      ...isHole
        ? { mtu: { mtu: family.headerBytes + SMALL_PAYLOAD, most: mtu, blackHole: true, isBound: true } }
        : {},
    },
    underlay: sideOf(underlay, underlay.isInterrupted),
    ...kernel?.fault ? { kernel: kernel.fault } : {},
    ...nextHop && neighbour
      ? { nextHop: { address: formatIp(nextHop), resolved: neighbour === "resolved" } }
      : {},
    ...mayBeSilent(network.type) ? { mayBeSilent: true } : {},
  };
}

/** Of a way that is interrupted now, what passed before doesn't count; a lost packet or two say nothing yet. */
function sideOf({ sent, received, p50 }: EchoHistory, isInterrupted: boolean): SideFindings {
  if (isInterrupted) return { sent, received: 0 };
  const counted = sent - received < LOSSES ? sent : received;
  return { sent, received: counted, ...p50 === undefined ? {} : { p50 } };
}

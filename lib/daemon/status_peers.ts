/**
 * The peers one by one, for `flanneld status` and the page. Made when it is asked for: of 20,000 peers nothing is kept
 * for it.
 *
 * @module
 */
import type { HostPlan, LivePeer, PeerView } from "../backend/types.ts";
import type { Lease } from "../leases/types.ts";
import { familiesOf } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { compareSubnets } from "../net/order.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { PeerDetail, PeerStatus, PeerTable, ProbeView } from "../status/document.ts";
import type { HostNames } from "../status/host_names.ts";

/** Networks of so many peers are listed whole in a summary. */
export const SMALL_NETWORK = 50;

/** So many peers with a problem are listed in the summary of a larger network. */
const PROBLEM_ROWS = 100;

/** Peers after which other work gets its turn: some 10 ms. */
const SLICE = 1000;

/** Where the table comes from. */
export interface PeerSources {
  readonly peers: PeerView["peers"];
  /** Whether the subnet is reserved for a host that has not been there yet. */
  readonly isAwaited: (key: string) => boolean;
  readonly plan: Pick<HostPlan, "forPeer">;
  /** What a running backend sees. */
  readonly live: ((key: string) => LivePeer | undefined) | undefined;
  readonly changedAt: (key: string) => number | undefined;
  readonly probes: ProbeView | undefined;
  /** By address. */
  readonly names: HostNames;
  /** The leases' keys are the hosts' names. */
  readonly keysAreHosts: boolean;
}

/** Counts the peers, and lists those that `detail` asks for. */
export async function peerTable(
  sources: PeerSources,
  detail: Exclude<PeerDetail, "counts">,
): Promise<PeerTable> {
  const { peers } = sources;
  const listsAll = detail === "all" || peers.size <= SMALL_NETWORK;
  const paths: Record<string, number> = {};
  const listed: { lease: Lease; row: PeerStatus }[] = [];
  let withProblem = 0, probed = 0, seen = 0;
  for (const [key, lease] of [...peers]) {
    if (++seen % SLICE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const row = peerStatus(key, lease, sources);
    for (const path of row.paths) paths[path] = (paths[path] ?? 0) + 1;
    if (row.problem !== null) withProblem++;
    if (row.probe) probed++;
    if (listsAll || (row.problem !== null && withProblem <= PROBLEM_ROWS)) listed.push({ lease, row });
  }
  const rows = listed.sort((a, b) => compareSubnets(a.lease.subnets, b.lease.subnets)).map(({ row }) => row);
  return { paths, withProblem, probed, rows, omitted: seen - rows.length };
}

function peerStatus(key: string, lease: Lease, sources: PeerSources): PeerStatus {
  const { subnets, attributes } = lease;
  const { paths, problem } = sources.plan.forPeer(lease);
  const live = sources.live?.(key);
  const awaited = sources.isAwaited(key) && problem !== undefined;
  const publicIps = familiesOf(attributes.publicIps).map(({ name }) => formatIp(attributes.publicIps[name]!));
  const named = publicIps.find((ip) => sources.names.has(ip));
  const changed = sources.changedAt(key);
  return {
    key,
    host: sources.keysAreHosts ? key : named === undefined ? "" : sources.names.get(named)!,
    subnets: familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!)),
    publicIps,
    backendType: attributes.backendType ?? null,
    paths,
    ...live?.lastHandshake === undefined
      ? {}
      : { lastHandshake: live.lastHandshake > 0 ? timeOf(live.lastHandshake) : null },
    changedAt: changed === undefined ? null : timeOf(changed),
    problem: awaited ? null : problem ?? live?.problem ?? null,
    ...awaited ? { awaited: true as const } : {},
    ...sources.probes ? { probe: sources.probes.resultOf(key) ?? null } : {},
  };
}

function timeOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

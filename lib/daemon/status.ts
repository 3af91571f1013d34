/**
 * What /status and `flanneld status` show.
 *
 * @module
 */
import { familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { MemberStatus, PeerDetail } from "../status/document.ts";
import { readHostNames } from "../status/host_names.ts";
import type { Member } from "./member.ts";
import { peerTable } from "./status_peers.ts";

/** The member's state. No secrets: the config is the completed one, with masks. */
export async function memberStatus(member: Member, detail: PeerDetail): Promise<MemberStatus> {
  const table = detail === "counts" ? undefined : await memberPeers(member, detail);
  const running = member.backendStatus();
  const { manager, membership, options } = member.parts;
  const { name, index, mtu, addresses, publicIps } = member.external;
  const health = membership.health();
  const { remaining, renewedAt, own } = membership;
  const host = member.host.state();
  return {
    config: member.config,
    configInUse: member.configInUse,
    lease: {
      key: own.key,
      subnets: familiesOf(own.subnets).map((family) => formatPrefix(own.subnets[family.name]!)),
      value: own.value,
      reservation: !own.expires,
      secondsLeft: Number.isFinite(remaining) ? Math.round(remaining) : null,
      renewedAt: renewedAt === undefined ? null : new Date(renewedAt).toISOString(),
    },
    subnetFile: options.subnetFile,
    mtu: member.plan.mtu,
    interface: { name, index, mtu, addresses: texts(addresses), publicIps: texts(publicIps) },
    store: {
      description: manager.description,
      connected: health.connected,
      forSeconds: Math.round(health.sinceMs / 1000),
      revision: health.version,
      resyncs: health.resyncs,
      lastError: health.lastError ?? null,
    },
    peers: {
      count: member.peers.peers.size,
      malformed: member.peers.malformed,
      refused: [...member.peers.refused].map(([key, reason]) => ({ key, reason })),
      problems: [...member.entries.problems].map(([key, problem]) => ({ key, problem })),
      ...member.probes?.probing ? { probing: member.probes.probing } : {},
      ...table ? { table } : {},
    },
    kernel: {
      links: host.links,
      entries: host.entries,
      nexthops: host.nexthops,
      failures: host.failures.map(({ entry, error }) => ({ entry, error })),
      problem: host.problem ?? null,
    },
    firewall: member.rules.description ?? null,
    ...(running ? { backend: running } : {}),
  };
}

async function memberPeers(member: Member, detail: Exclude<PeerDetail, "counts">) {
  const { manager } = member.parts;
  return await peerTable({
    peers: member.peers.peers,
    isAwaited: (key) => member.peers.isAwaited(key),
    plan: member.plan,
    live: member.livePeers(),
    changedAt: (key) => member.changedAt(key),
    probes: member.probes,
    names: manager.keysAreHosts ? new Map() : await readHostNames(),
    keysAreHosts: manager.keysAreHosts ?? false,
  }, detail);
}

function texts(addresses: PerFamily<Ip>): string[] {
  return familiesOf(addresses).map((family) => formatIp(addresses[family.name]!));
}

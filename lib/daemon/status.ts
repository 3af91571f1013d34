/**
 * What /status and `flanneld status` show.
 *
 * @module
 */
import type { Json, JsonObject } from "../config/types.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import type { Member } from "./member.ts";

/** The member's state as JSON. No secrets: the config is the completed one, with masks. */
export function memberStatus(member: Member): JsonObject {
  const running = member.backendStatus();
  const { manager, membership, options } = member.parts;
  const { name, index, mtu, addresses, publicIps } = member.external;
  const health = membership.health();
  const { remaining, own } = membership;
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
      refused: [...member.peers.refused].map(([key, reason]): Json => ({ key, reason })),
      problems: [...member.entries.problems].map(([key, problem]): Json => ({ key, problem })),
    },
    kernel: {
      links: host.links,
      entries: host.entries,
      nexthops: host.nexthops,
      failures: host.failures.map(({ entry, error }): Json => ({ entry, error })),
      problem: host.problem ?? null,
    },
    firewall: member.rules.description ?? null,
    ...(running ? { backend: running } : {}),
  };
}

function texts(addresses: PerFamily<Ip>): string[] {
  return familiesOf(addresses).map((family) => formatIp(addresses[family.name]!));
}

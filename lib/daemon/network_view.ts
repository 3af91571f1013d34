/**
 * The network as this host is in it, for commands that talk to peers; as JSON it goes over the status socket.
 *
 * @module
 */
import type { Json, JsonObject } from "../config/types.ts";
import { decodeLeaseValue, encodeLeaseValue } from "../leases/codec.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import { formatPrefix, parsePrefix, type Prefix } from "../net/prefix.ts";
import type { Tunnel } from "../net/tunnel.ts";
import type { ProbeNetwork, ProbeTarget } from "../probe/target.ts";
import type { Member } from "./member.ts";

/** A network with its peers, the own lease not among them. */
export interface NetworkView extends ProbeNetwork {
  /** Where this comes from, for people: `the daemon`, or the store's description. */
  readonly source: string;
  /** The whole networks. */
  readonly networks: readonly Prefix[];
  /** Name of the interface to the other hosts. */
  readonly external: string;
  readonly targets: readonly ProbeTarget[];
}

/** The peers, without subnets that are reserved for a host yet to come: that nobody answers there is no fault. */
export function hostsToAsk({ peers, plan }: Pick<Member, "peers" | "plan">): ProbeTarget[] {
  return [...peers.peers]
    .filter(([key, lease]) => !peers.isAwaited(key) || plan.forPeer(lease).problem === undefined)
    .map(([key, lease]) => ({ key, lease }));
}

/** The view of a daemon. */
export function memberView(member: Member): NetworkView {
  const { network, backend, manager } = member.parts;
  const { tunnel } = backend;
  return {
    source: "the daemon",
    type: network.config.backend.type,
    networks: network.config.families.map((family) => family.network),
    subnets: member.membership.own.subnets,
    external: member.external.name,
    ...tunnel ? { tunnel } : {},
    targets: hostsToAsk(member).map((target) => ({
      ...target,
      ...manager.keysAreHosts ? { name: target.key } : {},
    })),
  };
}

/** A view as JSON, for the status socket. */
export function encodeView(view: NetworkView): JsonObject {
  const { type, networks, subnets, external, tunnel, targets } = view;
  return {
    type,
    networks: networks.map(formatPrefix),
    subnets: texts(subnets),
    external,
    ...tunnel ? { tunnel: { ...tunnel } as JsonObject } : {},
    peers: targets.map(({ key, name, lease }): Json => ({
      key,
      ...name === undefined ? {} : { name },
      subnets: texts(lease.subnets),
      value: encodeLeaseValue(lease.attributes),
    })),
  };
}

function texts(subnets: PerFamily<Prefix>): string[] {
  return familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!));
}

function prefixesOf(texts: readonly string[]): PerFamily<Prefix> {
  return Object.fromEntries(texts.map(parsePrefix).map((prefix) => [prefix.family.name, prefix]));
}

/** Reads what {@link encodeView} wrote. @throws {Error} If it is something else. */
export function decodeView(json: JsonObject): NetworkView {
  const raw = json as unknown as {
    readonly type: string;
    readonly networks: readonly string[];
    readonly subnets: readonly string[];
    readonly external: string;
    readonly tunnel?: Tunnel;
    readonly peers: readonly {
      readonly key: string;
      readonly name?: string;
      readonly subnets: readonly string[];
      readonly value: string;
    }[];
  };
  if (typeof raw.type !== "string" || !Array.isArray(raw.peers)) {
    throw new Error("the daemon's answer names no peers: it is of another version, restart it");
  }
  return {
    source: "the daemon",
    type: raw.type,
    networks: raw.networks.map(parsePrefix),
    subnets: prefixesOf(raw.subnets),
    external: raw.external,
    ...raw.tunnel ? { tunnel: raw.tunnel } : {},
    targets: raw.peers.flatMap(({ key, name, subnets, value }) => {
      const attributes = decodeLeaseValue(value);
      if (typeof attributes === "string") return [];
      const lease = { subnets: prefixesOf(subnets), attributes };
      return [{ key, lease, ...name === undefined ? {} : { name } }];
    }),
  };
}

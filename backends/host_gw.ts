/**
 * The host-gw backend: plain routes to the other hosts, which must be on the same wire.
 *
 * @module
 */
import type { Lease } from "../lib/leases/types.ts";
import { familiesOf, type Family } from "../lib/net/family.ts";
import { formatIp, sameIp } from "../lib/net/ip.ts";
import {
  namedType,
  PATHS,
  type PeerPlan,
  planFamilies,
  remoteProblem,
  underlayProblem,
  unreachable,
} from "../lib/backend/peer_plan.ts";
import { limitMtu, mtuProblem } from "../lib/backend/mtu.ts";
import { OptionReader } from "../lib/backend/option_reader.ts";
import type { BackendType, Environment, HostPlan, OwnSubnets } from "../lib/backend/types.ts";

/** The Backend object of a host-gw network. */
export interface HostGwOptions {
  /** MTU for containers; undefined: the external interface's. */
  readonly mtu: number | undefined;
}

/** The host-gw backend for the registry. */
export const hostGw: BackendType<HostGwOptions> = {
  type: "host-gw",
  parse(options) {
    const reader = new OptionReader(options);
    const mtu = reader.integer("MTU", {
      ...{ min: 68, max: 65535, zeroIsUnset: true, help: "MTU for containers" },
      defaultText: "the external interface's",
    });
    return reader.finish({ mtu });
  },
  open(options, { config, external }) {
    for (const { family } of config.families) {
      const [own, published] = [external.addresses[family.name], external.publicIps[family.name]];
      if (own && published && !sameIp(own, published)) {
        return Promise.reject(
          new Error(
            `host-gw needs the public address to be the interface's: ${external.name} has ${
              formatIp(own)
            }, ` +
              `and the public address is ${
                formatIp(published)
              }. Leave out -public-ip and -public-ipv6, or use vxlan`,
          ),
        );
      }
    }
    return Promise.resolve({
      carrier: "kernel",
      attributes: { backendType: "host-gw", backendData: {} },
      plan: (environment, lease) => plan(options, environment, lease),
    });
  },
};

function plan(options: HostGwOptions, environment: Environment, lease: OwnSubnets): HostPlan {
  const families = familiesOf(lease.subnets);
  const { external } = environment;
  const mtu = limitMtu(options.mtu, external.mtu);
  return {
    mtu,
    ...(options.mtu !== undefined && mtu < options.mtu
      ? { problem: mtuProblem(options.mtu, external, mtu) }
      : {}),
    links: [],
    entries: [],
    forPeer: (peer) => planFamilies(families, (family) => planPeer(family, peer, environment)),
  };
}

function planPeer(family: Family, peer: Lease, environment: Environment): PeerPlan {
  const problem = problemWith(family, peer, environment);
  if (problem) return unreachable(problem);
  return {
    entries: [{
      kind: "route",
      link: environment.external.name,
      destination: peer.subnets[family.name]!,
      gateway: peer.attributes.publicIps[family.name]!,
      onlink: false,
    }],
    paths: PATHS.direct,
  };
}

function problemWith(family: Family, peer: Lease, environment: Environment): string | undefined {
  const { external } = environment;
  const gateway = peer.attributes.publicIps[family.name];
  const subnet = peer.subnets[family.name];
  if (!subnet) return `it has no ${family.label} subnet`;
  if (peer.attributes.backendType !== "host-gw") {
    return `its lease has ${namedType(peer)}, not host-gw`;
  }
  if (!gateway) return `it has no public ${family.label} address`;
  const conflict = remoteProblem(external, gateway) ?? underlayProblem(external, subnet, gateway);
  if (conflict) return conflict;
  if (!environment.isOnLink(gateway)) {
    return `${
      formatIp(gateway)
    } isn't reached through ${external.name} without a gateway, which host-gw needs`;
  }
  return undefined;
}

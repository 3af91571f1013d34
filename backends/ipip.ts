/**
 * The ipip backend: the kernel's IPIP (RFC 2003), one device for all peers. IPv4 only.
 *
 * @module
 */
import { limitMtu, MIN_MTU_IPV4, mtuProblem } from "../lib/backend/mtu.ts";
import { namedType, PATHS, type PeerPlan, remoteProblem, unreachable } from "../lib/backend/peer_plan.ts";
import { OptionReader } from "../lib/backend/option_reader.ts";
import type { BackendType, Environment, HostPlan, KernelBackend, OwnSubnets } from "../lib/backend/types.ts";
import type { DesiredIpip } from "../lib/kernel/desired_link.ts";
import type { Lease } from "../lib/leases/types.ts";
import { firstIp } from "../lib/net/prefix.ts";

/** The Backend object of an ipip network. */
export interface IpipOptions {
  /** Peers on the same wire get a plain route. */
  readonly directRouting: boolean;
  /** MTU of the device; undefined: what the outer header leaves of the external interface's. */
  readonly mtu: number | undefined;
}

/** The device; tunl0 is the kernel's own, and is left alone. */
const DEVICE = "flannel.ipip";

/** The outer IPv4 header. */
const OVERHEAD = 20;

/** The IANA protocol number of IPIP. */
const IPPROTO_IPIP = 4;

/** The ipip backend for the registry. */
export const ipip: BackendType<IpipOptions> = {
  type: "ipip",
  parse(options, enabled) {
    const reader = new OptionReader(options);
    if (enabled.some(({ name }) => name !== "ipv4")) {
      const message = "EnableIPv6 true: must be false with Backend.Type ipip, which carries IPv4 only";
      reader.faults.push({ key: "EnableIPv6", message });
    }
    const help = "Peers on the same wire get a plain route, without IPIP";
    return reader.finish({
      directRouting: reader.boolean("DirectRouting", false, { help }),
      mtu: reader.integer("MTU", {
        ...{ min: MIN_MTU_IPV4, max: 65535, zeroIsUnset: true, help: "MTU of the device and for containers" },
        defaultText: `the external interface's less ${OVERHEAD}`,
      }),
    });
  },
  open: (options) => Promise.resolve(new Ipip(options)),
};

class Ipip implements KernelBackend {
  readonly carrier = "kernel";
  readonly attributes = { backendType: "ipip", backendData: {} };
  readonly tunnel = { ipProtocol: IPPROTO_IPIP };

  constructor(readonly options: IpipOptions) {}

  plan(environment: Environment, lease: OwnSubnets): HostPlan {
    const { external } = environment;
    const subnet = lease.subnets.ipv4, local = external.addresses.ipv4;
    if (!subnet || !local) throw new Error("The ipip backend needs an IPv4 subnet and an IPv4 address");
    const largest = external.mtu - OVERHEAD, { mtu: asked } = this.options;
    const mtu = limitMtu(asked, largest);
    const addresses = [{ ip: firstIp(subnet), prefixLength: subnet.family.bits }];
    const link: DesiredIpip = { kind: "ipip", name: DEVICE, mtu, local, addresses };
    return {
      ...{ mtu, links: [link], entries: [], forPeer: (peer) => this.#planPeer(peer, environment) },
      ...asked !== undefined && asked > largest ? { problem: mtuProblem(asked, external, largest) } : {},
    };
  }

  #planPeer(peer: Lease, environment: Environment): PeerPlan {
    const { external } = environment;
    const destination = peer.subnets.ipv4, gateway = peer.attributes.publicIps.ipv4;
    if (!destination) return unreachable("it has no IPv4 subnet");
    if (peer.attributes.backendType !== "ipip") {
      return unreachable(`its lease has ${namedType(peer)}, not ipip`);
    }
    if (!gateway) return unreachable("it has no public IPv4 address");
    const conflict = remoteProblem(external, gateway);
    if (conflict) return unreachable(conflict);
    const isDirect = this.options.directRouting && environment.isOnLink(gateway);
    const link = isDirect ? external.name : DEVICE;
    return {
      entries: [{ kind: "route", link, destination, gateway, onlink: !isDirect }],
      paths: isDirect ? PATHS.direct : PATHS.ipip,
    };
  }
}

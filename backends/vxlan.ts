/**
 * The vxlan backend: the kernel's VXLAN, with one VTEP per host and family.
 *
 * Each peer needs three things on the device: a neighbour entry (its VTEP's address has its VTEP's MAC), an fdb
 * entry (that MAC is behind the peer's public address) and a route (its subnet is behind its VTEP). With
 * DirectRouting, a peer on the same wire needs only a route.
 *
 * @module
 */
import type { ChecksumOffload, DesiredVxlan } from "../lib/kernel/desired_link.ts";
import { KERNEL_VXLAN_PORT, vxlanOverhead } from "../lib/kernel/vxlan_keeper.ts";
import type { Lease } from "../lib/leases/types.ts";
import { familiesOf, type Family, type PerFamily, perFamily } from "../lib/net/family.ts";
import { firstIp } from "../lib/net/prefix.ts";
import type { Mac } from "../lib/net/mac.ts";
import type { Tunnel } from "../lib/net/tunnel.ts";
import {
  namedType,
  PATHS,
  type PeerPlan,
  planFamilies,
  remoteProblem,
  underlayProblem,
  unreachable,
} from "../lib/backend/peer_plan.ts";
import { limitMtu, MIN_MTU_IPV4, mtuProblem } from "../lib/backend/mtu.ts";
import { OptionReader } from "../lib/backend/option_reader.ts";
import { findVtep, type Vtep, vtepMac } from "./vtep.ts";
import type { Json } from "../lib/config/types.ts";
import type { BackendType, Environment, HostPlan, KernelBackend, OwnSubnets } from "../lib/backend/types.ts";

/** The Backend object of a vxlan network. */
export interface VxlanOptions {
  /** VXLAN network identifier: 24 bits (RFC 7348, section 5). */
  readonly vni: number;
  /** UDP port; 0: the kernel's default, 8472. */
  readonly port: number;
  readonly gbp: boolean;
  readonly learning: boolean;
  /** Peers on the same wire get a plain route. */
  readonly directRouting: boolean;
  /** MTU of the device; undefined: the external interface's less the encapsulation. */
  readonly mtu: number | undefined;
  readonly txChecksum: ChecksumOffload;
}

/** The vxlan backend for the registry. */
export const vxlan: BackendType<VxlanOptions> = {
  type: "vxlan",
  parse(options) {
    const reader = new OptionReader(options);
    return reader.finish({
      vni: reader.integer("VNI", {
        min: 0,
        max: 0xffffff,
        help: "VXLAN network identifier; the device is flannel.VNI",
      }, 1),
      port: reader.integer(
        "Port",
        { min: 0, max: 65535, help: "UDP port; 0: the kernel's default, 8472" },
        0,
      ),
      gbp: reader.boolean("GBP", false, {
        help: "Group Based Policy: the packet mark travels with the packet",
      }),
      learning: reader.boolean("Learning", false, { help: "The kernel learns MAC addresses from packets" }),
      directRouting: reader.boolean("DirectRouting", false, {
        help: "Peers on the same wire get a plain route, without VXLAN",
      }),
      mtu: reader.integer("MTU", {
        ...{ min: MIN_MTU_IPV4, max: 65535, zeroIsUnset: true, help: "MTU of the device and for containers" },
        defaultText: "the external interface's less 50 (IPv4) or 70 (IPv6)",
      }),
      txChecksum: reader.string(
        "TxChecksumOffload",
        {
          oneOf: ["auto", "on", "off"],
          help:
            "Checksums of inner packets by the network card; auto: off on kernels before 5.7, whose NAT spoils them",
        },
        "auto",
      ) as ChecksumOffload,
    });
  },
  open(options, context) {
    const families = context.config.families.map(({ family }) => family);
    const vteps = perFamily(families, (family) => findVtep(family, options, context));
    return Promise.resolve(new Vxlan(options, vteps));
  },
};

/** What a VTEP publishes, in the original's spelling and order. */
interface VtepData {
  readonly VNI: number;
  readonly VtepMAC: Mac;
}

class Vxlan implements KernelBackend {
  readonly carrier = "kernel";
  readonly attributes: KernelBackend["attributes"];
  readonly tunnel: Tunnel;

  constructor(readonly options: VxlanOptions, readonly vteps: PerFamily<Vtep>) {
    const backendData = perFamily(familiesOf(vteps), (family): Json => {
      const data: VtepData = { VNI: options.vni, VtepMAC: vteps[family.name]!.mac };
      return { ...data };
    });
    this.tunnel = { udpPorts: [options.port || KERNEL_VXLAN_PORT], vni: options.vni };
    this.attributes = { backendType: "vxlan", backendData };
  }

  plan(environment: Environment, lease: OwnSubnets): HostPlan {
    const families = familiesOf(lease.subnets);
    const links = families.map((family) => this.#link(family, environment, lease));
    const forPeer = (peer: Lease): PeerPlan =>
      planFamilies(families, (family) => this.#planPeer(family, peer, environment));
    const mtu = Math.min(...links.map((link) => link.mtu));
    const wanted = this.options.mtu ?? 0;
    // Over IPv6 the tunnel takes more off, so that the smallest is what every device can have.
    const problem = mtu < wanted ? mtuProblem(wanted, environment.external, mtu) : undefined;
    return { mtu, links, entries: [], forPeer, ...(problem === undefined ? {} : { problem }) };
  }

  #link(family: Family, { external }: Environment, lease: OwnSubnets): DesiredVxlan {
    const { name, mac } = this.vteps[family.name]!;
    const local = external.addresses[family.name];
    if (!local) throw new Error(`The interface ${external.name} has no ${family.label} address`);
    const { vni, port, learning, gbp, txChecksum } = this.options;
    return {
      kind: "vxlan",
      name,
      mac,
      vni,
      local,
      underlay: external.name,
      port,
      learning,
      gbp,
      txChecksum,
      mtu: limitMtu(this.options.mtu, external.mtu - vxlanOverhead(local)),
      addresses: [{ ip: firstIp(lease.subnets[family.name]!), prefixLength: family.bits }],
    };
  }

  #planPeer(family: Family, peer: Lease, environment: Environment): PeerPlan {
    const destination = peer.subnets[family.name];
    const remote = peer.attributes.publicIps[family.name];
    if (!destination) return unreachable(`it has no ${family.label} subnet`);
    if (peer.attributes.backendType !== "vxlan") {
      return unreachable(`its lease has ${namedType(peer)}, not vxlan`);
    }
    if (!remote) return unreachable(`it has no public ${family.label} address`);
    const { external } = environment;
    const conflict = remoteProblem(external, remote) ?? underlayProblem(external, destination, remote);
    if (conflict) return unreachable(conflict);
    if (this.options.directRouting && environment.isOnLink(remote)) {
      return {
        entries: [{ kind: "route", link: external.name, destination, gateway: remote, onlink: false }],
        paths: PATHS.direct,
      };
    }
    const mac = vtepMac(peer.attributes.backendData[family.name]);
    if (!mac) return unreachable(`its lease has no usable VtepMAC for ${family.label}`);
    if (mac === this.vteps[family.name]!.mac) return unreachable(`${mac} is this host's own VtepMAC`);
    const link = this.vteps[family.name]!.name;
    const gateway = firstIp(destination);
    return {
      entries: [
        { kind: "neighbour", link, ip: gateway, mac },
        { kind: "fdb", link, mac, remote },
        { kind: "route", link, destination, gateway, onlink: true },
      ],
      paths: PATHS.vxlan,
    };
  }
}

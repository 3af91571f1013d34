/**
 * The udp backend: packets go through a TUN to the daemon, which sends each one as the payload of a datagram.
 *
 * For networks in which nothing but UDP passes. The wire form is the original's: the payload is the inner IPv4
 * packet and nothing else.
 *
 * @module
 */
import { formatIp } from "../../lib/net/ip.ts";
import type { DesiredTun } from "../../lib/kernel/desired_link.ts";
import type { FamilyConfig } from "../../lib/config/types.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { firstIp } from "../../lib/net/prefix.ts";
import type { Tunnel } from "../../lib/net/tunnel.ts";
import { NO_ENTRIES, unreachable } from "../../lib/backend/peer_plan.ts";
import type {
  BackendSession,
  BackendType,
  Environment,
  HostPlan,
  OpenContext,
  OwnSubnets,
  SessionBackend,
} from "../../lib/backend/types.ts";
import { UDP_PORT } from "./control/daemon_options.ts";
import { tunName } from "./control/device_name.ts";
import { parseUdpOptions, type UdpOptions } from "./control/options.ts";
import { ownEnd, peerRoute, portOf } from "./control/peer_route.ts";
import { UdpSession } from "./control/session.ts";

/** Outer headers: IPv4 and UDP. */
const OVERHEAD = 28;

/** Most peers that the routing table is made for; at 24 bytes each. */
const MAX_PEERS = 1 << 18;

/**
 * Processors from which on each direction gets a thread of its own. On two, which containers and interrupts need as
 * well, a second thread carries no more and costs a tenth more time (docs/adr).
 */
const CORES_FOR_TWO = 4;

/** The udp backend for the registry. */
export const udp: BackendType<UdpOptions> = {
  type: "udp",
  parse: parseUdpOptions,
  open(options, context) {
    const family = context.config.families.find(({ family }) => family.name === "ipv4");
    if (!family) throw new Error("The udp backend carries IPv4 only: set Network and EnableIPv4");
    return Promise.resolve(new Udp(options, family, context));
  },
};

class Udp implements SessionBackend {
  readonly carrier = "session";
  readonly attributes: SessionBackend["attributes"];
  readonly tunnel: Tunnel;
  readonly peerPort: (peer: Lease) => number | undefined;
  readonly #options: UdpOptions;
  readonly #family: FamilyConfig;
  readonly #device: string;
  /** The port that this host listens on: the config's, unless the host was given one of its own. */
  readonly #port: number;

  constructor(options: UdpOptions, family: FamilyConfig, context: OpenContext) {
    this.#options = options;
    this.#family = family;
    this.#device = tunName(context.links, context.networkId);
    this.#port = context.options.get(UDP_PORT) || options.port;
    this.tunnel = { udpPorts: [this.#port] };
    this.peerPort = (peer) => portOf(peer, options.port);
    // The original publishes nothing: neither does a host that has nothing to say.
    this.attributes = this.#port === options.port
      ? { backendData: {} }
      : { backendData: { ipv4: { Port: this.#port } } };
  }

  plan({ external }: Environment, lease: OwnSubnets): HostPlan {
    const mtu = this.#options.mtu ?? external.mtu - OVERHEAD;
    const subnet = lease.subnets.ipv4;
    const link: DesiredTun = {
      kind: "tun",
      name: this.#device,
      mtu,
      vnetHeader: this.#options.offloads.vnetHeader,
      multiQueue: false,
      addresses: subnet ? [{ ip: firstIp(subnet), prefixLength: subnet.family.bits }] : [],
    };
    const own = ownEnd(external, this.#port);
    return {
      mtu,
      links: [link],
      entries: [{ kind: "route", link: this.#device, destination: this.#family.network, onlink: false }],
      forPeer: (peer: Lease) => {
        const route = peerRoute(peer, this.#options.port, own);
        return typeof route === "string" ? unreachable(route) : NO_ENTRIES;
      },
    };
  }

  async start(session: BackendSession): Promise<UdpSession> {
    const { subnetLength, network } = this.#family;
    const forwarder = new UdpSession(session, {
      options: this.#options,
      device: this.#device,
      port: this.#port,
      workers: this.#options.workers ?? (navigator.hardwareConcurrency >= CORES_FOR_TWO ? 2 : 1),
      peers: Math.min(2 ** (subnetLength - network.length), MAX_PEERS),
    });
    try {
      await forwarder.start();
      return forwarder;
    } catch (error) {
      await forwarder[Symbol.asyncDispose]();
      const address = session.external.addresses.ipv4;
      const where = address ? ` on ${formatIp(address)}` : "";
      throw new Error(`The udp backend can't start${where}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * The udp backend: packets go through a TUN to the daemon, which sends each one as the payload of a datagram.
 *
 * For networks in which nothing but UDP passes. The wire form is the original's: the payload is the inner IP packet
 * and nothing else. Each address family travels over itself: a peer's IPv4 subnet over its public IPv4 address, its
 * IPv6 subnet over its public IPv6 address, which the original hasn't.
 *
 * @module
 */
import type { DesiredTun } from "../../lib/kernel/desired_link.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import type { Entry } from "../../lib/kernel/entries.ts";
import type { FamilyConfig, Json } from "../../lib/config/types.ts";
import { familiesOf, type Family, IPV6, perFamily } from "../../lib/net/family.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { firstIp } from "../../lib/net/prefix.ts";
import type { Tunnel } from "../../lib/net/tunnel.ts";
import { MIN_MTU_IPV6 } from "../../lib/backend/mtu.ts";
import { carried, PATHS, planFamilies, unreachable } from "../../lib/backend/peer_plan.ts";
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

/** Length of a UDP header (RFC 768). */
const UDP_HEADER = 8;

/** Most peers that the routing table is made for; at some 80 bytes each with IPv4, 130 with IPv6. */
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
    const backend = new Udp(options, context);
    backend.mtuOver(context.external);
    return Promise.resolve(backend);
  },
};

class Udp implements SessionBackend {
  readonly carrier = "session";
  readonly attributes: SessionBackend["attributes"];
  readonly tunnel: Tunnel;
  readonly peerPorts: (peer: Lease) => readonly number[];
  readonly #options: UdpOptions;
  readonly #networks: readonly FamilyConfig[];
  readonly #families: readonly Family[];
  readonly #device: string;
  /** The port that this host listens on: the config's, unless the host was given one of its own. */
  readonly #port: number;

  constructor(options: UdpOptions, context: OpenContext) {
    this.#options = options;
    this.#networks = context.config.families;
    this.#families = this.#networks.map(({ family }) => family);
    this.#device = tunName(context.links, context.networkId);
    this.#port = context.options.get(UDP_PORT) || options.port;
    this.tunnel = { udpPorts: [this.#port] };
    this.peerPorts = (peer) => [portOf(peer, options.port) ?? []].flat();
    // The original publishes nothing: neither does a host that has nothing to say.
    const backendData = this.#port === options.port
      ? {}
      : perFamily(this.#families, (): Json => ({ Port: this.#port }));
    this.attributes = { backendData };
  }

  plan({ external }: Environment, lease: OwnSubnets): HostPlan {
    const mtu = this.mtuOver(external);
    const link: DesiredTun = {
      kind: "tun",
      name: this.#device,
      mtu,
      vnetHeader: this.#options.offloads.vnetHeader,
      multiQueue: false,
      addresses: familiesOf(lease.subnets).map(({ name, bits }) => ({
        ip: firstIp(lease.subnets[name]!),
        prefixLength: bits,
      })),
    };
    const own = ownEnd(external, this.#port);
    return {
      mtu,
      links: [link],
      entries: this.#networks.map(({ network }): Entry => ({
        kind: "route",
        link: this.#device,
        destination: network,
        onlink: false,
      })),
      forPeer: (peer: Lease) =>
        planFamilies(this.#families, (family) => {
          const route = peerRoute(family, peer, this.#options.port, own);
          return typeof route === "string" ? unreachable(route) : carried(PATHS.udp);
        }),
    };
  }

  /**
   * The config's MTU, else what the outer headers leave of the interface's: with both families the longer ones.
   *
   * @throws {Error} If that is too little for IPv6.
   */
  mtuOver({ name, mtu }: ExternalInterface): number {
    if (this.#options.mtu !== undefined) return this.#options.mtu;
    const left = mtu - UDP_HEADER - Math.max(...this.#families.map(({ headerBytes }) => headerBytes));
    if (this.#families.includes(IPV6) && left < MIN_MTU_IPV6) {
      const least = MIN_MTU_IPV6 + mtu - left;
      throw new Error(
        `The MTU ${mtu} of ${name} leaves ${left} bytes for packets in the tunnel, and IPv6 needs ${MIN_MTU_IPV6}: ` +
          `raise it to ${least}, or set Backend.MTU to ${MIN_MTU_IPV6} to have outer packets fragmented`,
      );
    }
    return left;
  }

  async start(session: BackendSession): Promise<UdpSession> {
    const subnets = this.#networks.map(({ subnetLength, network }) => 2 ** (subnetLength - network.length));
    const forwarder = new UdpSession(session, {
      options: this.#options,
      families: this.#families,
      device: this.#device,
      port: this.#port,
      workers: this.#options.workers ?? (navigator.hardwareConcurrency >= CORES_FOR_TWO ? 2 : 1),
      peers: Math.min(...subnets, MAX_PEERS),
    });
    try {
      await forwarder.start();
      return forwarder;
    } catch (error) {
      await forwarder[Symbol.asyncDispose]();
      throw new Error(`The udp backend cannot start: ${(error as Error).message}`, { cause: error });
    }
  }
}

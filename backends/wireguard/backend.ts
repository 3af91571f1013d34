/**
 * The wireguard backend: encrypted tunnels, one key a host.
 *
 * The whole network is routed into the device, and the device's peers say which subnet is whose: who sends from a
 * subnet that isn't its own is dropped by WireGuard itself.
 *
 * @module
 */
import { limitMtu, MIN_MTU_IPV6, mtuProblem } from "../../lib/backend/mtu.ts";
import { carried, PATHS, type PeerPlan } from "../../lib/backend/peer_plan.ts";
import type {
  BackendSession,
  BackendType,
  Environment,
  HostPlan,
  OpenContext,
  OwnSubnets,
  RunningBackend,
  SessionBackend,
} from "../../lib/backend/types.ts";
import type { Json } from "../../lib/config/types.ts";
import type { DesiredWireguard } from "../../lib/kernel/desired_link.ts";
import type { Entry } from "../../lib/kernel/entries.ts";
import type { ExternalInterface } from "../../lib/external/types.ts";
import { strangerError } from "../../lib/kernel/own_links.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { type Family, IPV6, perFamily } from "../../lib/net/family.ts";
import { findLink } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { firstIp } from "../../lib/net/prefix.ts";
import type { Tunnel } from "../../lib/net/tunnel.ts";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import type { WireguardControl } from "../../lib/wireguard/types.ts";
import { type DeviceNames, deviceNames } from "./device_name.ts";
import { type OwnEnd, peerOfBoth, peerOfFamily } from "./endpoint.ts";
import { findImplementation, type FoundImplementation } from "./implementation.ts";
import { findKey, keepKey, KeyFileError, keyPlace, ownKeyFiles, readKey } from "./key_file.ts";
import { OVERHEAD, parseWireguardOptions, type WireguardOptions } from "./options.ts";
import { type DeviceSetup, WireguardSession } from "./session.ts";

/** The wireguard backend for the registry. */
export const wireguard: BackendType<WireguardOptions> = {
  type: "wireguard",
  parse: parseWireguardOptions,
  async open(options, context) {
    const env = (name: string) => Deno.env.get(name);
    const found = findImplementation(
      options.implementation,
      `${env("PATH") ?? ""}:/usr/local/bin:/usr/bin:/usr/sbin`,
    );
    const privateKey = await findKey(keyPlace(env));
    const names = deviceNames(context.links, context.networkId);
    await refuseForeign(found.control, names, context, publicKeyOf(privateKey));
    return new Wireguard(options, context, { privateKey, found, names });
  },
  files: () => ownKeyFiles((name) => Deno.env.get(name)),
};

/** A device with the families whose packets it takes. */
interface Device {
  readonly name: string;
  readonly listenPort: number;
  /** The key of the config that has the port. */
  readonly portKey: "ListenPort" | "ListenPortV6";
  readonly families: readonly Family[];
}

class Wireguard implements SessionBackend {
  readonly carrier = "session";
  readonly tunnel: Tunnel;
  readonly #options: WireguardOptions;
  readonly #context: OpenContext;
  readonly #found: FoundImplementation;
  readonly #devices: readonly Device[];
  #privateKey: string;
  /** Kept because each lease is compared with it, and deriving it from the private key takes 0.1 ms. */
  #publicKey: string;
  #external: ExternalInterface;

  constructor(
    options: WireguardOptions,
    context: OpenContext,
    { privateKey, found, names }: { privateKey: string; found: FoundImplementation; names: DeviceNames },
  ) {
    this.#options = options;
    this.#context = context;
    this.#found = found;
    this.#privateKey = privateKey;
    this.#publicKey = publicKeyOf(privateKey);
    this.#external = context.external;
    this.#devices = devicesOf(context.config.families.map(({ family }) => family), names, options);
    this.tunnel = { udpPorts: this.#devices.map(({ listenPort }) => listenPort) };
  }

  /** The public key is the device's own: it changes when the key is rotated. */
  get attributes(): SessionBackend["attributes"] {
    const PublicKey = this.#publicKey;
    const families = this.#context.config.families.map(({ family }) => family);
    const backendData = perFamily(
      families,
      (family): Json => ({ PublicKey, Port: this.#deviceOf(family).listenPort }),
    );
    return { backendType: "wireguard", backendData };
  }

  peerPorts = (peer: Lease): readonly number[] =>
    this.#devices.flatMap((device) => {
      const read = this.#setupOf(device).peerOf(peer);
      return typeof read === "string" ? [] : read.endpoint?.port ?? [];
    });

  plan({ external }: Environment, lease: OwnSubnets): HostPlan {
    this.#external = external;
    const { mtu, problem } = this.#mtuOver(external);
    const links = this.#devices.map(({ name, families }): DesiredWireguard => ({
      kind: "wireguard",
      name,
      mtu,
      implementation: this.#found.implementation,
      siblings: this.#devices.map((device) => device.name).filter((other) => other !== name),
      addresses: families.flatMap((family) => {
        const subnet = lease.subnets[family.name];
        return subnet ? [{ ip: firstIp(subnet), prefixLength: family.bits }] : [];
      }),
    }));
    const entries = this.#context.config.families.map(({ family, network }): Entry => ({
      kind: "route",
      link: this.#deviceOf(family).name,
      destination: network,
      onlink: false,
    }));
    return {
      mtu,
      links,
      entries,
      ...problem === undefined ? {} : { problem },
      forPeer: (peer) => this.#judge(peer),
    };
  }

  /** IPv6 gets what it needs: WireGuard's own datagrams may be fragmented. */
  #mtuOver(external: ExternalInterface): { mtu: number; problem?: string } {
    const { mtu: asked } = this.#options;
    const left = limitMtu(asked, external.mtu) - OVERHEAD;
    if (left < MIN_MTU_IPV6 && this.#context.config.families.some(({ family }) => family === IPV6)) {
      const problem = `The MTU ${external.mtu} of ${external.name} leaves ${left} bytes for packets in the ` +
        `tunnel, and IPv6 needs ${MIN_MTU_IPV6}: outer packets are fragmented. Raise it to ${
          MIN_MTU_IPV6 + OVERHEAD
        }`;
      return { mtu: MIN_MTU_IPV6, problem };
    }
    if (asked === undefined || asked <= external.mtu) return { mtu: left };
    return { mtu: left, problem: mtuProblem(asked, external, external.mtu) };
  }

  async start(session: BackendSession): Promise<RunningBackend> {
    const place = keyPlace((name) => Deno.env.get(name));
    await keepKey(place, this.#privateKey, this.#context.log);
    const socket = NetlinkSocket.open();
    const running = new WireguardSession(session, {
      control: this.#found.control,
      privateKey: this.#privateKey,
      devices: this.#devices.map((device) => this.#setupOf(device)),
      implementation: this.#found.implementation.kind === "kernel"
        ? "kernel"
        : this.#found.implementation.program,
      indexOf: (device) => findLink(socket, device)?.index,
      close: () => socket[Symbol.dispose](),
      keyFile: place.file,
      readKey: async () => {
        const key = await readKey(place.file);
        if (key === undefined) {
          throw new KeyFileError(`The key file ${place.file} is gone: the key in use is kept`);
        }
        return key;
      },
      publish: (privateKey) => {
        this.#privateKey = privateKey;
        this.#publicKey = publicKeyOf(privateKey);
        session.publish(this.attributes);
      },
    });
    try {
      await running.start();
      return running;
    } catch (error) {
      await running[Symbol.asyncDispose]();
      throw error;
    }
  }

  get #own(): OwnEnd {
    const { addresses, publicIps } = this.#external;
    return { publicKey: this.#publicKey, addresses, publicIps };
  }

  #deviceOf(family: Family): Device {
    return this.#devices.find(({ families }) => families.includes(family))!;
  }

  #setupOf({ name, listenPort, portKey, families }: Device): DeviceSetup {
    const isSeparate = this.#options.mode === "separate";
    return {
      ...{ name, listenPort, portKey },
      peerOf: (peer) =>
        isSeparate
          ? peerOfFamily(peer, families[0]!, this.#options, this.#own)
          : peerOfBoth(peer, this.#options, this.#own),
    };
  }

  #judge(peer: Lease): PeerPlan {
    const reads = this.#devices.map((device) => this.#setupOf(device).peerOf(peer));
    const problem = reads.find((read) => typeof read === "string");
    if (problem === undefined) return carried(PATHS.wireguard);
    const paths = reads.every((read) => typeof read === "string") ? [] : PATHS.wireguard;
    return { entries: [], paths, problem };
  }
}

/**
 * Refuses devices of our names that others made. The original's carry no mark, and have the key of the key file.
 *
 * @throws {LinkConflictError}
 */
async function refuseForeign(
  control: WireguardControl,
  names: DeviceNames,
  { links }: OpenContext,
  publicKey: string,
): Promise<void> {
  for (const link of links) {
    if (![names.main, names.ipv6].includes(link.name) || link.alias !== undefined) continue;
    const device = await control.read(link.name).catch(() => undefined);
    const isOurs = device && (device.publicKey === undefined || device.publicKey === publicKey);
    if (!isOurs) throw strangerError(link);
  }
}

/** One device for all families, or one each (Mode separate). */
function devicesOf(
  families: readonly Family[],
  { main, ipv6 }: DeviceNames,
  { mode, listenPort, listenPortV6 }: WireguardOptions,
): Device[] {
  if (mode !== "separate") return [{ name: main, listenPort, portKey: "ListenPort", families }];
  return families.map((family) =>
    family.name === "ipv4"
      ? { name: main, listenPort, portKey: "ListenPort", families: [family] }
      : { name: ipv6, listenPort: listenPortV6, portKey: "ListenPortV6", families: [family] }
  );
}

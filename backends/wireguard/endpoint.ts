/**
 * From a peer's lease to what a device needs to know of it.
 *
 * @module
 */
import { addressProblem, namedType } from "../../lib/backend/peer_plan.ts";
import type { Json, JsonObject } from "../../lib/config/types.ts";
import { isLinkLocal } from "../../lib/external/addresses.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { familiesOf, type Family, IPV6, type PerFamily } from "../../lib/net/family.ts";
import { formatIp, type Ip, sameIp } from "../../lib/net/ip.ts";
import { containsIp, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { isKey } from "../../lib/wireguard/keys.ts";
import { type Endpoint, formatEndpoint, type WireguardPeer } from "../../lib/wireguard/types.ts";
import type { WireguardOptions } from "./options.ts";

/** What a lease's BackendData says. */
interface PeerData {
  readonly publicKey: string;
  /** Undefined where the lease names none, as those of old versions. */
  readonly port: number | undefined;
}

/** Addresses that mean something on a private network only (RFC 1918, RFC 4193). */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].map(parsePrefix);

/** As after cloning a host with its key file. */
const OWN_KEY = "it has this host's own key: run flanneld wireguard rotate on one of the two";

/** This host, as far as the choice of an endpoint goes. */
export interface OwnEnd {
  readonly publicKey: string;
  /** The interface's. */
  readonly addresses: PerFamily<Ip>;
  /** Those that it publishes. */
  readonly publicIps: PerFamily<Ip>;
}

/**
 * The peer on the device of one family (Mode separate).
 *
 * @returns A sentence that says why there is none.
 */
export function peerOfFamily(
  peer: Lease,
  family: Family,
  options: WireguardOptions,
  own: OwnEnd,
): WireguardPeer | string {
  const read = readPeer(peer);
  if (typeof read === "string") return read;
  const subnet = peer.subnets[family.name], ip = peer.attributes.publicIps[family.name];
  if (!subnet) return `it has no ${family.label} subnet`;
  if (!ip) return `it has no public ${family.label} address`;
  const data = read[family.name];
  if (!data) return `its lease has no PublicKey for ${family.label}`;
  const usual = family.name === "ipv4" ? options.listenPort : options.listenPortV6;
  const endpoint = { ip, port: data.port ?? usual };
  return fault(data.publicKey, endpoint, own, usual) ??
    wireguardPeer(data.publicKey, endpoint, [subnet], options);
}

/**
 * The peer on the one device of both families.
 *
 * @returns A sentence that says why there is none.
 */
export function peerOfBoth(peer: Lease, options: WireguardOptions, own: OwnEnd): WireguardPeer | string {
  const read = readPeer(peer);
  if (typeof read === "string") return read;
  const subnets = familiesOf(peer.subnets).map((family) => peer.subnets[family.name]!);
  const data = read.ipv4 ?? read.ipv6!;
  const ip = chooseAddress(peer.attributes.publicIps, options.mode, own.publicIps);
  if (!ip) return "it has no public address of a family that this host has";
  const endpoint = { ip, port: portOfOne(read, options) };
  return fault(data.publicKey, endpoint, own, options.listenPort) ??
    wireguardPeer(data.publicKey, endpoint, subnets, options);
}

/**
 * Why a peer is this host itself, or no host. Others may have its public address, as hosts behind one NAT do, on other
 * ports.
 *
 * @param listenPort The own device's.
 */
function fault(
  publicKey: string,
  endpoint: Endpoint,
  { publicKey: ownKey, addresses, publicIps }: OwnEnd,
  listenPort: number,
): string | undefined {
  if (publicKey === ownKey) return OWN_KEY;
  const { ip, port } = endpoint, { name } = ip.family;
  if (port === listenPort && (sameIp(ip, addresses[name]) || sameIp(ip, publicIps[name]))) {
    return `${formatEndpoint(endpoint)} is this host's own address`;
  }
  if (!hasScope(ip)) return addressProblem(ip);
  return `${
    formatIp(ip)
  } is a link-local address, which a WireGuard endpoint can't be: publish another one (-public-ipv6)`;
}

/** Whether an address means something only together with an interface: WireGuard would send to any that has the prefix. */
function hasScope(ip: Ip): boolean {
  return ip.family === IPV6 && isLinkLocal(ip);
}

/**
 * The port of a peer with one device. The original publishes ListenPortV6 in BackendV6Data, and listens on ListenPort
 * alone: what BackendData says is right for both families.
 */
function portOfOne(
  { ipv4, ipv6 }: PerFamily<PeerData>,
  { listenPort, listenPortV6 }: WireguardOptions,
): number {
  const port = (ipv4 ?? ipv6)?.port;
  if (port === undefined || (!ipv4 && port === listenPortV6)) return listenPort;
  return port;
}

/** The address that a peer's datagrams go to; the rules of `auto` are the original's. */
function chooseAddress(
  { ipv4, ipv6 }: PerFamily<Ip>,
  mode: WireguardOptions["mode"],
  own: PerFamily<Ip>,
): Ip | undefined {
  // Each host with IPv6 has a link-local address, also where the underlay is IPv4.
  if (ipv4 && ipv6 && hasScope(ipv6)) return ipv4;
  if (mode === "ipv4") return ipv4 ?? ipv6;
  if (mode === "ipv6") return ipv6 ?? ipv4;
  if (!ipv6 || !own.ipv6) return ipv4 ?? ipv6;
  if (!ipv4 || !own.ipv4) return ipv6;
  if (!isPrivate(ipv4)) return ipv4;
  return !isPrivate(ipv6) && !isPrivate(own.ipv6) ? ipv6 : ipv4;
}

function isPrivate(ip: Ip): boolean {
  return PRIVATE.some((prefix) => prefix.family === ip.family && containsIp(prefix, ip));
}

function wireguardPeer(
  publicKey: string,
  endpoint: Endpoint,
  allowedIps: Prefix[],
  { psk, keepalive }: WireguardOptions,
): WireguardPeer {
  return { publicKey, endpoint, keepalive, allowedIps, ...(psk === undefined ? {} : { presharedKey: psk }) };
}

/** What the lease says of both families; a sentence where it says nothing that can be used. */
function readPeer(peer: Lease): PerFamily<PeerData> | string {
  const { backendType, backendData } = peer.attributes;
  if (backendType !== "wireguard") return `its lease has ${namedType(peer)}, not wireguard`;
  const ipv4 = readData(backendData.ipv4), ipv6 = readData(backendData.ipv6);
  if (!ipv4 && !ipv6) return "its lease has no usable PublicKey";
  return { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) };
}

function readData(data: Json | undefined): PeerData | undefined {
  if (data === null || typeof data !== "object" || Array.isArray(data)) return undefined;
  const { PublicKey: publicKey, Port: port } = data as JsonObject;
  if (typeof publicKey !== "string" || !isKey(publicKey)) return undefined;
  const isPort = typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536;
  return { publicKey, port: isPort ? port : undefined };
}

/**
 * WireGuard in the kernel: generic netlink, family `wireguard`, version 1 (linux/wireguard.h).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { findGenericFamily, genericAttributes, genericRequest } from "../netlink/generic.ts";
import { type AttributeReader, MalformedMessageError, type Message } from "../netlink/reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "../netlink/socket.ts";
import type { MessageWriter } from "../netlink/writer.ts";
import { IPV4, IPV6 } from "../net/family.ts";
import { type Ip, ipFromBytes } from "../net/ip.ts";
import { type Prefix, prefixOf } from "../net/prefix.ts";
import {
  type Endpoint,
  greetingKeepalive,
  type PeerChange,
  type PeerFailure,
  type WireguardControl,
  type WireguardDevice,
  type WireguardDeviceChange,
  type WireguardPeer,
  type WireguardPeerState,
} from "./types.ts";

const FAMILY = "wireguard", VERSION = 1;
const WG_CMD_GET_DEVICE = 0, WG_CMD_SET_DEVICE = 1;
const WGDEVICE_A_IFNAME = 2, WGDEVICE_A_PRIVATE_KEY = 3, WGDEVICE_A_PUBLIC_KEY = 4;
const WGDEVICE_A_LISTEN_PORT = 6, WGDEVICE_A_PEERS = 8;
const WGPEER_A_PUBLIC_KEY = 1, WGPEER_A_PRESHARED_KEY = 2, WGPEER_A_FLAGS = 3, WGPEER_A_ENDPOINT = 4;
const WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL = 5, WGPEER_A_LAST_HANDSHAKE_TIME = 6;
const WGPEER_A_RX_BYTES = 7, WGPEER_A_TX_BYTES = 8, WGPEER_A_ALLOWEDIPS = 9;
const WGPEER_F_REMOVE_ME = 1, WGPEER_F_REPLACE_ALLOWEDIPS = 2, WGPEER_F_UPDATE_ONLY = 4;
const WGALLOWEDIP_A_FAMILY = 1, WGALLOWEDIP_A_IPADDR = 2, WGALLOWEDIP_A_CIDR_MASK = 3;

/** A pre-shared key of zeros is none (linux/wireguard.h). */
const NO_KEY = Buffer.alloc(32).toString("base64");

/** WireGuard of this kernel; undefined where it has none. @throws {NetlinkError} For any other refusal. */
export function openKernelWireguard(socket: NetlinkSocket): KernelWireguard | undefined {
  const family = findGenericFamily(socket, FAMILY);
  return family === undefined ? undefined : new KernelWireguard(socket, family);
}

/** See the module's text. */
class KernelWireguard implements WireguardControl {
  readonly #socket: NetlinkSocket;
  readonly #family: number;

  /** @param family The number that the kernel gave to `wireguard`. */
  constructor(socket: NetlinkSocket, family: number) {
    this.#socket = socket;
    this.#family = family;
  }

  read(device: string): Promise<WireguardDevice> {
    const request = this.#request(WG_CMD_GET_DEVICE, `read the WireGuard device ${device}`, (writer) => {
      writer.attributeString(WGDEVICE_A_IFNAME, device);
    });
    return Promise.resolve(joinParts(this.#socket.dump(request, readDevicePart)));
  }

  configure(device: string, { privateKey, listenPort }: WireguardDeviceChange): Promise<void> {
    this.#socket.execute(
      this.#request(WG_CMD_SET_DEVICE, `configure the WireGuard device ${device}`, (writer) => {
        writer.attributeString(WGDEVICE_A_IFNAME, device);
        if (privateKey !== undefined) {
          writer.attributeBytes(WGDEVICE_A_PRIVATE_KEY, Buffer.from(privateKey, "base64"));
        }
        if (listenPort !== undefined) writer.attributeU16(WGDEVICE_A_LISTEN_PORT, listenPort);
      }),
    );
    return Promise.resolve();
  }

  apply(device: string, changes: readonly PeerChange[]): Promise<PeerFailure[]> {
    const failures = this.#socket.batch(changes.map((change) => this.#peerRequest(device, change)));
    return Promise.resolve(failures.map(({ index, error }) => ({ change: changes[index]!, error })));
  }

  #peerRequest(device: string, change: PeerChange): NetlinkRequest {
    const key = change.verb === "set" ? change.peer.publicKey : change.publicKey;
    return this.#request(WG_CMD_SET_DEVICE, `${change.verb} the peer ${key} of ${device}`, (writer) => {
      writer.attributeString(WGDEVICE_A_IFNAME, device);
      writer.nested(WGDEVICE_A_PEERS, () => writeChange(writer, change));
    });
  }

  #request(command: number, what: string, encode: (writer: MessageWriter) => void): NetlinkRequest {
    return genericRequest({
      describe: () => what,
      family: this.#family,
      command,
      version: VERSION,
      flags: 0,
      encode,
    });
  }
}

function writeChange(writer: MessageWriter, change: PeerChange): void {
  if (change.verb === "remove") {
    return writeEntry(
      writer,
      change.publicKey,
      () => writer.attributeU32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME),
    );
  }
  const { peer, greet } = change;
  if (!greet) return writeEntry(writer, peer.publicKey, () => writePeer(writer, peer));
  writeEntry(
    writer,
    peer.publicKey,
    () => writePeer(writer, { ...peer, keepalive: greetingKeepalive(peer) }),
  );
  writeEntry(writer, peer.publicKey, () => {
    writer.attributeU32(WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY);
    writer.attributeU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer.keepalive);
  });
}

/** One element of the list of peers. */
function writeEntry(writer: MessageWriter, publicKey: string, rest: () => void): void {
  writer.nested(0, () => {
    writer.attributeBytes(WGPEER_A_PUBLIC_KEY, Buffer.from(publicKey, "base64"));
    rest();
  });
}

function writePeer(writer: MessageWriter, peer: WireguardPeer): void {
  const { presharedKey, endpoint, keepalive, allowedIps } = peer;
  writer.attributeBytes(WGPEER_A_PRESHARED_KEY, Buffer.from(presharedKey ?? NO_KEY, "base64"));
  if (endpoint) writer.attributeBytes(WGPEER_A_ENDPOINT, socketAddress(endpoint));
  writer.attributeU16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepalive);
  writer.attributeU32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
  writer.nested(WGPEER_A_ALLOWEDIPS, () => {
    for (const { family, base, length } of allowedIps) {
      writer.nested(0, () => {
        writer.attributeU16(WGALLOWEDIP_A_FAMILY, family.af);
        writer.attributeIpValue(WGALLOWEDIP_A_IPADDR, family, base);
        writer.attributeU8(WGALLOWEDIP_A_CIDR_MASK, length);
      });
    }
  });
}

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes). */
function socketAddress({ ip, port }: Endpoint): Uint8Array {
  const view = new DataView(new ArrayBuffer(ip.family === IPV4 ? 16 : 28));
  view.setUint16(0, ip.family.af, true);
  view.setUint16(2, port);
  if (ip.family === IPV4) view.setUint32(4, Number(ip.value));
  else {
    view.setBigUint64(8, ip.value >> 64n);
    view.setBigUint64(16, ip.value & 0xffff_ffff_ffff_ffffn);
  }
  return new Uint8Array(view.buffer);
}

function readSocketAddress(bytes: Uint8Array<ArrayBuffer>): Endpoint | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const af = bytes.length < 16 ? 0 : view.getUint16(0, true);
  if (af === IPV4.af) return { ip: ipFromBytes(bytes.subarray(4, 8)), port: view.getUint16(2) };
  if (af !== IPV6.af || bytes.length < 28) return undefined;
  return { ip: ipFromBytes(bytes.subarray(8, 24)), port: view.getUint16(2) };
}

/** What one message of a dump says of the device. */
type DevicePart = { publicKey?: string; listenPort?: number; peers: PeerPart[] };

type PeerPart = { -readonly [key in keyof WireguardPeerState]: WireguardPeerState[key] } & {
  allowedIps: Prefix[];
};

/** Reads a message of a dump. @throws {MalformedMessageError} */
export function readDevicePart(message: Message): DevicePart {
  const part: DevicePart = { peers: [] };
  const attributes = genericAttributes(message);
  while (attributes.next()) {
    if (attributes.type === WGDEVICE_A_PUBLIC_KEY) part.publicKey = readKey(attributes);
    else if (attributes.type === WGDEVICE_A_LISTEN_PORT) part.listenPort = attributes.u16();
    else if (attributes.type === WGDEVICE_A_PEERS) {
      const peers = attributes.nested();
      while (peers.next()) part.peers.push(readPeer(peers.nested()));
    }
  }
  return part;
}

function readPeer(attributes: AttributeReader): PeerPart {
  const peer: PeerPart = {
    ...{ publicKey: "", keepalive: 0, allowedIps: [] as Prefix[] },
    ...{ lastHandshake: 0, receivedBytes: 0, sentBytes: 0 },
  };
  while (attributes.next()) {
    switch (attributes.type) {
      case WGPEER_A_PUBLIC_KEY:
        peer.publicKey = readKey(attributes);
        break;
      case WGPEER_A_PRESHARED_KEY: {
        const key = readKey(attributes);
        if (key !== NO_KEY) peer.presharedKey = key;
        break;
      }
      case WGPEER_A_ENDPOINT: {
        const endpoint = readSocketAddress(attributes.bytes());
        if (endpoint) peer.endpoint = endpoint;
        break;
      }
      case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        peer.keepalive = attributes.u16();
        break;
      // struct __kernel_timespec { s64 tv_sec; s64 tv_nsec; }
      case WGPEER_A_LAST_HANDSHAKE_TIME:
        peer.lastHandshake = attributes.u64();
        break;
      case WGPEER_A_RX_BYTES:
        peer.receivedBytes = attributes.u64();
        break;
      case WGPEER_A_TX_BYTES:
        peer.sentBytes = attributes.u64();
        break;
      case WGPEER_A_ALLOWEDIPS: {
        const list = attributes.nested();
        while (list.next()) peer.allowedIps.push(readAllowedIp(list.nested()));
      }
    }
  }
  if (peer.publicKey === "") throw new MalformedMessageError("A WireGuard peer without its key");
  return peer;
}

function readAllowedIp(attributes: AttributeReader): Prefix {
  let ip: Ip | undefined, length = 0;
  while (attributes.next()) {
    if (attributes.type === WGALLOWEDIP_A_IPADDR) ip = attributes.ip();
    else if (attributes.type === WGALLOWEDIP_A_CIDR_MASK) length = attributes.u8();
  }
  if (!ip || length > ip.family.bits) throw new MalformedMessageError("An allowed IP that isn't a prefix");
  return prefixOf(ip, length);
}

/** One device of the messages of a dump: a peer whose allowed IPs don't fit goes on in the next one. */
export function joinParts(parts: readonly DevicePart[]): WireguardDevice {
  const peers: PeerPart[] = [];
  for (const part of parts) {
    for (const peer of part.peers) {
      const last = peers.at(-1);
      if (last?.publicKey === peer.publicKey) last.allowedIps = [...last.allowedIps, ...peer.allowedIps];
      else peers.push(peer);
    }
  }
  const publicKey = parts.find((part) => part.publicKey !== undefined)?.publicKey;
  const listenPort = parts.find((part) => part.listenPort !== undefined)?.listenPort ?? 0;
  return { ...(publicKey === undefined ? {} : { publicKey }), listenPort, peers };
}

const KEY_BYTES = 32;

function readKey(attribute: AttributeReader): string {
  if (attribute.length !== KEY_BYTES) {
    throw new MalformedMessageError(`A WireGuard key of ${attribute.length} bytes`);
  }
  return Buffer.from(attribute.bytes()).toString("base64");
}

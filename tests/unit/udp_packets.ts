/**
 * Packets of a small udp network of either family: what containers send, and how it looks on the wire.
 *
 * @module
 */
import type { Offloads } from "../../backends/udp/shared/offloads.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { ipToBytes } from "../../lib/net/ip.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { ALL_OFFLOADS, type FakePeer, type ReceivedMessage } from "./udp_fake_io.ts";
import { buildPacket, type FlowPacket, randomPacket } from "./udp_reference.ts";

/** The network in one family. */
export interface Net {
  readonly version: 4 | 6;
  readonly peer: FakePeer;
  readonly other: FakePeer;
  /** An address that isn't a peer's, outside and inside. */
  readonly stranger: string;
  /** Containers of this host, of the peer and of the other peer; one of a subnet without a peer; one elsewhere. */
  readonly own: Uint8Array;
  readonly theirs: Uint8Array;
  readonly others: Uint8Array;
  readonly nobodys: Uint8Array;
  readonly outside: Uint8Array;
  /** This host's address in the tunnel. */
  readonly tunnel: Uint8Array;
  /** Length of an IP header, and where in it addresses and the TTL stand. */
  readonly header: number;
  readonly source: number;
  readonly ttl: number;
}

/** An address as bytes. */
export const ip = (text: string): Uint8Array => ipToBytes(parseIp(text));

/** The network over IPv4. */
export const NET4: Net = {
  version: 4,
  peer: { subnet: "10.5.2.0/24", address: "172.30.0.2", port: 8285 },
  other: { subnet: "10.5.3.0/24", address: "172.30.0.3", port: 8286 },
  stranger: "172.30.0.9",
  ...{ own: ip("10.5.1.2"), theirs: ip("10.5.2.2"), others: ip("10.5.3.9"), nobodys: ip("10.5.9.9") },
  ...{ outside: ip("8.8.8.8"), tunnel: ip("10.5.1.0"), header: 20, source: 12, ttl: 8 },
};

/** The network over IPv6. */
export const NET6: Net = {
  version: 6,
  peer: { subnet: "fc00:0:0:2::/64", address: "fd30::2", port: 8285 },
  other: { subnet: "fc00:0:0:3::/64", address: "fd30::3", port: 8286 },
  stranger: "fd30::9",
  ...{ own: ip("fc00:0:0:1::2"), theirs: ip("fc00:0:0:2::2"), others: ip("fc00:0:0:3::9") },
  ...{ nobodys: ip("fc00:0:0:9::9"), outside: ip("2001:db8::1"), tunnel: ip("fc00:0:0:1::") },
  ...{ header: 40, source: 8, ttl: 7 },
};

/** Registers a test for each family. */
export function familyTest(name: string, body: (net: Net) => void): void {
  for (const net of [NET4, NET6]) Deno.test(`IPv${net.version}: ${name}`, () => body(net));
}

/** A packet from this host's container to the peer's. */
export function outgoing(net: Net, change: Partial<FlowPacket> = {}, length = 100): FlowPacket {
  return {
    ...randomPacket(randomSource(41), length, { version: net.version, protocol: "tcp" }),
    ...{ source: net.own, destination: net.theirs, ttl: 63, flags: 0x10, dontFragment: true },
    options: new Uint8Array(),
    ...change,
  };
}

/** A packet from the peer's container to this host's. */
export function incoming(net: Net, change: Partial<FlowPacket> = {}, length = 100): FlowPacket {
  return outgoing(net, { source: net.theirs, destination: net.own, ...change }, length);
}

/** A packet with the virtio header of one that is complete. */
export const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array([...new Uint8Array(10), ...bytes]);

/** A TCP super-packet as the TUN gives it. */
export function superPacket(packet: FlowPacket, size: number): Uint8Array {
  const start = packet.version === 4 ? 20 : 40, type = packet.version === 4 ? 1 : 4;
  const vnet = [1, type, start + 20, 0, size & 255, size >>> 8, start, 0, 16, 0];
  return new Uint8Array([...vnet, ...buildPacket(packet)]);
}

/** The packet as it is one hop later. */
export const decremented = (packet: FlowPacket): Uint8Array =>
  new Uint8Array(buildPacket({ ...packet, ttl: packet.ttl - 1 }));

/** A message from a peer. */
export function from(
  peer: FakePeer,
  bytes: Uint8Array,
  more: Partial<ReceivedMessage> = {},
): ReceivedMessage {
  return { address: peer.address, port: peer.port, bytes, ...more };
}

/** All offloads but these. */
export const offloads = (change: Partial<Offloads>): Offloads => ({ ...ALL_OFFLOADS, ...change });

/** Length of a packet with `payload` bytes of TCP payload. */
export const sizeOf = (net: Net, payload: number): number => net.header + 20 + payload;

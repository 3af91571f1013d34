/**
 * Frames that announce to a wire's hosts which MAC an address has now: gratuitous ARP and unsolicited neighbour
 * advertisements. Whoever has an entry for the address replaces it at once, instead of sending to the old MAC until
 * the entry is doubted.
 *
 * @module
 */
import { type Ip, ipToBytes } from "../net/ip.ts";
import { type Mac, macToBytes } from "../net/mac.ts";
import { write16, write32 } from "./headers.ts";
import { fold } from "./sum.ts";

/** EtherTypes (linux/if_ether.h). */
const ETH_P_IP = 0x0800, ETH_P_ARP = 0x0806, ETH_P_IPV6 = 0x86dd;
const ETHERNET_HEADER = 14, ARP_BODY = 28, IPV6_HEADER = 40, ADVERTISEMENT = 32;
const ICMPV6 = 58;
/** Neighbours drop advertisements that may have come through a router (RFC 4861, 7.1.2). */
const HOP_LIMIT = 255;
const NEIGHBOR_ADVERTISEMENT = 136;
/** Flags of an advertisement: the sender is a router; the entry that is there is overridden. */
const ROUTER = 0x8000_0000, OVERRIDE = 0x2000_0000;
/** Option: the target's link-layer address, in units of 8 bytes. */
const TARGET_LINK_ADDRESS = 2;
/** ff02::1, all nodes of the link. */
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const BROADCAST = new Uint8Array(6).fill(0xff);

/** Which announcement an address has. */
export interface Announcement {
  readonly ip: Ip;
  /** The MAC that it has from now on. */
  readonly mac: Mac;
  /**
   * IPv6: whether the host forwards. Neighbours that have it as a default router drop it when it says that it is
   * none (RFC 4861, 7.2.5).
   */
  readonly isRouter: boolean;
}

/** The whole Ethernet frame that announces an address. */
export function announcementFrame(announcement: Announcement): Uint8Array<ArrayBuffer> {
  return announcement.ip.family.version === 4
    ? gratuitousArp(announcement)
    : unsolicitedAdvertisement(announcement);
}

/** An ARP announcement (RFC 5227, 3): a broadcast request in which sender and target are the same address. */
function gratuitousArp({ ip, mac }: Announcement): Uint8Array<ArrayBuffer> {
  const frame = ethernetFrame(BROADCAST, mac, ETH_P_ARP, ARP_BODY);
  const body = frame.subarray(ETHERNET_HEADER);
  const [address, hardware] = [ipToBytes(ip), macToBytes(mac)];
  write16(body, 0, 1); // Ethernet
  write16(body, 2, ETH_P_IP);
  body[4] = hardware.length;
  body[5] = address.length;
  write16(body, 6, 1); // request
  body.set(hardware, 8);
  body.set(address, 14);
  body.set(address, 24);
  return frame;
}

/** RFC 4861, 7.2.6: to all nodes, with the new address as an option and the override flag. */
function unsolicitedAdvertisement({ ip, mac, isRouter }: Announcement): Uint8Array<ArrayBuffer> {
  const group = Uint8Array.of(0x33, 0x33, ...ALL_NODES.subarray(12));
  const frame = ethernetFrame(group, mac, ETH_P_IPV6, IPV6_HEADER + ADVERTISEMENT);
  const packet = frame.subarray(ETHERNET_HEADER);
  const address = ipToBytes(ip);
  packet[0] = 0x60;
  write16(packet, 4, ADVERTISEMENT);
  packet[6] = ICMPV6;
  packet[7] = HOP_LIMIT;
  packet.set(address, 8);
  packet.set(ALL_NODES, 24);
  const message = packet.subarray(IPV6_HEADER);
  message[0] = NEIGHBOR_ADVERTISEMENT;
  write32(message, 4, (isRouter ? ROUTER : 0) | OVERRIDE);
  message.set(address, 8);
  message[24] = TARGET_LINK_ADDRESS;
  message[25] = 1;
  message.set(macToBytes(mac), 26);
  // The pseudo-header (RFC 8200, 8.1): both addresses, length and protocol.
  const sum = sum16(packet.subarray(8, IPV6_HEADER)) + ADVERTISEMENT + ICMPV6 + sum16(message);
  write16(message, 2, ~fold(sum));
  return frame;
}

function ethernetFrame(
  to: Uint8Array,
  from: Mac,
  type: number,
  payload: number,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(new ArrayBuffer(ETHERNET_HEADER + payload));
  frame.set(to);
  frame.set(macToBytes(from), 6);
  write16(frame, 12, type);
  return frame;
}

/** The sum of big-endian 16-bit words, not folded; an even number of bytes. */
function sum16(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  return sum;
}

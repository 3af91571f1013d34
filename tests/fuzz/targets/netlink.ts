/**
 * Netlink datagrams: the frame, the attributes, every noun.
 *
 * @module
 */
import { addressRequest, decodeAddress } from "../../../lib/netlink/address.ts";
import { readAck } from "../../../lib/netlink/error.ts";
import { genericAttributes } from "../../../lib/netlink/generic.ts";
import { decodeLink } from "../../../lib/netlink/link.ts";
import { decodeChange } from "../../../lib/netlink/monitor.ts";
import { decodeFdb, decodeNeighbour, fdbRequest, neighbourRequest } from "../../../lib/netlink/neighbour.ts";
import { decodeNexthop, nexthopRequest } from "../../../lib/netlink/nexthop.ts";
import { decodeRemoval } from "../../../lib/netlink/nftables.ts";
import {
  type AttributeReader,
  MalformedMessageError,
  type Message,
  readMessages,
} from "../../../lib/netlink/reader.ts";
import { decodeRoute, routeRequest } from "../../../lib/netlink/route.ts";
import type { NetlinkRequest } from "../../../lib/netlink/socket.ts";
import { MessageWriter } from "../../../lib/netlink/writer.ts";
import type { Ip } from "../../../lib/net/ip.ts";
import { type FuzzTarget, property, show } from "../target.ts";

/** Attributes nest at most so deep in what is walked here. */
const MAX_NESTING = 4;

const writer = new MessageWriter();

export const NETLINK_TARGETS: readonly FuzzTarget[] = [{
  name: "netlink",
  what: "netlink datagrams: links, addresses, routes, neighbours, next hops, nftables, acknowledgements",
  errors: [MalformedMessageError],
  dictionary: [
    "vxlan\0",
    "ipip\0",
    "tun\0",
    "flannel.1\0",
    "\x08\0\x01\0",
    "\x14\0\x01\0",
    "\x05\0",
    "\x04\0\x01\x80",
  ],
  open: () => decodeDatagram,
}];

function decodeDatagram(input: Uint8Array<ArrayBuffer>): void {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const messages: Message[] = [];
  let malformed: unknown;
  try {
    readMessages(view, input.length, (message) => messages.push(message));
  } catch (error) {
    malformed = error;
  }
  for (const message of messages) {
    property(
      message.start <= message.end && message.end <= input.length,
      "a message ends behind its datagram",
    );
    for (const decode of DECODERS) {
      try {
        decode(message);
      } catch (error) {
        // One decoder's refusal mustn't hide what the next one does.
        if (!(error instanceof MalformedMessageError)) throw error;
      }
    }
  }
  if (malformed !== undefined) throw malformed;
}

/** Each message goes to every decoder, whatever its type: the kernel's answers carry the type of what was asked for, not of who reads them. */
const DECODERS: readonly ((message: Message) => void)[] = [
  (message) => bounded(decodeLink(message), message),
  checkAddress,
  checkRoute,
  checkNeighbour,
  checkFdb,
  checkNexthop,
  (message) => bounded(decodeChange(message), message),
  (message) => bounded(decodeRemoval(message), message),
  (message) => bounded(readAck(message), message),
  (message) => bounded(readAck(message, true), message),
  (message) => walk(genericAttributes(message), MAX_NESTING),
];

/** What a decoder makes of a message isn't longer than the message, by more than the names of its fields. */
function bounded(value: unknown, message: Message): void {
  const length = show(value).length;
  property(length < 4096 + 16 * (message.end - message.start), `${length} characters out of a message`);
}

function walk(attributes: AttributeReader, levels: number): void {
  while (attributes.next()) {
    attributes.string();
    attributes.mac();
    if (levels === 0) continue;
    try {
      walk(attributes.nested(), levels - 1);
    } catch (error) {
      if (!(error instanceof MalformedMessageError)) throw error;
    }
  }
}

function checkIp({ family, value }: Ip): void {
  property(value >= 0n && value >> BigInt(family.bits) === 0n, "an address with more bits than its family");
}

function checkAddress(message: Message): void {
  const address = decodeAddress(message);
  if (!address) return;
  checkIp(address.ip);
  property(address.prefixLength <= address.ip.family.bits, "an address's prefix is longer than the address");
  const { linkIndex, ip, prefixLength, scope } = address;
  comesBack(addressRequest("replace", address), decodeAddress, { linkIndex, ip, prefixLength, scope });
}

function checkRoute(message: Message): void {
  const route = decodeRoute(message);
  if (!route) return;
  const { family, destination, gateway, preferredSource } = route;
  checkIp({ family, value: destination.base });
  property(destination.family === family, "a route's destination is of another family");
  property(destination.length <= family.bits, "a route's prefix is longer than an address");
  for (const ip of [gateway, preferredSource]) if (ip) checkIp(ip);
  // A gateway of the other family is written in another attribute, and drops name no link.
  if (route.multipath || gateway && gateway.family !== family || route.nexthopId !== undefined) return;
  const { protocol, table } = route;
  comesBack(routeRequest("replace", route), decodeRoute, {
    ...{ family, destination, protocol, table, type: route.type, metric: route.metric },
    ...gateway ? { gateway } : {},
    ...preferredSource ? { preferredSource } : {},
  });
}

function checkNeighbour(message: Message): void {
  const neighbour = decodeNeighbour(message);
  if (!neighbour) return;
  checkIp(neighbour.ip);
  const { linkIndex, ip, mac } = neighbour;
  comesBack(neighbourRequest("replace", neighbour), decodeNeighbour, {
    linkIndex,
    ip,
    ...mac ? { mac } : {},
  });
}

function checkFdb(message: Message): void {
  const entry = decodeFdb(message);
  if (!entry) return;
  if (entry.remote) checkIp(entry.remote);
  const { linkIndex, mac, remote } = entry;
  comesBack(fdbRequest("replace", entry), decodeFdb, { linkIndex, mac, ...remote ? { remote } : {} });
}

function checkNexthop(message: Message): void {
  const nexthop = decodeNexthop(message);
  if (!nexthop) return;
  const { id, family, protocol, onlink, gateway, linkIndex } = nexthop;
  if (gateway) checkIp(gateway);
  if (linkIndex === undefined) return;
  comesBack(nexthopRequest("replace", { ...nexthop, linkIndex }), decodeNexthop, {
    ...{ id, family, protocol, onlink, linkIndex },
    ...gateway ? { gateway } : {},
  });
}

/** What is written of a value that was read is read as the same value. */
function comesBack(
  request: NetlinkRequest,
  decode: (message: Message) => unknown,
  wanted: Readonly<Record<string, unknown>>,
): void {
  writer.reset();
  writer.begin(request.type, 0, 1);
  request.encode(writer);
  writer.end();
  const bytes = writer.written();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  readMessages(view, bytes.length, (message) => {
    const found = decode(message) as Record<string, unknown>;
    const same = Object.entries(wanted).every(([name, value]) => show(found[name]) === show(value));
    property(same, `${show(wanted)} is read again as ${show(found)}`);
  });
}

/**
 * Neighbour entries (ARP, ND) and the forwarding database of VXLAN devices, which the kernel keeps as
 * neighbours of the family AF_BRIDGE. Structures from linux/neighbour.h.
 *
 * @module
 */
import { ENODEV } from "../ffi/errno.ts";
import type { Family } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import type { Mac } from "../net/mac.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { attributesAfter, type Message } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { FdbNeighbour, Neighbour } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** struct ndmsg { u8 family; u8 pad1; u16 pad2; i32 ifindex; u16 state; u8 flags; u8 type; } */
const NDMSG_BYTES = 12;

/** The neighbours of a family, of one link if `linkIndex` says so. @throws {NetlinkError} */
export function listNeighbours(
  socket: NetlinkSocket,
  filter: { readonly family: Family; readonly linkIndex?: number },
): Neighbour[] {
  const { family, linkIndex } = filter;
  const request: NetlinkRequest = {
    describe: () => `list the ${family.label} neighbours`,
    type: c.RTM_GETNEIGH,
    flags: 0,
    encode(writer) {
      // Strict checks want the index as an attribute, and 0 in the structure.
      writeHeader(writer, family.af, 0, 0, 0);
      if (linkIndex !== undefined) writer.attributeU32(c.NDA_IFINDEX, linkIndex);
    },
  };
  return dumpOrNothing(socket, request, (message) => {
    const neighbour = decodeNeighbour(message);
    if (neighbour?.ip.family !== family) return undefined;
    return linkIndex === undefined || neighbour.linkIndex === linkIndex ? neighbour : undefined;
  });
}

/** A neighbour to be set or removed. */
export interface NeighbourSpec {
  readonly linkIndex: number;
  readonly ip: Ip;
  /** Needed to set one. */
  readonly mac?: Mac;
  /** NUD_ state. @default NUD_PERMANENT */
  readonly state?: number;
}

/** The request to set a neighbour entry, whatever was there, or to remove it (ENOENT if it isn't there). */
export function neighbourRequest(operation: "replace" | "delete", neighbour: NeighbourSpec): NetlinkRequest {
  const { ip, mac, linkIndex } = neighbour;
  const replace = operation === "replace";
  return {
    describe: () => {
      const address = mac === undefined ? "" : ` (${mac})`;
      return `${operation} the neighbour ${formatIp(ip)}${address} on link ${linkIndex}`;
    },
    type: replace ? c.RTM_NEWNEIGH : c.RTM_DELNEIGH,
    flags: replace ? c.NLM_F_CREATE | c.NLM_F_REPLACE : 0,
    encode(writer) {
      writeHeader(writer, ip.family.af, linkIndex, neighbour.state ?? c.NUD_PERMANENT, 0);
      writer.attributeIp(c.NDA_DST, ip);
      if (replace && mac !== undefined) writer.attributeMac(c.NDA_LLADDR, mac);
    },
  };
}

/** The forwarding database of one VXLAN device; empty if there is no such link. @throws {NetlinkError} */
export function listFdb(socket: NetlinkSocket, linkIndex: number): FdbNeighbour[] {
  const request: NetlinkRequest = {
    describe: () => `list the forwarding database of link ${linkIndex}`,
    type: c.RTM_GETNEIGH,
    flags: 0,
    // Here the structure's index is the filter (valid_fdb_dump_strict).
    encode: (writer) => writeHeader(writer, c.AF_BRIDGE, linkIndex, 0, 0),
  };
  return dumpOrNothing(socket, request, (message) => {
    const entry = decodeFdb(message);
    return entry?.linkIndex === linkIndex ? entry : undefined;
  });
}

/** A forwarding entry to be set or removed: behind which VTEP a MAC address is. */
export interface FdbSpec {
  readonly linkIndex: number;
  readonly mac: Mac;
  /** The VTEP's address; a delete without it removes all destinations. */
  readonly remote?: Ip;
}

/**
 * The request to set a MAC address's one destination, or to remove it (ENOENT if it isn't there).
 * Only unicast addresses can be replaced.
 */
export function fdbRequest(operation: "replace" | "delete", entry: FdbSpec): NetlinkRequest {
  const { linkIndex, mac, remote } = entry;
  const replace = operation === "replace";
  return {
    describe: () => {
      const destination = remote ? ` to ${formatIp(remote)}` : "";
      return `${operation} the forwarding entry ${mac}${destination} on link ${linkIndex}`;
    },
    type: replace ? c.RTM_NEWNEIGH : c.RTM_DELNEIGH,
    flags: replace ? c.NLM_F_CREATE | c.NLM_F_REPLACE : 0,
    encode(writer) {
      writeHeader(writer, c.AF_BRIDGE, linkIndex, c.NUD_PERMANENT, c.NTF_SELF);
      writer.attributeMac(c.NDA_LLADDR, mac);
      if (remote) writer.attributeIp(c.NDA_DST, remote);
    },
  };
}

function writeHeader(writer: MessageWriter, af: number, index: number, state: number, flags: number): void {
  writer.u32(af);
  writer.u32(index);
  writer.u16(state);
  writer.u8(flags);
  writer.u8(0);
}

/** The family of an RTM_NEWNEIGH or RTM_DELNEIGH message; AF_BRIDGE means {@link decodeFdb}. */
export function neighbourFamily(message: Message): number {
  return message.end > message.start ? message.view.getUint8(message.start) : c.AF_UNSPEC;
}

/** Reads a neighbour message; undefined for those without an IP address. @throws {MalformedMessageError} */
export function decodeNeighbour(message: Message): Neighbour | undefined {
  const { ip, mac, ...rest } = decode(message);
  if (!ip) return undefined;
  return mac === undefined ? { ...rest, ip } : { ...rest, ip, mac };
}

/** Reads a forwarding entry; undefined for those without a MAC address. @throws {MalformedMessageError} */
export function decodeFdb(message: Message): FdbNeighbour | undefined {
  const { ip, mac, ...rest } = decode(message);
  if (mac === undefined) return undefined;
  return ip ? { ...rest, mac, remote: ip } : { ...rest, mac };
}

function decode(message: Message) {
  const attributes = attributesAfter(message, NDMSG_BYTES);
  const { view, start } = message;
  let ip: Ip | undefined, mac: Mac | undefined;
  while (attributes.next()) {
    if (attributes.type === c.NDA_DST) {
      // Tunnels and InfiniBand have neighbours whose address is none of IP's.
      if (attributes.length === 4 || attributes.length === 16) ip = attributes.ip();
    } else if (attributes.type === c.NDA_LLADDR) mac = attributes.mac();
  }
  return {
    linkIndex: view.getInt32(start + 4, true),
    ip,
    mac,
    state: view.getUint16(start + 8, true),
    flags: view.getUint8(start + 10),
  };
}

/** A dump of a link's entries; empty where the kernel says that there is no such link. */
function dumpOrNothing<T>(
  socket: NetlinkSocket,
  request: NetlinkRequest,
  parse: (message: Message) => T | undefined,
): T[] {
  try {
    return socket.dump(request, parse);
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENODEV) return [];
    throw error;
  }
}

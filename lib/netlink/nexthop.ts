/**
 * Next-hop objects (Linux 5.3): routes that name one by its id are installed far faster than routes that
 * bring gateway and device along. Structures from linux/nexthop.h.
 *
 * @module
 */
import { EINVAL, EOPNOTSUPP } from "../ffi/errno.ts";
import { type Family, familyOfAf } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { attributesAfter, type Message } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { Nexthop } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** struct nhmsg { u8 family; u8 scope; u8 protocol; u8 resvd; u32 flags; } */
const NHMSG_BYTES = 8;

/** Which next hops are asked for; all that are left out match any. */
export interface NexthopFilter {
  readonly linkIndex?: number;
  /** RTPROT_: who made it. */
  readonly protocol?: number;
}

/** The namespace's next hops that match; groups are left out. @throws {NetlinkError} */
export function listNexthops(socket: NetlinkSocket, filter: NexthopFilter = {}): Nexthop[] {
  const request: NetlinkRequest = {
    describe: () => "list the next hops",
    type: c.RTM_GETNEXTHOP,
    flags: 0,
    encode(writer) {
      writeHeader(writer, c.AF_UNSPEC, 0, 0);
      if (filter.linkIndex !== undefined) writer.attributeU32(c.NHA_OIF, filter.linkIndex);
    },
  };
  return socket.dump(request, (message) => {
    const nexthop = decodeNexthop(message);
    if (!nexthop) return undefined;
    if (filter.linkIndex !== undefined && nexthop.linkIndex !== filter.linkIndex) return undefined;
    if (filter.protocol !== undefined && nexthop.protocol !== filter.protocol) return undefined;
    return nexthop;
  });
}

/** Whether this kernel has next-hop objects: asked by a dump that is short (those through lo, which is always link 1). */
export function nexthopsSupported(socket: NetlinkSocket): boolean {
  try {
    listNexthops(socket, { linkIndex: 1 });
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && (error.errno === EOPNOTSUPP || error.errno === EINVAL)) return false;
    throw error;
  }
}

/** A next hop to be made. */
export interface NexthopSpec {
  /** 1 to 2^32 - 1, one numbering for both families. */
  readonly id: number;
  readonly family: Family;
  /** Must be up. */
  readonly linkIndex: number;
  readonly gateway?: Ip;
  /** RTPROT_: who makes it. */
  readonly protocol: number;
  /** The gateway is reached over the link though no address of the link covers it. */
  readonly onlink?: boolean;
}

/** The request to make a next hop: EEXIST if the id is taken (`create`), or whatever was there (`replace`). */
export function nexthopRequest(operation: "create" | "replace", nexthop: NexthopSpec): NetlinkRequest;
/** The request to remove a next hop, and with it all routes that use it; ENOENT if it isn't there. */
export function nexthopRequest(operation: "delete", nexthop: Pick<NexthopSpec, "id">): NetlinkRequest;
export function nexthopRequest(
  operation: "create" | "replace" | "delete",
  nexthop: Pick<NexthopSpec, "id"> & Partial<NexthopSpec>,
): NetlinkRequest {
  const { id, gateway, linkIndex } = nexthop;
  const remove = operation === "delete";
  return {
    describe: () => {
      const via = gateway ? ` via ${formatIp(gateway)}` : "";
      return `${operation} the next hop ${id}${via}${remove ? "" : ` on link ${linkIndex}`}`;
    },
    type: remove ? c.RTM_DELNEXTHOP : c.RTM_NEWNEXTHOP,
    flags: FLAGS[operation],
    encode(writer) {
      const family = remove ? c.AF_UNSPEC : nexthop.family?.af ?? c.AF_UNSPEC;
      writeHeader(writer, family, remove ? 0 : nexthop.protocol ?? 0, nexthop.onlink ? c.RTNH_F_ONLINK : 0);
      writer.attributeU32(c.NHA_ID, id);
      if (remove) return;
      if (gateway) writer.attributeIp(c.NHA_GATEWAY, gateway);
      if (linkIndex !== undefined) writer.attributeU32(c.NHA_OIF, linkIndex);
    },
  };
}

const FLAGS = {
  create: c.NLM_F_CREATE | c.NLM_F_EXCL,
  replace: c.NLM_F_CREATE | c.NLM_F_REPLACE,
  delete: 0,
} as const;

function writeHeader(writer: MessageWriter, af: number, protocol: number, flags: number): void {
  writer.u8(af);
  writer.u8(0);
  writer.u8(protocol);
  writer.u8(0);
  writer.u32(flags);
}

/** Reads an RTM_NEWNEXTHOP or RTM_DELNEXTHOP message; undefined for groups. @throws {MalformedMessageError} */
export function decodeNexthop(message: Message): Nexthop | undefined {
  const attributes = attributesAfter(message, NHMSG_BYTES);
  const { view, start } = message;
  const family = familyOfAf(view.getUint8(start));
  let id = 0, linkIndex: number | undefined, gateway: Ip | undefined;
  while (attributes.next()) {
    if (attributes.type === c.NHA_ID) id = attributes.u32();
    else if (attributes.type === c.NHA_OIF) linkIndex = attributes.u32();
    else if (attributes.type === c.NHA_GATEWAY) gateway = attributes.ip();
  }
  if (!family || id === 0) return undefined;
  const nexthop: { -readonly [key in keyof Nexthop]: Nexthop[key] } = {
    id,
    family,
    protocol: view.getUint8(start + 2),
    onlink: (view.getUint32(start + 4, true) & c.RTNH_F_ONLINK) !== 0,
  };
  if (gateway) nexthop.gateway = gateway;
  if (linkIndex !== undefined) nexthop.linkIndex = linkIndex;
  return nexthop;
}

/**
 * Addresses of links. Structures from linux/if_addr.h.
 *
 * @module
 */
import { type Family, familyOfAf } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import * as c from "./constants.ts";
import { attributesAfter, type Message, prefixLength } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { LinkAddress } from "./types.ts";

/** struct ifaddrmsg { u8 family; u8 prefixlen; u8 flags; u8 scope; u32 index; } */
const IFADDRMSG_BYTES = 8;

/** Which addresses are asked for; all that are left out match any. */
export interface AddressFilter {
  readonly family?: Family;
  readonly linkIndex?: number;
}

/** The namespace's addresses that match. @throws {NetlinkError} */
export function listAddresses(socket: NetlinkSocket, filter: AddressFilter = {}): LinkAddress[] {
  const request: NetlinkRequest = {
    describe: () => "list the addresses",
    type: c.RTM_GETADDR,
    flags: 0,
    encode(writer) {
      writer.u32(filter.family?.af ?? c.AF_UNSPEC);
      writer.u32(filter.linkIndex ?? 0);
    },
  };
  return socket.dump(request, (message) => {
    const address = decodeAddress(message);
    if (!address) return undefined;
    if (filter.family && address.ip.family !== filter.family) return undefined;
    if (filter.linkIndex !== undefined && address.linkIndex !== filter.linkIndex) return undefined;
    return address;
  });
}

/** An address to be added or removed. */
export interface AddressSpec {
  readonly linkIndex: number;
  readonly ip: Ip;
  readonly prefixLength: number;
  /** RT_SCOPE_. @default RT_SCOPE_UNIVERSE */
  readonly scope?: number;
}

/**
 * The request to add an address (no error if it is there) or to remove it (EADDRNOTAVAIL if it isn't).
 * IPv6 addresses are added without duplicate address detection: they can be used at once.
 */
export function addressRequest(operation: "replace" | "delete", address: AddressSpec): NetlinkRequest {
  const { ip, prefixLength: length, linkIndex } = address;
  const replace = operation === "replace";
  return {
    describe: () => `${operation} the address ${formatIp(ip)}/${length} of link ${linkIndex}`,
    type: replace ? c.RTM_NEWADDR : c.RTM_DELADDR,
    flags: replace ? c.NLM_F_CREATE | c.NLM_F_REPLACE : 0,
    encode(writer) {
      writer.u8(ip.family.af);
      writer.u8(length);
      // The flags' low byte stands here too, for kernels that don't know IFA_FLAGS.
      writer.u8(replace ? ADD_FLAGS[ip.family.name] : 0);
      writer.u8(address.scope ?? c.RT_SCOPE_UNIVERSE);
      writer.u32(linkIndex);
      writer.attributeIp(c.IFA_LOCAL, ip);
      writer.attributeIp(c.IFA_ADDRESS, ip);
    },
  };
}

/** Duplicate address detection is IPv6's. */
const ADD_FLAGS = { ipv4: 0, ipv6: c.IFA_F_NODAD } as const;

/** Reads an RTM_NEWADDR or RTM_DELADDR message; undefined for families other than ours. @throws {MalformedMessageError} */
export function decodeAddress(message: Message): LinkAddress | undefined {
  const attributes = attributesAfter(message, IFADDRMSG_BYTES);
  const { view, start } = message;
  let flags = view.getUint8(start + 2);
  let local: Ip | undefined, address: Ip | undefined;
  if (!familyOfAf(view.getUint8(start))) return undefined;
  while (attributes.next()) {
    // IFA_ADDRESS is the peer's address on point-to-point links, where IFA_LOCAL is our own.
    if (attributes.type === c.IFA_LOCAL) local = attributes.ip();
    else if (attributes.type === c.IFA_ADDRESS) address = attributes.ip();
    else if (attributes.type === c.IFA_FLAGS) flags = attributes.u32();
  }
  const ip = local ?? address;
  if (!ip) return undefined;
  return {
    linkIndex: view.getUint32(start + 4, true),
    ip,
    prefixLength: prefixLength(view.getUint8(start + 1), ip.family),
    scope: view.getUint8(start + 3),
    flags,
  };
}

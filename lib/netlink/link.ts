/**
 * Links: network devices, with what VXLAN, bridge and veth devices need.
 *
 * Structures from linux/rtnetlink.h (ifinfomsg) and linux/if_link.h.
 *
 * @module
 */
import { EAFNOSUPPORT, ENODEV } from "../ffi/errno.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { type AttributeReader, attributesAfter, type Message } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { Ip } from "../net/ip.ts";
import type { IpipAttributes, Link, LinkChange, LinkSpec, TunAttributes } from "./types.ts";
import { decodeVxlan, writeVxlan } from "./vxlan.ts";
import type { MessageWriter } from "./writer.ts";

/** struct ifinfomsg { u8 family; u8 pad; u16 type; i32 index; u32 flags; u32 change; } */
const IFINFOMSG_BYTES = 16;

/** All links of the namespace. @throws {NetlinkError} */
export function listLinks(socket: NetlinkSocket): Link[] {
  const request: NetlinkRequest = {
    describe: () => "list the links",
    type: c.RTM_GETLINK,
    flags: 0,
    encode(writer) {
      writeHeader(writer, 0);
      writer.attributeU32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS);
    },
  };
  return socket.dump(request, decodeLink);
}

/** The link with that name or index; undefined if there is none. @throws {NetlinkError} */
export function findLink(socket: NetlinkSocket, nameOrIndex: string | number): Link | undefined {
  // The kernel would refuse what can't be a name; to the caller there is just no such link.
  if (typeof nameOrIndex === "string" && nameFault(nameOrIndex)) return undefined;
  const request: NetlinkRequest = {
    describe: () => `look up the link ${nameOrIndex}`,
    type: c.RTM_GETLINK,
    flags: 0,
    encode(writer) {
      writeHeader(writer, typeof nameOrIndex === "number" ? nameOrIndex : 0);
      if (typeof nameOrIndex === "string") writer.attributeString(c.IFLA_IFNAME, nameOrIndex);
      writer.attributeU32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS);
    },
  };
  try {
    return socket.query(request, decodeLink);
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENODEV) return undefined;
    throw error;
  }
}

/**
 * Makes a link, down at first. MAC and MTU are set in the same message: there is no moment at which others
 * (systemd-udevd among them) see the link with other ones.
 *
 * @returns The link as the kernel made it.
 * @throws {RangeError} If the name can't be a link's name.
 * @throws {NetlinkError} If the kernel refuses it (EEXIST: the name is taken).
 */
export function createLink(socket: NetlinkSocket, spec: LinkSpec): Link {
  const fault = nameFault(spec.name);
  if (fault) throw new RangeError(`Cannot name a link ${JSON.stringify(spec.name)}: ${fault}`);
  socket.execute({
    describe: () => `make the ${spec.kind} link ${spec.name}`,
    type: c.RTM_NEWLINK,
    flags: c.NLM_F_CREATE | c.NLM_F_EXCL,
    encode: (writer) => writeSpec(writer, spec),
  });
  const link = findLink(socket, spec.name);
  if (!link) throw new NetlinkError(`find the link ${spec.name} just made`, { errno: ENODEV });
  if (spec.noLinkLocal) refuseLinkLocal(socket, link);
  return link;
}

/**
 * Keeps the kernel from making an IPv6 link-local address of a link that was just made; without that the link is
 * of no use and is deleted. A message of its own: in the one that makes the link the kernel refuses the attribute
 * (EAFNOSUPPORT).
 */
function refuseLinkLocal(socket: NetlinkSocket, link: Link): void {
  try {
    disableLinkLocal(socket, link);
  } catch (error) {
    deleteLink(socket, link.index);
    throw error;
  }
}

/** Keeps the kernel from making IPv6 link-local addresses of a link; those that it has stay. @throws {NetlinkError} */
export function disableLinkLocal(socket: NetlinkSocket, link: Pick<Link, "index" | "name">): void {
  try {
    socket.execute(linkLocalRequest(link));
  } catch (error) {
    // The kernel has no IPv6, or the MTU is too small for it: there will be no addresses.
    if (!(error instanceof NetlinkError && error.errno === EAFNOSUPPORT)) throw error;
  }
}

/** Changes what `change` names, all in one message. @throws {NetlinkError} */
export function changeLink(socket: NetlinkSocket, index: number, change: LinkChange): void {
  socket.execute({
    describe: () => `change the link ${index} (${Object.keys(change).join(", ")})`,
    type: c.RTM_NEWLINK,
    flags: 0,
    encode(writer) {
      writeHeader(writer, index, change.up);
      if (change.name !== undefined) writer.attributeString(c.IFLA_IFNAME, change.name);
      if (change.mac !== undefined) writer.attributeMac(c.IFLA_ADDRESS, change.mac);
      if (change.mtu !== undefined) writer.attributeU32(c.IFLA_MTU, change.mtu);
      if (change.alias !== undefined) writer.attributeString(c.IFLA_IFALIAS, change.alias);
      if (change.master !== undefined) writer.attributeU32(c.IFLA_MASTER, change.master);
    },
  });
}

/** Removes a link. @throws {NetlinkError} ENODEV: it isn't there. */
export function deleteLink(socket: NetlinkSocket, index: number): void {
  socket.execute({
    describe: () => `delete the link ${index}`,
    type: c.RTM_DELLINK,
    flags: 0,
    encode: (writer) => writeHeader(writer, index),
  });
}

function linkLocalRequest(link: Pick<Link, "index" | "name">): NetlinkRequest {
  return {
    describe: () => `turn off link-local addresses of ${link.name}`,
    type: c.RTM_NEWLINK,
    flags: 0,
    encode(writer) {
      writeHeader(writer, link.index);
      writer.nested(c.IFLA_AF_SPEC, () => {
        writer.nested(c.AF_INET6, () => {
          writer.attributeU8(c.IFLA_INET6_ADDR_GEN_MODE, c.IN6_ADDR_GEN_MODE_NONE);
        });
      });
    },
  };
}

function writeHeader(writer: MessageWriter, index: number, up?: boolean): void {
  writer.u32(0);
  writer.u32(index);
  writer.u32(up ? c.IFF_UP : 0);
  writer.u32(up === undefined ? 0 : c.IFF_UP);
}

function writeSpec(writer: MessageWriter, spec: LinkSpec): void {
  writeHeader(writer, 0);
  writer.attributeString(c.IFLA_IFNAME, spec.name);
  if (spec.mac !== undefined) writer.attributeMac(c.IFLA_ADDRESS, spec.mac);
  if (spec.mtu !== undefined) writer.attributeU32(c.IFLA_MTU, spec.mtu);
  writer.nested(c.IFLA_LINKINFO, () => {
    writer.attributeString(c.IFLA_INFO_KIND, spec.kind);
    const { vxlan, ipip, peer } = spec;
    if (ipip) writer.nested(c.IFLA_INFO_DATA, () => writeIpip(writer, ipip));
    if (vxlan) writer.nested(c.IFLA_INFO_DATA, () => writeVxlan(writer, vxlan));
    if (peer) {
      writer.nested(c.IFLA_INFO_DATA, () => {
        writer.nested(c.VETH_INFO_PEER, () => {
          writeHeader(writer, 0);
          writer.attributeString(c.IFLA_IFNAME, peer.name);
          if (peer.netnsFd !== undefined) writer.attributeU32(c.IFLA_NET_NS_FD, peer.netnsFd);
        });
      });
    }
  });
}

/** Reads an RTM_NEWLINK or RTM_DELLINK message. @throws {MalformedMessageError} */
export function decodeLink(message: Message): Link {
  const attributes = attributesAfter(message, IFINFOMSG_BYTES);
  const link: { -readonly [key in keyof Link]: Link[key] } = {
    index: message.view.getInt32(message.start + 4, true),
    name: "",
    flags: message.view.getUint32(message.start + 8, true),
    mtu: 0,
  };
  while (attributes.next()) {
    switch (attributes.type) {
      case c.IFLA_IFNAME:
        link.name = attributes.string();
        break;
      case c.IFLA_MTU:
        link.mtu = attributes.u32();
        break;
      case c.IFLA_ADDRESS: {
        const mac = attributes.mac();
        if (mac !== undefined) link.mac = mac;
        break;
      }
      case c.IFLA_MASTER:
        link.master = attributes.u32();
        break;
      case c.IFLA_IFALIAS:
        link.alias = attributes.string();
        break;
      case c.IFLA_LINKINFO:
        Object.assign(link, decodeLinkInfo(attributes.nested()));
        break;
      case c.IFLA_AF_SPEC: {
        // Bridges put other things here in messages of their own family.
        if (message.view.getUint8(message.start) !== c.AF_UNSPEC) break;
        const mode = decodeAddressGeneration(attributes.nested());
        if (mode !== undefined) link.addressGeneration = mode;
      }
    }
  }
  return link;
}

function writeIpip(writer: MessageWriter, { local, remote }: IpipAttributes): void {
  if (local) writer.attributeIp(c.IFLA_IPTUN_LOCAL, local);
  if (remote) writer.attributeIp(c.IFLA_IPTUN_REMOTE, remote);
  // The outer packets may be fragmented on the way as the inner ones say (IFLA_IPTUN_PMTUDISC).
  writer.attributeU8(c.IFLA_IPTUN_PMTUDISC, 1);
}

function decodeIpip(attributes: AttributeReader): IpipAttributes {
  const ipip: { local?: Ip; remote?: Ip } = {};
  while (attributes.next()) {
    const isAddress = attributes.type === c.IFLA_IPTUN_LOCAL || attributes.type === c.IFLA_IPTUN_REMOTE;
    const ip = isAddress ? attributes.ip() : undefined;
    if (!ip || ip.value === 0n) continue;
    if (attributes.type === c.IFLA_IPTUN_LOCAL) ipip.local = ip;
    else ipip.remote = ip;
  }
  return ipip;
}

function decodeLinkInfo(attributes: AttributeReader): Pick<Link, "kind" | "vxlan" | "ipip" | "tun"> {
  let kind: string | undefined;
  let data: AttributeReader | undefined;
  while (attributes.next()) {
    if (attributes.type === c.IFLA_INFO_KIND) kind = attributes.string();
    else if (attributes.type === c.IFLA_INFO_DATA) data = attributes.nested();
  }
  if (kind === undefined) return {};
  if (kind === "vxlan" && data) return { kind, vxlan: decodeVxlan(data) };
  if (kind === "ipip" && data) return { kind, ipip: decodeIpip(data) };
  const tun = kind === "tun" && data ? decodeTun(data) : undefined;
  return tun ? { kind, tun } : { kind };
}

function decodeTun(attributes: AttributeReader): TunAttributes | undefined {
  let multiQueue: boolean | undefined, persistent: boolean | undefined;
  while (attributes.next()) {
    if (attributes.type === c.IFLA_TUN_MULTI_QUEUE) multiQueue = attributes.u8() !== 0;
    else if (attributes.type === c.IFLA_TUN_PERSIST) persistent = attributes.u8() !== 0;
  }
  return multiQueue === undefined || persistent === undefined ? undefined : { multiQueue, persistent };
}

/** IFLA_AF_SPEC holds an attribute for each address family, with the family's settings of the link. */
function decodeAddressGeneration(families: AttributeReader): number | undefined {
  while (families.next()) {
    if (families.type !== c.AF_INET6) continue;
    const settings = families.nested();
    while (settings.next()) if (settings.type === c.IFLA_INET6_ADDR_GEN_MODE) return settings.u8();
  }
  return undefined;
}

/** What is wrong with `name` as a link's name, in words; undefined if nothing is (dev_valid_name). */
function nameFault(name: string): string | undefined {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes >= c.IFNAMSIZ) return `it must have 1 to ${c.IFNAMSIZ - 1} bytes, it has ${bytes}`;
  if (name === "." || name === "..") return "the kernel reserves it";
  // The kernel makes a number of %d; then the link would have another name than the one asked for.
  if (/[\s/:%\0]/.test(name)) return "it must not contain spaces, '/', ':' or '%'";
  return undefined;
}

/**
 * Links: network devices, with what VXLAN, bridge and veth devices need.
 *
 * Structures from linux/rtnetlink.h (ifinfomsg) and linux/if_link.h.
 *
 * @module
 */
import { EAFNOSUPPORT, ENODEV } from "../ffi/errno.ts";
import type { Ip } from "../net/ip.ts";
import * as c from "./constants.ts";
import { NetlinkError } from "./error.ts";
import { type AttributeReader, attributesAfter, type Message } from "./reader.ts";
import type { NetlinkRequest, NetlinkSocket } from "./socket.ts";
import type { Link, LinkChange, LinkSpec, VxlanAttributes } from "./types.ts";
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

/** A message of its own: in the one that makes the link the kernel refuses the attribute (EAFNOSUPPORT). */
function refuseLinkLocal(socket: NetlinkSocket, link: Link): void {
  try {
    socket.execute(disableLinkLocal(link));
  } catch (error) {
    // The kernel has no IPv6, or the MTU is too small for it: there will be no addresses.
    if (error instanceof NetlinkError && error.errno === EAFNOSUPPORT) return;
    deleteLink(socket, link.index);
    throw error;
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

function disableLinkLocal(link: Link): NetlinkRequest {
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
    const { vxlan, peer } = spec;
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

function writeVxlan(writer: MessageWriter, vxlan: VxlanAttributes): void {
  writer.attributeU32(c.IFLA_VXLAN_ID, vxlan.vni);
  if (vxlan.linkIndex !== undefined) writer.attributeU32(c.IFLA_VXLAN_LINK, vxlan.linkIndex);
  // The attribute decides the family of the device's UDP socket.
  if (vxlan.local) writer.attributeIp(LOCAL_ATTRIBUTE[vxlan.local.family.name], vxlan.local);
  writer.attributeU8(c.IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  if (vxlan.port !== 0) writer.attributeU16be(c.IFLA_VXLAN_PORT, vxlan.port);
  if (vxlan.gbp) writer.attributeFlag(c.IFLA_VXLAN_GBP);
}

const LOCAL_ATTRIBUTE = { ipv4: c.IFLA_VXLAN_LOCAL, ipv6: c.IFLA_VXLAN_LOCAL6 } as const;

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
    }
  }
  return link;
}

function decodeLinkInfo(attributes: AttributeReader): Pick<Link, "kind" | "vxlan"> {
  let kind: string | undefined;
  let data: AttributeReader | undefined;
  while (attributes.next()) {
    if (attributes.type === c.IFLA_INFO_KIND) kind = attributes.string();
    else if (attributes.type === c.IFLA_INFO_DATA) data = attributes.nested();
  }
  if (kind === undefined) return {};
  return kind === "vxlan" && data ? { kind, vxlan: decodeVxlan(data) } : { kind };
}

function decodeVxlan(attributes: AttributeReader): VxlanAttributes {
  let local: Ip | undefined;
  let linkIndex: number | undefined;
  let vni = 0, port = 0, learning = false, gbp = false;
  while (attributes.next()) {
    switch (attributes.type) {
      case c.IFLA_VXLAN_ID:
        vni = attributes.u32();
        break;
      case c.IFLA_VXLAN_LINK:
        linkIndex = attributes.u32();
        break;
      case c.IFLA_VXLAN_LOCAL:
      case c.IFLA_VXLAN_LOCAL6:
        local = attributes.ip();
        break;
      case c.IFLA_VXLAN_LEARNING:
        learning = attributes.u8() !== 0;
        break;
      case c.IFLA_VXLAN_PORT:
        port = attributes.u16be();
        break;
      case c.IFLA_VXLAN_GBP:
        gbp = true;
    }
  }
  return {
    vni,
    port,
    learning,
    gbp,
    ...(local && { local }),
    ...(linkIndex && { linkIndex }),
  };
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

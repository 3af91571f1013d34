/**
 * Attributes of VXLAN devices (IFLA_VXLAN_*, linux/if_link.h).
 *
 * @module
 */
import type { Ip } from "../net/ip.ts";
import * as c from "./constants.ts";
import type { AttributeReader } from "./reader.ts";
import type { VxlanAttributes, VxlanSpecials } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** Writes the payload of a VXLAN device's IFLA_INFO_DATA. */
export function writeVxlan(writer: MessageWriter, vxlan: VxlanAttributes): void {
  writer.attributeU32(c.IFLA_VXLAN_ID, vxlan.vni);
  if (vxlan.linkIndex !== undefined) writer.attributeU32(c.IFLA_VXLAN_LINK, vxlan.linkIndex);
  // The attribute decides the family of the device's UDP socket.
  if (vxlan.local) writer.attributeIp(LOCAL_ATTRIBUTE[vxlan.local.family.name], vxlan.local);
  writer.attributeU8(c.IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  if (vxlan.port !== 0) writer.attributeU16be(c.IFLA_VXLAN_PORT, vxlan.port);
  if (vxlan.gbp) writer.attributeFlag(c.IFLA_VXLAN_GBP);
}

const LOCAL_ATTRIBUTE = { ipv4: c.IFLA_VXLAN_LOCAL, ipv6: c.IFLA_VXLAN_LOCAL6 } as const;

/** Attributes that are on or off, in the words of `ip link`. */
const SWITCHES: ReadonlyMap<number, string> = new Map([
  [c.IFLA_VXLAN_PROXY, "proxy"],
  [c.IFLA_VXLAN_RSC, "rsc"],
  [c.IFLA_VXLAN_L2MISS, "l2miss"],
  [c.IFLA_VXLAN_L3MISS, "l3miss"],
  [c.IFLA_VXLAN_UDP_ZERO_CSUM6_TX, "udp6zerocsumtx"],
  [c.IFLA_VXLAN_COLLECT_METADATA, "external"],
  [c.IFLA_VXLAN_GPE, "gpe"],
  [c.IFLA_VXLAN_VNIFILTER, "vnifilter"],
]);

/** Reads the payload of a VXLAN device's IFLA_INFO_DATA. @throws {MalformedMessageError} */
export function decodeVxlan(attributes: AttributeReader): VxlanAttributes {
  let local: Ip | undefined;
  let linkIndex: number | undefined;
  let vni = 0, port = 0, learning = false, gbp = false;
  const special: { -readonly [key in keyof VxlanSpecials]: VxlanSpecials[key] } = {};
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
        break;
      default:
        decodeSpecial(attributes, special);
    }
  }
  return {
    vni,
    port,
    learning,
    gbp,
    ...(local && { local }),
    ...(linkIndex && { linkIndex }),
    ...(Object.keys(special).length > 0 && { special }),
  };
}

function decodeSpecial(
  attributes: AttributeReader,
  special: { -readonly [key in keyof VxlanSpecials]: VxlanSpecials[key] },
): void {
  switch (attributes.type) {
    case c.IFLA_VXLAN_TTL: {
      const ttl = attributes.u8();
      if (ttl !== 0) special.ttl = ttl;
      return;
    }
    case c.IFLA_VXLAN_TTL_INHERIT:
      if (attributes.u8() !== 0) special.ttlInherit = true;
      return;
    case c.IFLA_VXLAN_DF: {
      const df = attributes.u8();
      if (df !== 0) special.df = df;
      return;
    }
    case c.IFLA_VXLAN_GROUP:
    case c.IFLA_VXLAN_GROUP6:
      special.remote = attributes.ip();
      return;
    case c.IFLA_VXLAN_LIMIT: {
      const limit = attributes.u32();
      if (limit !== 0) special.limit = limit;
      return;
    }
  }
  const name = SWITCHES.get(attributes.type);
  // An attribute without a payload is there only when it is set.
  const isSet = name !== undefined && (attributes.length === 0 || attributes.u8() !== 0);
  if (isSet) special.flags = [...special.flags ?? [], name];
}

/**
 * IP addresses of both families: a family and a number.
 *
 * Parsing IPv6 is ip-address's; everything else works on the number. The build loads that package with the first text
 * of an IPv6 address: a host of an IPv4 network has none, and the package takes a twentieth of the start.
 *
 * @module
 */
import { Address6 } from "ip-address";
import { type Family, IPV4, IPV6 } from "./family.ts";

/** One address. Compare with {@link sameIp}: two equal addresses may be two objects. */
export interface Ip {
  readonly family: Family;
  /** The address as a number, most significant byte first on the wire. */
  readonly value: bigint;
}

/** The number's address in `family`. @throws {RangeError} If it doesn't fit the family's length. */
export function ipOf(family: Family, value: bigint): Ip {
  if (value < 0n || value >> BigInt(family.bits)) {
    throw new RangeError(
      `Cannot make an ${family.label} address of 0x${value.toString(16)}: it has ${family.bits} bits`,
    );
  }
  return { family, value };
}

/**
 * Parses an address without a prefix length or zone, like `10.0.0.1` or `fd00::1`.
 *
 * @throws {RangeError} If `text` is no such address.
 */
export function parseIp(text: string): Ip {
  const ip = tryParseIp(text);
  if (!ip) throw new RangeError(`Cannot parse ${JSON.stringify(text)} as an IP address`);
  return ip;
}

/** As {@link parseIp}, but undefined for what isn't an address. */
export function tryParseIp(text: string): Ip | undefined {
  const dotted = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (dotted) return ipv4Of(dotted);
  // ip-address accepts a prefix length and a zone, which aren't part of an address here.
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !text.includes(":")) return undefined;
  try {
    return { family: IPV6, value: new Address6(text).bigInt() };
  } catch {
    return undefined;
  }
}

/** By hand: leases have two each, and ip-address takes 4 us for one. */
function ipv4Of(dotted: RegExpExecArray): Ip | undefined {
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const part = dotted[i]!;
    const byte = Number(part);
    // Leading zeros are octal to inet_aton and decimal to others; nobody can mean both.
    if (byte > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    value = value * 256 + byte;
  }
  return { family: IPV4, value: BigInt(value) };
}

/** The address as inet_ntop prints it: `10.0.0.1`, `fd00::1`. */
export function formatIp(ip: Ip): string {
  if (ip.family === IPV4) {
    const v = Number(ip.value);
    return `${v >>> 24}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`;
  }
  return formatIpv6(ip.value);
}

/** RFC 5952: of the longest runs of two or more zero groups the first is left out. */
function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let [start, length] = [0, 1];
  for (let i = 0; i < groups.length;) {
    let end = i;
    while (groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    i = end + 1;
  }
  const text = (some: readonly number[]) => some.map((group) => group.toString(16)).join(":");
  if (length === 1) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** The address's bytes in network order. */
export function ipToBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(ip.family.bytes);
  let value = ip.value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(value & 255n);
    value >>= 8n;
  }
  return bytes;
}

/**
 * The address of 4 or 16 bytes in network order.
 *
 * @throws {RangeError} If `bytes` has another length.
 */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) {
    const value = ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
    return { family: IPV4, value: BigInt(value) };
  }
  if (bytes.length !== 16) throw new RangeError(`An IP address has 4 or 16 bytes: got ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return { family: IPV6, value: (view.getBigUint64(0) << 64n) | view.getBigUint64(8) };
}

/** Whether two addresses are the same; two absent ones are. */
export function sameIp(a: Ip | undefined, b: Ip | undefined): boolean {
  return a?.family === b?.family && a?.value === b?.value;
}

/**
 * Whether a host can be reached at the address from another one: not the unspecified, a loopback, multicast, reserved or
 * broadcast address (RFC 6890; 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3, ::, ::1, ff00::/8), nor an IPv4 address that is
 * written as IPv6, which no packet carries (::/96, ::ffff:0:0/96; RFC 4291, section 2.5.5).
 */
export function isHostAddress({ family, value }: Ip): boolean {
  const first = Number(value >> BigInt(family.bits - 8));
  if (family === IPV4) return first !== 0 && first !== 127 && first < 224;
  const head = value >> 32n;
  return head !== 0n && head !== 0xffffn && first !== 0xff;
}

/**
 * The number of an address as a key of Maps and Sets, unique within its family. 32 bits as a signed number take no
 * memory of their own; an IPv6 address as a bigint would be slow to find, since V8 hashes the lower 64 bits alone, and
 * those are zero in every prefix of up to 64 bits.
 */
export function ipKey(family: Family, value: bigint): number | string {
  return family === IPV4 ? Number(value) | 0 : value.toString(32);
}

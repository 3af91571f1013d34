/**
 * IP prefixes (networks and subnets) of both families.
 *
 * @module
 */
import type { Family } from "./family.ts";
import { formatIp, type Ip, ipOf, parseIp } from "./ip.ts";

/** A prefix: the bits below `length` are 0 in `base`. Make one with {@link prefixOf} or a parser. */
export interface Prefix {
  readonly family: Family;
  /** Lowest address as a number. */
  readonly base: bigint;
  /** Prefix length in bits, 0 to the family's `bits`. */
  readonly length: number;
}

/** An address and the prefix that it stands in, as in `10.5.72.1/24`. */
export interface Cidr {
  readonly ip: Ip;
  readonly prefix: Prefix;
}

/** The prefix of `length` bits in which `ip` lies. @throws {RangeError} If the length doesn't fit the family. */
export function prefixOf(ip: Ip, length: number): Prefix {
  if (!Number.isInteger(length) || length < 0 || length > ip.family.bits) {
    throw new RangeError(`An ${ip.family.label} prefix length must be 0 to ${ip.family.bits}: got ${length}`);
  }
  const host = BigInt(ip.family.bits - length);
  return { family: ip.family, base: (ip.value >> host) << host, length };
}

/** Parses `10.5.72.1/24`. @throws {RangeError} If `text` isn't an address with a prefix length. */
export function parseCidr(text: string): Cidr {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (!match) throw new RangeError(`Cannot parse ${JSON.stringify(text)} as a CIDR (ADDRESS/LENGTH)`);
  const ip = parseIp(match[1]!);
  return { ip, prefix: prefixOf(ip, Number(match[2])) };
}

/** Parses `10.5.0.0/16`; bits after the length are cleared. @throws {RangeError} If `text` isn't a CIDR. */
export function parsePrefix(text: string): Prefix {
  return parseCidr(text).prefix;
}

/** As {@link parsePrefix}; undefined if `text` isn't a CIDR. */
export function tryParsePrefix(text: string): Prefix | undefined {
  try {
    return parsePrefix(text);
  } catch {
    return undefined;
  }
}

/** `10.5.0.0/16`. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(firstIp(prefix))}/${prefix.length}`;
}

/** The prefix's lowest address: the network address. */
export function firstIp(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.base };
}

/** How many addresses the prefix has. */
export function prefixSize(prefix: Prefix): bigint {
  return 1n << BigInt(prefix.family.bits - prefix.length);
}

/** The prefix's highest address. */
export function lastIp(prefix: Prefix): Ip {
  return { family: prefix.family, value: prefix.base + prefixSize(prefix) - 1n };
}

/** The address `offset` above the prefix's lowest. @throws {RangeError} If it lies outside the family. */
export function ipAt(prefix: Prefix, offset: bigint): Ip {
  return ipOf(prefix.family, prefix.base + offset);
}

/** Whether `ip` lies in the prefix. */
export function containsIp(prefix: Prefix, ip: Ip): boolean {
  if (prefix.family !== ip.family) return false;
  const host = BigInt(prefix.family.bits - prefix.length);
  return ip.value >> host === prefix.base >> host;
}

/** Whether all of `inner` lies in `outer`. */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && containsIp(outer, firstIp(inner));
}

/** Whether the two prefixes share an address. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return containsPrefix(a, b) || containsPrefix(b, a);
}

/** Whether the two prefixes are the same; two absent ones are. */
export function samePrefix(a: Prefix | undefined, b: Prefix | undefined): boolean {
  return a?.family === b?.family && a?.base === b?.base && a?.length === b?.length;
}

/**
 * What ICMP errors are about, whatever the IP version.
 *
 * @module
 */

/** Kinds of errors. */
export const NO_ROUTE = 0, TIME_EXCEEDED = 1, TOO_BIG = 2;

/** An ICMP error that can be made here. */
export type IcmpError = typeof NO_ROUTE | typeof TIME_EXCEEDED | typeof TOO_BIG;

/** The longest error packets: what fits into the packets that every host takes (RFC 1812, 4.3.2.3; RFC 4443, 2.4). */
export const MAX_ICMPV4_ERROR = 576, MAX_ICMPV6_ERROR = 1280;

/** Length of the header of an ICMP error: type, code, checksum and a word that depends on the type. */
export const ICMP_HEADER = 8;

/** TTL or hop limit of an error. */
export const INITIAL_TTL = 64;

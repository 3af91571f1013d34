/**
 * Which address of a link others should see.
 *
 * @module
 */
import * as c from "../netlink/constants.ts";
import type { LinkAddress } from "../netlink/types.ts";
import { type Family, IPV4, IPV6 } from "../net/family.ts";
import { type Ip, ipOf } from "../net/ip.ts";
import { containsIp, parsePrefix, prefixOf } from "../net/prefix.ts";

// IPv6 by numbers: to parse a text loads a package, at every start.
/** 127.0.0.0/8 and ::1. */
const LOOPBACK = [parsePrefix("127.0.0.0/8"), prefixOf(ipOf(IPV6, 1n), 128)];
/** 169.254.0.0/16 and fe80::/10. */
const LINK_LOCAL = [parsePrefix("169.254.0.0/16"), prefixOf(ipOf(IPV6, 0xfe80n << 112n), 10)];

/**
 * The address of a link that others should see: global before link-local, permanent before dynamic, in the
 * kernel's order; never a temporary, deprecated or duplicate one, never loopback.
 *
 * @returns Undefined if it has none that serves.
 */
export function chooseAddress(family: Family, addresses: readonly LinkAddress[]): Ip | undefined {
  const usable = addresses.filter((address) => address.ip.family === family && isUsable(address));
  // sort() keeps the order of equals.
  return usable.sort(compareAddresses)[0]?.ip;
}

/** Whether an address is valid on its link only. */
export function isLinkLocal(ip: Ip): boolean {
  return LINK_LOCAL.some((prefix) => containsIp(prefix, ip));
}

/**
 * Whether others may see the address: it isn't temporary (RFC 8981), deprecated, duplicate or a loopback one.
 * It may still be tentative (RFC 4862): nobody answers for it before the kernel knows that nobody else has it.
 */
export function isUsable({ ip, scope, flags }: LinkAddress): boolean {
  // IPv4's bit 0 means "secondary" (IFA_F_SECONDARY), which is as good as another.
  const temporary = ip.family === IPV4 ? 0 : c.IFA_F_TEMPORARY;
  if (flags & (temporary | c.IFA_F_DADFAILED | c.IFA_F_DEPRECATED)) return false;
  return scope !== c.RT_SCOPE_HOST && !LOOPBACK.some((prefix) => containsIp(prefix, ip));
}

/** Whether an address can be used at once, and for as long as it is there. */
export function isSettled(address: LinkAddress): boolean {
  return isUsable(address) && (address.flags & c.IFA_F_TENTATIVE) === 0;
}

/** For sorting, the better address first: global before link-local, permanent before dynamic. */
export function compareAddresses(a: LinkAddress, b: LinkAddress): number {
  return rank(a) - rank(b);
}

/** Lower is better. */
function rank({ ip, scope, flags }: LinkAddress): number {
  const linkLocal = scope === c.RT_SCOPE_LINK || isLinkLocal(ip);
  const dynamic = (flags & c.IFA_F_PERMANENT) === 0;
  const tentative = (flags & c.IFA_F_TENTATIVE) !== 0;
  return (linkLocal ? 4 : 0) + (dynamic ? 2 : 0) + (tentative ? 1 : 0);
}

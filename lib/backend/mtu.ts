/**
 * Backend.MTU against what the underlay can carry.
 *
 * @module
 */
import type { ExternalInterface } from "../external/types.ts";

/** The least MTU of a link that carries IPv6 (RFC 8200, 5): the kernel has no IPv6 on a device with less. */
export const MIN_MTU_IPV6 = 1280;

/** The least MTU of a link that carries IPv4 (RFC 791). */
export const MIN_MTU_IPV4 = 68;

/** The MTU to use, in bytes: what is asked for, at most `largest`. */
export function limitMtu(asked: number | undefined, largest: number): number {
  return Math.min(asked ?? largest, largest);
}

/** The message about a Backend.MTU that is more than the underlay can carry. Packets above its MTU would be lost. */
export function mtuProblem(
  asked: number,
  { name, mtu }: Pick<ExternalInterface, "name" | "mtu">,
  largest: number,
): string {
  return `Backend.MTU ${asked} is more than ${name} with its MTU ${mtu} can carry: using the largest, ${largest}. ` +
    `Set Backend.MTU to at most ${largest}, or raise the MTU of ${name}`;
}

/**
 * The order in which people read subnets: by number, IPv4 first.
 *
 * @module
 */
import { FAMILIES, type PerFamily } from "./family.ts";
import type { Prefix } from "./prefix.ts";

/** For sort: by the lowest address of the first family that both have; what lacks it comes later. */
export function compareSubnets(a: PerFamily<Prefix>, b: PerFamily<Prefix>): number {
  for (const { name } of FAMILIES) {
    const [left, right] = [a[name], b[name]];
    if (left && right && left.base !== right.base) return left.base < right.base ? -1 : 1;
    if (!left !== !right) return left ? -1 : 1;
  }
  return 0;
}

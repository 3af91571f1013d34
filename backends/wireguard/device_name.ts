/**
 * What the devices of a network are called.
 *
 * @module
 */
import { linkAlias } from "../../lib/kernel/own_links.ts";
import type { Link } from "../../lib/netlink/types.ts";

/** Our devices: `flannel-wg` and `flannel-wg-v6` as the original's, `flannel-wg1` … of further networks on the host. */
const NAME = /^(flannel-wg\d*)(-v6)?$/;

/** The device of both families or of IPv4, and the device of IPv6 where each family has its own. */
export interface DeviceNames {
  readonly main: string;
  readonly ipv6: string;
}

/** The names that carry the network's mark, else the first that no other network's mark is on. */
export function deviceNames(links: readonly Link[], networkId: string): DeviceNames {
  const alias = linkAlias(networkId);
  const marked = links.find((link) => link.alias === alias && NAME.test(link.name));
  if (marked) return namesOf(NAME.exec(marked.name)![1]!);
  for (let n = 0;; n++) {
    const names = namesOf(`flannel-wg${n === 0 ? "" : n}`);
    const holders = links.filter(({ name }) => name === names.main || name === names.ipv6);
    // One without a mark may be the original's. Whatever else it is, it is refused by name.
    if (!holders.some((link) => link.alias?.startsWith("flanneld ") && link.alias !== alias)) return names;
  }
}

function namesOf(main: string): DeviceNames {
  return { main, ipv6: `${main}-v6` };
}

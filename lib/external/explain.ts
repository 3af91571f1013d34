/**
 * Why an interface was taken or not, for people.
 *
 * @module
 */
import { IFF_UP } from "../netlink/constants.ts";
import type { Link } from "../netlink/types.ts";
import { formatIp } from "../net/ip.ts";
import type { HostNetwork, InterfaceCandidate, InterfaceRequest, Step } from "./types.ts";

/** Devices of flannel's own: their addresses are the overlay's. */
export function isOwnDevice(link: Link): boolean {
  return /^flannel(-v6)?\.\d+$/.test(link.name) || (link.kind === "tun" && /^flannel\d+$/.test(link.name));
}

/** Every interface of the host, with the reason for or against it. @param taken Index of the one that was taken. */
export function listCandidates(
  request: InterfaceRequest,
  host: HostNetwork,
  reasons: ReadonlyMap<number, string>,
  taken?: number,
): InterfaceCandidate[] {
  const asked = request.ifaces.length + request.patterns.length > 0 || request.canReach !== undefined;
  return host.links.map((link) => {
    const addresses = host.addresses.filter(({ linkIndex }) => linkIndex === link.index)
      .map(({ ip }) => formatIp(ip));
    const unmatched = isOwnDevice(link)
      ? "is flannel's own device"
      : asked
      ? "no option points at it"
      : "no default route goes over it";
    const down = link.flags & IFF_UP ? "" : " (it is down)";
    const reason = (reasons.get(link.index) ?? unmatched) + down;
    return { name: link.name, index: link.index, addresses, taken: link.index === taken, reason };
  });
}

/** The sentence for a host without an interface that fits: what was asked, what exists, and how to fix it. */
export function explain(
  request: InterfaceRequest,
  steps: readonly Step[],
  reasons: ReadonlyMap<number, string>,
  candidates: readonly InterfaceCandidate[],
): string {
  const needed = request.families.map((family) => family.label).join(" and ");
  const causes = steps.map(({ asked, matches }) => {
    if (matches.length === 0) {
      return `${asked}: ${asked === "the default route" ? "there is none" : "nothing matches"}`;
    }
    const each = matches.map(({ link }) => `${link.name}: ${reasons.get(link.index)}`);
    return [...new Set(each)].join("; ");
  });
  const have = candidates.map(({ name, addresses }) => `${name} (${addresses.join(", ") || "no address"})`);
  return `No interface with an address for ${needed} found: ${causes.join("; ")}. ` +
    `Interfaces here: ${have.join(", ") || "none"}. ` +
    "Name the one that reaches the other hosts with -iface NAME, or give it the address that it lacks";
}

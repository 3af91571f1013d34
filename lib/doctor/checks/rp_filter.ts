/**
 * Reverse path filters: strict ones drop packets that come another way than answers go.
 *
 * @module
 */
import { lookupRoute } from "../../netlink/route.ts";
import { formatIp } from "../../net/ip.ts";
import { type Check, count, type Finding, ok } from "../types.ts";

/** How many peers' routes are looked up. */
const MAX_PEERS = 256;

interface FilteredLink {
  readonly name: string;
  /** net.ipv4.conf.NAME.rp_filter: 0 off, 1 strict (RFC 3704), 2 loose. */
  readonly own: number;
}

interface ReversePaths {
  /** net.ipv4.conf.all.rp_filter: the larger of the two counts (Documentation/networking/ip-sysctl.rst). */
  readonly all: number;
  /** The interface to the other hosts, and our devices. */
  readonly links: readonly FilteredLink[];
  /** Peers whose packets come in one way and leave another. */
  readonly asymmetric: readonly {
    readonly peer: string;
    readonly comesBy: string;
    readonly leavesBy: string;
  }[];
}

/** Reads the settings of the interface to the other hosts and of our devices. IPv6 has no such filter. */
export const rpFilter: Check<ReversePaths> = {
  name: "rp_filter",
  group: "kernel",
  looksAt: "reverse path filters of the external interface and our devices",
  async read(scene) {
    const { kernel } = scene;
    const external = await scene.external();
    const plan = await scene.plan();
    const present = new Set(kernel.links.map(({ name }) => name));
    const names = [external.name, ...plan.links.map(({ name }) => name).filter((name) => present.has(name))];
    const read = (name: string) =>
      Number(kernel.sysctl(`net.ipv4.conf.${name.replaceAll(".", "/")}.rp_filter`) ?? 0);
    const asymmetric: ReversePaths["asymmetric"][number][] = [];
    for (const { attributes } of (await scene.peersIfKnown()).slice(0, MAX_PEERS)) {
      const ip = attributes.publicIps.ipv4;
      const route = ip && lookupRoute(kernel.socket, ip);
      const link = kernel.links.find(({ index }) => index === route?.linkIndex);
      if (!ip || !link || link.index === external.index) continue;
      asymmetric.push({ peer: formatIp(ip), comesBy: external.name, leavesBy: link.name });
    }
    return { all: read("all"), links: names.map((name) => ({ name, own: read(name) })), asymmetric };
  },
  judge({ all, links, asymmetric }) {
    const strict = links.filter(({ own }) => Math.max(all, own) === 1);
    const settings = [
      `net.ipv4.conf.all.rp_filter = ${all}`,
      ...links.map(({ name, own }) => `net.ipv4.conf.${name}.rp_filter = ${own}`),
    ];
    const dropping = asymmetric.filter(({ comesBy }) => strict.some(({ name }) => name === comesBy));
    if (dropping.length === 0) {
      const text = strict.length === 0
        ? "no strict filter where packets of peers come in"
        : `strict on ${strict.map(({ name }) => name).join(", ")}, and packets leave the way they come`;
      return [ok(text, ...settings)];
    }
    const finding: Finding = {
      severity: "warning",
      text: `packets of ${count(dropping.length, "peer")} that come in over ` +
        `${
          dropping[0]!.comesBy
        } are dropped: answers would leave another way, and the filter there is strict`,
      evidence: [
        ...settings,
        ...dropping.slice(0, 10).map(({ peer, leavesBy }) => `ip route get ${peer}: dev ${leavesBy}`),
      ],
      remedy: [
        ...new Set([
          ...(all === 1 ? ["sysctl -w net.ipv4.conf.all.rp_filter=2"] : []),
          ...dropping.map(({ comesBy }) => `sysctl -w net/ipv4/conf/${comesBy}/rp_filter=2`),
        ]),
      ],
    };
    return [finding];
  },
};

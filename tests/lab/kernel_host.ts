/**
 * A host's kernel in the namespace of a test: an underlay, a VXLAN device, and a reconciler without a daemon.
 *
 * @module
 */
import type { Entry } from "../../lib/kernel/entries.ts";
import { Reconciler } from "../../lib/kernel/reconciler.ts";
import { findLink } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { noMetrics, noProblems, silentLog } from "../../lib/observe/types.ts";
import { run } from "./netns.ts";

/** The network of these hosts. */
export const NETWORKS = [parsePrefix("10.0.0.0/8"), parsePrefix("fc00::/32")];
export const DEVICE = "flannel.1";

/** eth0 with an address of each family, and flannel.1 upon it. */
export class KernelHost implements Disposable {
  readonly socket = NetlinkSocket.open();
  readonly reconciler: Reconciler;

  constructor() {
    ip("link set lo up");
    ip("link add eth0 type bridge");
    ip("link set eth0 up");
    ip("address add 172.30.0.1/24 dev eth0");
    ip("address add fd00:30::1/64 dev eth0 nodad");
    ip(`link add ${DEVICE} type vxlan id 1 local 172.30.0.1 dev eth0 dstport 8472 nolearning`);
    ip(`link set ${DEVICE} up`);
    this.reconciler = new Reconciler({
      socket: this.socket,
      networks: NETWORKS,
      networkId: "/test",
      log: silentLog,
      metrics: noMetrics,
      problems: noProblems,
    });
    this.reconciler.setLinks([{ name: DEVICE, index: findLink(this.socket, DEVICE)!.index, kind: "vxlan" }]);
  }

  /** What the reconciler says it could not do. */
  get failures(): { entry: string; error: string }[] {
    return this.reconciler.state().failures;
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }
}

/** Runs `ip` with the words of `line`; gives the lines that it prints, trimmed. */
export function ip(line: string): string[] {
  return run("ip", ...line.split(" ")).split("\n").map((each) => each.trim()).filter(Boolean);
}

/** A peer's route through the tunnel: the gateway is the subnet's first address. */
export function tunnelRoute(destination: string): Entry {
  const gateway = parseIp(destination.split("/")[0]!);
  return { kind: "route", link: DEVICE, destination: parsePrefix(destination), gateway, onlink: true };
}

/** A peer's route over the wire. */
export function wireRoute(destination: string, gateway: string): Entry {
  const route = { destination: parsePrefix(destination), gateway: parseIp(gateway) };
  return { kind: "route", link: "eth0", onlink: false, ...route };
}

/** As many peers' routes and what goes with them that further ones go through next-hop objects. */
export function manyPeers(count: number): [owner: string, entries: Entry[]][] {
  return Array.from({ length: count }, (_, index) => {
    const [high, low] = [index >> 8, index & 255];
    const mac = [2, 0, 0, 0, high, low].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
    const gateway = `10.${100 + high}.${low}.0`;
    return [gateway, [
      { kind: "neighbour", link: DEVICE, ip: parseIp(gateway), mac },
      { kind: "fdb", link: DEVICE, mac, remote: parseIp(`172.30.${high}.${low}`) },
      tunnelRoute(`${gateway}/24`),
    ]];
  });
}

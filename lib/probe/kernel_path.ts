/**
 * How this host's kernel would carry packets to a peer now, and what of it contradicts the peer's lease.
 *
 * @module
 */
import { vtepMacOf } from "./lease_data.ts";
import type { Lease } from "../leases/types.ts";
import { IFF_LOWER_UP, IFF_UP } from "../netlink/constants.ts";
import { findLink } from "../netlink/link.ts";
import { listFdb, listNeighbours, neighbourRequest } from "../netlink/neighbour.ts";
import { lookupRoute } from "../netlink/route.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { FdbNeighbour, Link, Neighbour } from "../netlink/types.ts";
import type { Family } from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";

/** Something in the kernel that keeps packets from the peer. */
export interface KernelFault {
  readonly code: "no-route" | "no-neighbour" | "no-fdb-entry" | "device-down";
  readonly text: string;
  readonly remedy: string;
}

/** A peer's way through the kernel. */
export interface KernelPath {
  /** As {@link FamilyView.path}; `none` where no route leads to the peer. */
  readonly path: string;
  /** The device that the route names. */
  readonly link?: Link;
  readonly fault?: KernelFault;
  readonly underlay: UnderlayPath;
}

/** The way to the peer's public address. */
export interface UnderlayPath {
  readonly link?: Link;
  /** The router, or the peer itself where it is on the link. */
  readonly nextHop?: Ip;
  /** The next hop's neighbour entry; absent where there is none. */
  readonly neighbour?: "resolved" | "unresolved";
}

// linux/neighbour.h
const NUD_INCOMPLETE = 0x01, NUD_REACHABLE = 0x02, NUD_STALE = 0x04, NUD_DELAY = 0x08, NUD_PROBE = 0x10;
const NUD_FAILED = 0x20;
/** States of an entry that the kernel keeps by itself and believes in. */
const NUD_BELIEVED = NUD_REACHABLE | NUD_STALE | NUD_DELAY;
/** The kernel asks three times, a second apart (ucast_solicit, retrans_time). */
const VERIFY_MS = 4_000, VERIFY_POLL_MS = 100;

/** The backend's way of carrying, by the config's Type. */
const TUNNELS: Readonly<Record<string, string>> = {
  vxlan: "vxlan",
  ipip: "ipip",
  wireguard: "wireguard",
  udp: "udp",
  "host-gw": "direct",
};

/** How a backend of this type carries packets: what {@link FamilyView.path} says before the kernel was asked. */
export function pathOf(type: string): string {
  return TUNNELS[type] ?? (type === "alloc" ? "routed" : "cloud-route");
}

/** Whether others than this host's kernel know the way to a peer: a cloud, or with alloc whoever made routes. */
export function isRoutedByOthers(path: string): boolean {
  return path === "cloud-route" || path === "routed";
}

/** Reads from the kernel, and keeps tables for the peers that follow: dumps of large networks are long. */
export class KernelReader {
  readonly #socket: NetlinkSocket;
  readonly #links = new Map<number, Link | undefined>();
  readonly #neighbours = new Map<string, Neighbour[]>();
  readonly #fdb = new Map<number, FdbNeighbour[]>();

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Forgets what was read. */
  refresh(): void {
    this.#links.clear();
    this.#neighbours.clear();
    this.#fdb.clear();
  }

  /**
   * @param type The config's Backend.Type.
   * @param target An address in the peer's subnet.
   */
  path(type: string, lease: Lease, target: Ip): KernelPath {
    const publicIp = lease.attributes.publicIps[target.family.name];
    const underlay = publicIp ? this.underlay(publicIp) : {};
    const subnet = formatPrefix(lease.subnets[target.family.name]!);
    const route = lookupRoute(this.#socket, target);
    const link = route?.linkIndex === undefined ? undefined : this.#link(route.linkIndex);
    if (!route || !link) return { path: "none", underlay, fault: noRoute(subnet) };
    const expected = pathOf(type);
    if (isRoutedByOthers(expected)) return { path: expected, link, underlay };
    const isDirect = publicIp !== undefined && sameIp(route.gateway, publicIp) && link.kind !== "ipip";
    const path = isDirect && expected !== "wireguard" && expected !== "udp" ? "direct" : expected;
    const isTunnel = path === "direct" || isTunnelLink(link, path);
    if (!isTunnel) return { path: "none", link, underlay, fault: noRoute(subnet, link.name, route.gateway) };
    const fault = deviceFault(link) ??
      (path === "vxlan" ? this.#vxlanFault(lease, link, route.gateway ?? target) : undefined);
    return { path, link, underlay, ...fault ? { fault } : {} };
  }

  /** The way to an address beside the overlay. */
  underlay(publicIp: Ip): UnderlayPath {
    const route = lookupRoute(this.#socket, publicIp);
    const link = route?.linkIndex === undefined ? undefined : this.#link(route.linkIndex);
    if (!route || !link) return {};
    const nextHop = route.gateway ?? publicIp;
    const entry = this.#neighboursOf(nextHop.family, link.index).find(({ ip }) => sameIp(ip, nextHop));
    const isUnresolved = entry && (entry.state & (NUD_FAILED | NUD_INCOMPLETE)) !== 0;
    return {
      link,
      nextHop,
      ...entry ? { neighbour: isUnresolved ? "unresolved" : "resolved" } : {},
    };
  }

  /**
   * Has the kernel ask the next hop by ARP or ND whether it is still there, and waits for what comes of it: an entry
   * is believed for up to 45 s after its host is gone. Entries that somebody made permanent stay as they are.
   *
   * @returns The way as it is known then.
   */
  async verifyNextHop(publicIp: Ip, sleep: (ms: number) => Promise<void>): Promise<UnderlayPath> {
    const { link, nextHop } = this.underlay(publicIp);
    const entry = () =>
      link && nextHop &&
      listNeighbours(this.#socket, { family: nextHop.family, linkIndex: link.index })
        .find(({ ip }) => sameIp(ip, nextHop));
    const before = entry();
    if (before?.mac !== undefined && (before.state & NUD_BELIEVED) !== 0) {
      this.#socket.execute(neighbourRequest("replace", { ...before, state: NUD_PROBE }));
    }
    // The kernel may be asking already.
    for (let waited = 0; waited < VERIFY_MS && entry()?.state === NUD_PROBE; waited += VERIFY_POLL_MS) {
      await sleep(VERIFY_POLL_MS);
    }
    this.refresh();
    return this.underlay(publicIp);
  }

  #vxlanFault(lease: Lease, link: Link, gateway: Ip): KernelFault | undefined {
    const { family } = gateway;
    const remedy = `flanneld writes it again within a minute; if not, see: flanneld status`;
    const mac = this.#neighboursOf(family, link.index).find(({ ip }) => sameIp(ip, gateway))?.mac;
    const expected = vtepMacOf(lease, family);
    if (mac === undefined || (expected !== undefined && mac !== expected)) {
      const found = mac === undefined ? "there is none" : `the kernel has ${mac}`;
      return {
        code: "no-neighbour",
        text: `no neighbour entry of ${formatIp(gateway)} with the lease's MAC ${
          expected ?? ""
        } on ${link.name}: ${found}`,
        remedy,
      };
    }
    const publicIp = lease.attributes.publicIps[family.name];
    const entries = this.#fdbOf(link.index).filter((entry) => entry.mac === mac);
    if (entries.some(({ remote }) => sameIp(remote, publicIp))) return undefined;
    const found = entries.map(({ remote }) => remote ? formatIp(remote) : "no address").join(", ");
    return {
      code: "no-fdb-entry",
      text: `no forwarding entry of ${mac} to ${
        publicIp ? formatIp(publicIp) : "its address"
      } on ${link.name}: ${found === "" ? "there is none" : `the kernel has ${found}`}`,
      remedy,
    };
  }

  #link(index: number): Link | undefined {
    if (!this.#links.has(index)) this.#links.set(index, findLink(this.#socket, index));
    return this.#links.get(index);
  }

  #neighboursOf(family: Family, linkIndex: number): Neighbour[] {
    const key = `${family.name} ${linkIndex}`;
    let known = this.#neighbours.get(key);
    if (!known) this.#neighbours.set(key, known = listNeighbours(this.#socket, { family, linkIndex }));
    return known;
  }

  #fdbOf(linkIndex: number): FdbNeighbour[] {
    let known = this.#fdb.get(linkIndex);
    if (!known) this.#fdb.set(linkIndex, known = listFdb(this.#socket, linkIndex));
    return known;
  }
}

/** WireGuard in user space and the udp backend have TUN devices. */
function isTunnelLink({ kind }: Link, path: string): boolean {
  if (path === "udp") return kind === "tun";
  if (path === "wireguard") return kind === "wireguard" || kind === "tun";
  return kind === path;
}

function noRoute(subnet: string, device?: string, gateway?: Ip): KernelFault {
  const instead = device === undefined
    ? "there is none"
    : `packets go to ${gateway ? `${formatIp(gateway)} on ` : ""}${device}`;
  return {
    code: "no-route",
    text: `no route to ${subnet} by way of the peer: ${instead}`,
    remedy: `ip route get ${subnet.replace(/\/\d+$/, "")}; flanneld status says why flanneld made none`,
  };
}

function deviceFault({ name, flags }: Link): KernelFault | undefined {
  if ((flags & IFF_UP) === 0) {
    return { code: "device-down", text: `the device ${name} is down`, remedy: `ip link set ${name} up` };
  }
  if ((flags & IFF_LOWER_UP) !== 0) return undefined;
  return {
    code: "device-down",
    text: `the device ${name} has no carrier`,
    remedy: `ip link show ${name}; of a TUN: is the program that carries it running?`,
  };
}

/**
 * Looks at the outer packets of a tunnel on the external interface while a peer is asked: whether they leave, and
 * whether anything comes back, before this host's firewall sees it.
 *
 * @module
 */
import { compile, type LinkHeader, ofThisHost, outerClauses, subnetClauses } from "../capture/filter.ts";
import { PacketTap, type TappedPacket } from "../capture/packet_tap.ts";
import type { Family } from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import type { Prefix } from "../net/prefix.ts";
import { isUdpTunnel, type Tunnel } from "../net/tunnel.ts";
import { type Echoer } from "./echoer.ts";
import { icmpOf } from "./icmp.ts";
import type { KernelPath } from "./kernel_path.ts";
import type { OuterFindings } from "./findings.ts";

/** What is looked at: headers only. */
const SIZES = { snapLength: 192, batch: 32, receiveBufferBytes: 256 * 1024 };
/** Lengths of the headers between the outer UDP header and the inner packet. */
const UDP_BYTES = 8, VXLAN_BYTES = 8, ETHERNET_BYTES = 14;

/** What is watched. */
export interface WatchTarget {
  readonly publicIp: Ip;
  /** The peer's own ports, where its lease names some. */
  readonly ports: readonly number[];
  /** The peer's subnet. */
  readonly subnet: Prefix;
  readonly kernel: KernelPath;
  readonly tunnel?: Tunnel;
}

/** Watches while `during` runs. Undefined where there is no interface to watch. */
export async function watchOuter(
  { publicIp, subnet, kernel, tunnel, ports }: WatchTarget,
  echoer: Echoer,
  during: () => Promise<void>,
): Promise<OuterFindings | undefined> {
  const { link } = kernel.underlay;
  if (!link) return undefined;
  const isDirect = kernel.path === "direct" || !tunnel;
  const { family } = publicIp;
  const clauses = (header: LinkHeader) =>
    isDirect
      ? subnetClauses(header, [subnet])
      : outerClauses(header, { tunnel, families: [family], peers: [publicIp], peerPorts: ports });
  let error: OuterFindings["error"];
  using _errors = echoer.onForeignError(({ error: { reason, destination, protocol }, from }) => {
    const carried = tunnel && isUdpTunnel(tunnel) ? 17 : tunnel?.ipProtocol;
    if (sameIp(destination, publicIp) && protocol === carried) error ??= { reason, from: formatIp(from) };
  });
  using tap = new PacketTap(
    link.index,
    (header) => compile(ofThisHost(clauses(header)), SIZES.snapLength),
    SIZES,
  );
  await during();
  const innerAt = innerOffset(tap.header, family, isDirect ? undefined : tunnel);
  const found = { sent: 0, received: 0, answers: 0 };
  for (let packets = tap.read(); packets.length > 0; packets = tap.read()) {
    for (const packet of packets) {
      if (packet.isOutgoing) found.sent++;
      else {
        found.received++;
        found.answers += Number(isEchoReply(packet, innerAt, subnet.family));
      }
    }
  }
  return { ...found, ...error ? { error } : {} };
}

/** Where the inner IP header stands in a frame. */
function innerOffset(header: LinkHeader, family: Family, tunnel: Tunnel | undefined): number {
  if (!tunnel) return header;
  const outer = header + family.headerBytes;
  if (!isUdpTunnel(tunnel)) return outer;
  return outer + UDP_BYTES + (tunnel.vni === undefined ? 0 : VXLAN_BYTES + ETHERNET_BYTES);
}

/** Of an encrypted tunnel nothing is one. */
function isEchoReply({ bytes }: TappedPacket, at: number, family: Family): boolean {
  const { protocol, echoReply } = icmpOf(family);
  const protocolAt = at + (family.version === 4 ? 9 : 6);
  return (bytes[at] ?? 0) >>> 4 === family.version && bytes[protocolAt] === protocol &&
    bytes[at + family.headerBytes] === echoReply;
}

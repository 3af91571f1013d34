/**
 * Where a tunnel's packets are seen: outer ones on the interface to the other hosts, inner ones on flannel's device,
 * or on the former where they go without a tunnel.
 *
 * @module
 */
import { type Clause, type LinkHeader, ofThisHost, outerClauses, subnetClauses } from "../capture/filter.ts";
import type { CaptureSource } from "../capture/recorder.ts";
import type { NetworkView } from "../daemon/network_view.ts";
import { familiesOf } from "../net/family.ts";
import { formatIp, type Ip, sameIp } from "../net/ip.ts";
import { containsIp, formatPrefix, type Prefix } from "../net/prefix.ts";
import { listAddresses } from "../netlink/address.ts";
import { findLink } from "../netlink/link.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import type { Link } from "../netlink/types.ts";
import { KernelReader } from "../probe/kernel_path.ts";
import { addressToAsk, ownAddresses, peerPorts, type ProbeTarget } from "../probe/target.ts";

/** What is taken of one interface. */
interface Part {
  readonly link: Link;
  readonly description: string;
  readonly clauses: (header: LinkHeader) => readonly Clause[];
}

/** The interfaces to listen on, each once. @param peers Absent: all tunnel traffic. */
export function planCapture(
  network: NetworkView,
  peers: readonly ProbeTarget[] | undefined,
  socket: NetlinkSocket,
): CaptureSource[] {
  const parts = peers ? partsOfPeers(network, peers, socket) : partsOfAll(network, socket);
  const links = new Map(parts.map(({ link }) => [link.index, link]));
  return [...links.values()].map(({ index, name }) => {
    const own = parts.filter(({ link }) => link.index === index);
    return {
      ...{ index, name },
      description: [...new Set(own.map(({ description }) => description))].join("; "),
      clauses: (header) => own.flatMap(({ clauses }) => clauses(header)),
    };
  });
}

function partsOfPeers(
  network: NetworkView,
  peers: readonly ProbeTarget[],
  socket: NetlinkSocket,
): Part[] {
  const reader = new KernelReader(socket);
  const parts: Part[] = [];
  for (const peer of peers) {
    for (const family of familiesOf(peer.lease.subnets)) {
      const subnet = peer.lease.subnets[family.name]!;
      const { link, underlay, path } = reader.path(
        network.type,
        peer.lease,
        addressToAsk(network.type, subnet),
      );
      // A route that leads elsewhere is a fault, and what goes there is what the capture is to show.
      if (link) parts.push(innerPart(link, [subnet]));
      const publicIp = peer.lease.attributes.publicIps[family.name];
      if (publicIp && underlay.link && path !== "direct") {
        parts.push(...outerPart(network, underlay.link, { peers: [publicIp], targets: [peer] }));
      }
    }
  }
  return parts;
}

function partsOfAll(network: NetworkView, socket: NetlinkSocket): Part[] {
  const external = findLink(socket, network.external);
  if (!external) throw new Error(`The interface ${network.external} is gone`);
  const { targets, type } = network;
  const outer = outerPart(network, external, { targets });
  const reader = new KernelReader(socket);
  const isWithoutTunnel = outer.length === 0 ||
    targets.some(({ lease }) =>
      familiesOf(lease.subnets).some(({ name }) =>
        reader.path(type, lease, addressToAsk(type, lease.subnets[name]!)).path === "direct"
      )
    );
  const direct = isWithoutTunnel ? [directPart(network, external, socket)] : [];
  return [...ownDevices(network, socket).map(allPart), ...outer, ...direct];
}

/** Flannel's devices: those with the own overlay addresses. Bridges have them where there is no tunnel. */
function ownDevices(network: NetworkView, socket: NetlinkSocket): Link[] {
  if (!network.tunnel) return [];
  const own = Object.values(ownAddresses(network, familiesOf(network.subnets)));
  const indexes = listAddresses(socket).filter(({ ip }) => own.some((one) => sameIp(one, ip)))
    .map(({ linkIndex }) => linkIndex);
  return [...new Set(indexes)].flatMap((index) => findLink(socket, index) ?? []);
}

function allPart(link: Link): Part {
  // Of a device of flannel's own everything is meant, and a tunnel carries nothing but IP.
  return { link, description: "inner packets", clauses: () => [] };
}

function innerPart(link: Link, prefixes: readonly Prefix[]): Part {
  return {
    link,
    description: `inner packets of ${prefixes.map(formatPrefix).join(", ")}`,
    clauses: (header) => subnetClauses(header, prefixes),
  };
}

/** The network's packets on the external interface. Where it holds the underlay's addresses, those of the peers. */
function directPart(network: NetworkView, external: Link, socket: NetlinkSocket): Part {
  const { networks, targets } = network;
  const addresses = listAddresses(socket, { linkIndex: external.index });
  const isMixed = addresses.some(({ ip }) => networks.some((prefix) => containsIp(prefix, ip)));
  if (!isMixed) return innerPart(external, networks);
  return innerPart(
    external,
    targets.flatMap(({ lease }) => familiesOf(lease.subnets).map(({ name }) => lease.subnets[name]!)),
  );
}

function outerPart(
  network: NetworkView,
  link: Link,
  { peers, targets }: { readonly peers?: readonly Ip[]; readonly targets: readonly ProbeTarget[] },
): Part[] {
  const { tunnel } = network;
  if (!tunnel) return [];
  const families = familiesOf(network.subnets);
  const ports = targets.flatMap(peerPorts);
  const whose = peers ? ` of ${peers.map(formatIp).join(", ")}` : "";
  return [{
    link,
    description: `outer packets${whose}`,
    clauses: (header) =>
      ofThisHost(outerClauses(header, {
        ...{ tunnel, families, peerPorts: ports },
        ...peers ? { peers } : {},
      })),
  }];
}

/**
 * The MTU along the way of a packet: container, device, underlay, the path to each peer.
 *
 * @module
 */
import type { ReadSubnetFile } from "../../config/subnet_file.ts";
import type { Link } from "../../netlink/types.ts";
import { lookupRoute } from "../../netlink/route.ts";
import { familiesOf } from "../../net/family.ts";
import { formatIp } from "../../net/ip.ts";
import { containsIp } from "../../net/prefix.ts";
import type { Scene } from "../scene.ts";
import { type Check, count, type Finding, ok } from "../types.ts";

/** How many peers' paths are looked up. */
const MAX_PATHS = 256;

/** A device and its MTU in bytes. */
interface DeviceMtu {
  readonly name: string;
  readonly mtu: number;
}

/** The path to a peer's public address. */
export interface PathMtu {
  readonly peer: string;
  /** The device that it goes through. */
  readonly device: string;
  /** What the path takes, in bytes. */
  readonly mtu: number;
  /** What containers may send then. */
  readonly carries: number;
}

interface MtuFacts {
  /** The interface to the other hosts. */
  readonly external: DeviceMtu;
  /** What containers are to use. */
  readonly planned: number;
  /** What the subnet file says. */
  readonly written?: number;
  /** The backend's devices that are there. */
  readonly devices: readonly DeviceMtu[];
  /** The MTU that each of them is to have. */
  readonly wanted: ReadonlyMap<string, number>;
  /** Bridges with an address of this host's subnet. */
  readonly bridges: readonly DeviceMtu[];
  /** Paths that take less than the interface. */
  readonly narrow: readonly PathMtu[];
  readonly paths: number;
}

/** Reads devices, and looks up the route to each peer. */
export const mtu: Check<MtuFacts> = {
  name: "mtu",
  group: "underlay",
  looksAt: "the MTU of containers' bridges, our devices, the underlay and the paths to peers",
  async read(scene) {
    const external = await scene.external();
    const plan = await scene.plan();
    const wanted = new Map(plan.links.map((link) => [link.name, link.mtu]));
    const file = await scene.subnetFile();
    const { narrow, paths } = await readPaths(scene, external.mtu);
    return {
      external,
      planned: plan.mtu,
      ...(file?.mtu === undefined ? {} : { written: file.mtu }),
      devices: scene.kernel.links.filter(({ name }) => wanted.has(name)),
      wanted,
      bridges: containerBridges(scene, file),
      narrow,
      paths,
    };
  },
  judge: judgeMtu,
};

async function readPaths(scene: Scene, externalMtu: number): Promise<Pick<MtuFacts, "narrow" | "paths">> {
  const peers = await scene.peersIfKnown();
  const narrow: PathMtu[] = [];
  let paths = 0;
  for (const { attributes: { publicIps } } of peers.slice(0, MAX_PATHS)) {
    for (const family of familiesOf(publicIps)) {
      const ip = publicIps[family.name]!;
      const route = lookupRoute(scene.kernel.socket, ip);
      const link = scene.kernel.links.find(({ index }) => index === route?.linkIndex);
      if (!route || !link) continue;
      paths++;
      const mtu = route.mtu ?? link.mtu;
      if (mtu >= externalMtu) continue;
      const carries = (await scene.planFor(mtu)).mtu;
      narrow.push({ peer: formatIp(ip), device: link.name, mtu, carries });
    }
  }
  return { narrow, paths };
}

/** Bridges that containers of this host's subnet are on. */
function containerBridges({ kernel }: Scene, file: ReadSubnetFile | undefined): Link[] {
  const subnets = Object.values(file?.subnets ?? {});
  return kernel.links.filter(({ kind, index }) =>
    kind === "bridge" &&
    kernel.addresses.some(({ linkIndex, ip }) =>
      linkIndex === index && subnets.some((subnet) => containsIp(subnet, ip))
    )
  );
}

function judgeMtu(facts: MtuFacts): Finding[] {
  const { external, planned, written, devices, bridges, paths } = facts;
  const findings = [
    ...judgeDevices(facts),
    ...(written !== undefined && written !== planned ? [differs(written, planned)] : []),
    ...bridges.flatMap((bridge) => judgeBridge(bridge, written ?? planned)),
    ...judgePaths(facts),
  ];
  if (findings.length > 0) return findings;
  const parts = [
    `${external.name} ${external.mtu}`,
    ...devices.map(({ name, mtu }) => `${name} ${mtu}`),
    `containers ${written ?? planned}`,
    ...(paths > 0 ? [`paths to ${count(paths, "peer")} ${external.mtu}`] : []),
  ];
  return [ok(parts.join(", "))];
}

function judgeDevices({ devices, wanted }: MtuFacts): Finding[] {
  return devices.filter(({ name, mtu }) => mtu !== wanted.get(name)).map(({ name, mtu }) => ({
    severity: "warning",
    text: `${name} has MTU ${mtu}, the network config and the underlay give ${wanted.get(name)}`,
    evidence: [`${name} mtu ${mtu}`],
    remedy: [`ip link set ${name} mtu ${wanted.get(name)}`],
  }));
}

function differs(written: number, planned: number): Finding {
  return {
    severity: "warning",
    text:
      `the subnet file gives containers MTU ${written}, the network config and the underlay give ${planned}`,
    evidence: [`FLANNEL_MTU=${written}`],
    remedy: ["systemctl restart flanneld"],
  };
}

function judgeBridge({ name, mtu }: DeviceMtu, least: number): Finding[] {
  if (mtu <= least) return [];
  return [{
    severity: "warning",
    text: `the containers' bridge ${name} has MTU ${mtu}, the network carries ${least}: ` +
      "large packets to other hosts are lost, or cost an ICMP error each",
    evidence: [`${name} mtu ${mtu}`, `FLANNEL_MTU=${least}`],
    remedy: [
      `ip link set ${name} mtu ${least}`,
      '# and for good: Docker\'s --mtu, or "mtu" of the CNI configuration; then start the containers again',
    ],
  }];
}

function judgePaths({ narrow, planned, external }: MtuFacts): Finding[] {
  const tight = narrow.filter(({ carries }) => carries < planned);
  if (tight.length === 0) return [];
  const least = Math.min(...tight.map(({ carries }) => carries));
  return [{
    severity: "warning",
    text:
      `${
        tight.length === 1 ? "the path to a peer takes" : `the paths to ${tight.length} peers take`
      } less than ` +
      `${external.name}: containers' packets of more than ${least} bytes get lost there, or fragmented`,
    evidence: tight.slice(0, 10).map(({ peer, device, mtu }) =>
      `ip route get ${peer}: dev ${device} mtu ${mtu}`
    ),
    remedy: [
      "flanneld config get >net-conf.json",
      `# in net-conf.json: "Backend": {…, "MTU": ${least}}`,
      "flanneld config set net-conf.json && systemctl restart flanneld   # on every host",
    ],
  }];
}

/**
 * The data plane that a person would build with `ip`: what flanneld's is measured against.
 *
 * @module
 */
import type { Host } from "./host.ts";
import type { Lab } from "./lab.ts";

/** The subnet of host `number` in a network made by hand. */
function subnet(number: number): string {
  return `10.5.${number}`;
}

/** What every VTEP made by hand has as its MAC. */
function mac(number: number): string {
  return `02:00:00:00:00:${number.toString(16).padStart(2, "0")}`;
}

/** Name of the VXLAN device made by hand. */
export const HAND_DEVICE = "hand.7";

function vxlanLines(host: Host, peers: readonly Host[], mtu: number): string[] {
  const own = subnet(host.number);
  const local = host.addresses.ipv4!;
  return [
    `link add ${HAND_DEVICE} address ${
      mac(host.number)
    } mtu ${mtu} type vxlan id 7 local ${local} dev eth0 dstport 8472 nolearning`,
    `address add ${own}.0/32 dev ${HAND_DEVICE}`,
    `link set ${HAND_DEVICE} up`,
    ...peers.flatMap(({ number }) => [
      `neigh replace ${subnet(number)}.0 lladdr ${mac(number)} nud permanent dev ${HAND_DEVICE}`,
      `route replace ${subnet(number)}.0/24 via ${subnet(number)}.0 dev ${HAND_DEVICE} onlink`,
    ]),
  ];
}

function fdbLines(peers: readonly Host[]): string {
  return peers.map(({ number, addresses }) =>
    `fdb replace ${mac(number)} dst ${addresses.ipv4} dev ${HAND_DEVICE} self permanent\n`
  ).join("");
}

function directLines(peers: readonly Host[]): string[] {
  return peers.map(({ number, addresses }) =>
    `route replace ${subnet(number)}.0/24 via ${addresses.ipv4} dev eth0`
  );
}

/**
 * Connects the lab's hosts (IPv4, one segment) without flanneld, and writes the subnet files that containers
 * are made from.
 *
 * @param underlayMtu MTU of the hosts' eth0, in bytes.
 */
export async function connectByHand(
  lab: Lab,
  kind: "vxlan" | "host-gw",
  underlayMtu: number,
): Promise<void> {
  const mtu = kind === "vxlan" ? underlayMtu - 50 : underlayMtu;
  await Promise.all(lab.hosts.map(async (host) => {
    const peers = lab.hosts.filter((peer) => peer !== host);
    if (kind === "vxlan") {
      await host.ip(...vxlanLines(host, peers, mtu));
      await host.exec(["bridge", "-batch", "-"], { input: fdbLines(peers) });
    } else {
      await host.ip(...directLines(peers));
    }
    await Deno.mkdir(host.folder, { recursive: true });
    const text = `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${subnet(host.number)}.1/24\n`;
    await Deno.writeTextFile(host.subnetFile, `${text}FLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=false\n`);
  }));
}

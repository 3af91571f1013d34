/**
 * WireGuard and IPIP as a person would set them up: what flanneld's are measured against.
 *
 * @module
 */
import { generatePrivateKey, publicKeyOf } from "../../lib/wireguard/keys.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { run } from "../../scripts/lab/process.ts";

/** What the tunnels take of an MTU of 1500, as the backends reckon it. */
const MTU = { wireguard: 1420, ipip: 1480 } as const;

/** Whether this kernel makes devices of a kind. */
export async function hasKind(kind: "wireguard" | "ipip"): Promise<boolean> {
  const name = `probe${crypto.randomUUID().slice(0, 6)}`;
  // Without an address it would be a second tunl0, and "File exists".
  const local = kind === "ipip" ? ["local", "192.0.2.1"] : [];
  const { code } = await run(["ip", "link", "add", name, "type", kind, ...local], { mayFail: true });
  if (code === 0) await run(["ip", "link", "delete", name]);
  return code === 0;
}

function subnet(host: Host): string {
  return `10.5.${host.number}`;
}

/** The device of a host: names of their own, since programs put their sockets into a folder that all hosts share. */
export function handDevice(lab: Lab, host: Host): string {
  return `hand${lab.prefix.slice(-5, -1)}${host.number}`;
}

/** Connects the lab's hosts (IPv4, one segment) without flanneld, and writes their subnet files. */
export async function connectTunnelsByHand(lab: Lab, type: "wireguard" | "ipip"): Promise<void> {
  const keys = new Map(lab.hosts.map((host) => [host, generatePrivateKey()]));
  const isKernel = await hasKind(type);
  for (const host of lab.hosts) {
    const device = handDevice(lab, host);
    const peers = lab.hosts.filter((peer) => peer !== host);
    await Deno.mkdir(host.folder, { recursive: true });
    if (type === "ipip") {
      await host.ip(`link add ${device} type ipip local ${host.addresses.ipv4}`);
    } else {
      const file = `${host.folder}/hand-key`;
      await Deno.writeTextFile(file, keys.get(host)!);
      if (isKernel) await host.ip(`link add ${device} type wireguard`);
      else await host.spawn(["wireguard-go", device]).output();
      const others = peers.flatMap((peer) => [
        ...["peer", publicKeyOf(keys.get(peer)!), "endpoint", `${peer.addresses.ipv4}:51820`],
        ...["allowed-ips", `${subnet(peer)}.0/24`],
      ]);
      await host.exec(["wg", "set", device, "private-key", file, "listen-port", "51820", ...others]);
    }
    await host.ip(
      `address add ${subnet(host)}.0/32 dev ${device}`,
      `link set ${device} mtu ${MTU[type]} up`,
      ...peers.map((peer) =>
        type === "ipip"
          ? `route add ${subnet(peer)}.0/24 via ${peer.addresses.ipv4} dev ${device} onlink`
          : `route add ${subnet(peer)}.0/24 dev ${device}`
      ),
    );
    const text = `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=${subnet(host)}.1/24\n`;
    await Deno.writeTextFile(host.subnetFile, `${text}FLANNEL_MTU=${MTU[type]}\nFLANNEL_IPMASQ=false\n`);
  }
}

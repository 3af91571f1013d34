/**
 * A host at one end of a tunnel, for tests of who may send into it.
 *
 * @module
 */
import { PeerFilter, type PeerFilterOptions } from "../../lib/firewall/peer_filter.ts";
import { type FamilyName, IPV4, IPV6 } from "../../lib/net/family.ts";
import { type Ip, ipOf, parseIp } from "../../lib/net/ip.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { FirewallHost, NETWORK_ID } from "./firewall_lab.ts";

/** Underlay addresses: the host's towards each neighbour, and the neighbour's. */
export const UNDERLAY = {
  peer: { ipv4: ["172.30.1.1", "172.30.1.2"], ipv6: ["fd00:1::1", "fd00:1::2"] },
  stranger: { ipv4: ["172.30.2.1", "172.30.2.2"], ipv6: ["fd00:2::1", "fd00:2::2"] },
} as const;

export type Neighbour = keyof typeof UNDERLAY;

const HOST_MAC = "02:00:00:00:00:01";
/** VNIs on the one port: ours, and that of another network on the same host. */
export const OURS = 1, OTHERS = 2;

/** A filter for {@link OURS} on port 8472. */
export function filterOn(host: FirewallHost, options: Partial<PeerFilterOptions> = {}): Promise<PeerFilter> {
  return PeerFilter.open({
    networkId: NETWORK_ID,
    tunnel: { udpPorts: [8472], vni: OURS },
    log: silentLog,
    run: host.run,
    ...options,
  });
}

/** A host with VXLAN devices, a peer, and a stranger who knows how to forge the peers' packets. */
export class Tunnel implements AsyncDisposable {
  private constructor(
    readonly outer: FamilyName,
    readonly host: FirewallHost,
    readonly neighbours: Readonly<Record<Neighbour, FirewallHost>>,
  ) {}

  static async make(outer: FamilyName): Promise<Tunnel> {
    const [host, peer, stranger] = await Promise.all([0, 1, 2].map(() => FirewallHost.make()));
    const tunnel = new Tunnel(outer, host!, { peer: peer!, stranger: stranger! });
    try {
      await tunnel.#build();
      return tunnel;
    } catch (error) {
      await tunnel[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #build(): Promise<void> {
    const { host, neighbours } = this;
    for (const namespace of [host, ...Object.values(neighbours)]) {
      await namespace.exec(
        "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.dad_transmits=0",
      );
    }
    for (const [name, namespace] of Object.entries(neighbours)) {
      await this.#connect(name as Neighbour, namespace);
    }
    const local = this.outer === "ipv6" ? "udp6zerocsumrx local ::" : "";
    for (const vni of [OURS, OTHERS]) await addVxlan(host, vni, HOST_MAC, local);
    await host.exec(
      "nft -f -",
      `\
table inet seen {
  set outer { type ether_addr; flags dynamic; size 64; }
  chain prerouting {
    type filter hook prerouting priority 0; policy accept;
    iifname "flannel.*" icmp type echo-request counter add @outer { ether saddr }
  }
}
`,
    );
  }

  async #connect(name: Neighbour, namespace: FirewallHost): Promise<void> {
    const { ipv4, ipv6 } = UNDERLAY[name];
    await this.host.exec(
      "ip -batch -",
      `\
link add ${name} type veth peer name eth0 netns ${namespace.name}
address add ${ipv4[0]}/24 dev ${name}
address add ${ipv6[0]}/64 dev ${name}
link set ${name} up
`,
    );
    const [remote, local] = UNDERLAY[name][this.outer];
    await namespace.exec(
      "ip -batch -",
      `\
address add ${ipv4[1]}/24 dev eth0
address add ${ipv6[1]}/64 dev eth0
link set eth0 up
`,
    );
    for (const vni of [OURS, OTHERS]) {
      await addVxlan(namespace, vni, macOf(name, vni), `local ${local} remote ${remote}`);
      await namespace.exec(
        "ip -batch -",
        `\
address add 10.5.${name.length}.${vni}/32 dev flannel.${vni}
route add 10.5.72.${vni}/32 dev flannel.${vni}
neigh add 10.5.72.${vni} lladdr ${HOST_MAC} nud permanent dev flannel.${vni}
`,
      );
    }
  }

  /** Has the neighbour send into the tunnel. @returns Whether it came out of the host's device. */
  async arrives(from: Neighbour, vni = OURS): Promise<boolean> {
    await this.host.exec("nft flush set inet seen outer");
    await this.neighbours[from].run("ping", ["-n", "-c", "1", "-W", "0.1", `10.5.72.${vni}`]);
    return (await this.host.exec("nft list set inet seen outer")).includes(macOf(from, vni));
  }

  /** How many packets have come out of the host's devices. */
  async arrivedPackets(): Promise<number> {
    return Number(
      /counter packets (\d+)/.exec(await this.host.exec("nft list chain inet seen prerouting"))![1],
    );
  }

  addressOf(name: Neighbour): Ip {
    return parseIp(UNDERLAY[name][this.outer][1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of [...Object.values(this.neighbours), this.host]) await host[Symbol.asyncDispose]();
  }
}

/** Makes a VXLAN device that sends nothing of itself: packets are counted. */
async function addVxlan(host: FirewallHost, vni: number, mac: string, ends: string): Promise<void> {
  const device = `flannel.${vni}`;
  const kind = `vxlan id ${vni} dstport 8472 nolearning ${ends}`.trimEnd();
  await host.exec(`ip link add ${device} address ${mac} type ${kind}`);
  await host.exec(`sysctl -qw net.ipv6.conf.flannel/${vni}.disable_ipv6=1`);
  await host.exec(`ip link set ${device} up`);
}

function macOf(name: Neighbour, vni: number): string {
  return `02:00:00:00:${name === "peer" ? "0a" : "0b"}:0${vni}`;
}

/** So many addresses of both families. */
export function addresses(count: number): Ip[] {
  return Array.from(
    { length: count },
    (_, i) => i % 2 === 0 ? ipOf(IPV4, 0x0a000000n + BigInt(i)) : ipOf(IPV6, (0xfd00n << 112n) + BigInt(i)),
  );
}

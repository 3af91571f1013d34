import assert from "node:assert/strict";
import { PeerFilter, type PeerFilterOptions } from "../../lib/firewall/peer_filter.ts";
import { FirewallUnavailableError } from "../../lib/firewall/tools.ts";
import { type FamilyName, IPV4, IPV6 } from "../../lib/net/family.ts";
import { type Ip, ipOf, parseIp } from "../../lib/net/ip.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { FirewallHost, firewallTest, folderWith, NETWORK_ID } from "./firewall_lab.ts";
import { until } from "../../scripts/lab/process.ts";

/** Underlay addresses: the host's towards each neighbour, and the neighbour's. */
const UNDERLAY = {
  peer: { ipv4: ["172.30.1.1", "172.30.1.2"], ipv6: ["fd00:1::1", "fd00:1::2"] },
  stranger: { ipv4: ["172.30.2.1", "172.30.2.2"], ipv6: ["fd00:2::1", "fd00:2::2"] },
} as const;

type Neighbour = keyof typeof UNDERLAY;

const HOST_MAC = "02:00:00:00:00:01";
/** VNIs on the one port: ours, and that of another network on the same host. */
const OURS = 1, OTHERS = 2;

function filterOn(host: FirewallHost, options: Partial<PeerFilterOptions> = {}): Promise<PeerFilter> {
  return PeerFilter.open({
    networkId: NETWORK_ID,
    port: 8472,
    vni: OURS,
    log: silentLog,
    run: host.run,
    ...options,
  });
}

/** A host with VXLAN devices, a peer, and a stranger who knows how to forge the peers' packets. */
class Tunnel implements AsyncDisposable {
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

for (const outer of ["ipv4", "ipv6"] as const) {
  firewallTest(
    `peer filter: over ${outer} a forged packet arrives without it and doesn't with it`,
    async () => {
      await using tunnel = await Tunnel.make(outer);
      for (const name of ["peer", "stranger"] as const) {
        await until(`packets of the ${name}`, () => tunnel.arrives(name), 5000);
      }
      using filter = await filterOn(tunnel.host);
      await filter.setPeers([tunnel.addressOf("peer")]);
      assert.equal(await tunnel.arrives("peer"), true, "a live peer");
      assert.equal(await filter.droppedPackets(), 0);
      assert.equal(await tunnel.arrives("stranger"), false, "a stranger");
      assert.equal(await filter.droppedPackets(), 1);
      assert.equal(await tunnel.arrives("stranger", OTHERS), true, "another network on the same port");
      await filter.setPeers([tunnel.addressOf("stranger")]);
      assert.equal(await tunnel.arrives("stranger"), true, "a new peer");
      assert.equal(await tunnel.arrives("peer"), false, "a former peer");
      assert.equal(await filter.droppedPackets(), 2);
      await filter.remove();
      assert.equal(await tunnel.arrives("peer"), true, "the filter is gone");
      assert.equal(await filter.droppedPackets(), 2);
      await filter.remove();
    },
  );
}

firewallTest("peer filter: datagrams to a port without VNIs are filtered too", async () => {
  await using tunnel = await Tunnel.make("ipv4");
  const { host } = tunnel;
  await host.exec(
    "nft -f -",
    `\
table inet arrived {
  chain input {
    type filter hook input priority 10; policy accept;
    udp dport 8285 counter
  }
}
`,
  );
  const arrived = async () =>
    Number(/packets (\d+)/.exec(await host.exec("nft list table inet arrived"))![1]);
  const send = async (from: Neighbour) => {
    const { code } = await tunnel.neighbours[from].run("bash", [
      "-c",
      `exec 3>/dev/udp/${UNDERLAY[from].ipv4[0]}/8285; echo hello >&3`,
    ]);
    assert.equal(code, 0);
  };
  await send("stranger");
  assert.equal(await arrived(), 1);
  using filter = await PeerFilter.open({ networkId: NETWORK_ID, port: 8285, log: silentLog, run: host.run });
  await filter.setPeers([tunnel.addressOf("peer")]);
  await send("stranger");
  await send("peer");
  assert.equal(await arrived(), 2);
  assert.equal(await filter.droppedPackets(), 1);
});

firewallTest(
  "peer filter: no live peer's packet is lost while the set changes or a new process takes over",
  async () => {
    await using tunnel = await Tunnel.make("ipv4");
    await until("packets of the peer", () => tunnel.arrives("peer"), 5000);
    const peer = tunnel.addressOf("peer");
    using filter = await filterOn(tunnel.host);
    await filter.setPeers([peer]);
    const before = await tunnel.arrivedPackets();
    let sending = true;
    const command = "ping -n -q -i 0.002 -c 200 -W 0.1 10.5.72.1".split(" ");
    const flood = tunnel.neighbours.peer.run(command[0]!, command.slice(1)).finally(() => sending = false);
    for (let i = 0; sending; i++) {
      await filter.setPeers([peer, ...addresses(i % 2 === 0 ? 200 : 0)]);
      using next = await filterOn(tunnel.host);
      await next.setPeers([peer]);
    }
    assert.match((await flood).stdout, /^200 packets transmitted/m);
    assert.equal(await tunnel.arrivedPackets() - before, 200);
  },
);

/** So many addresses of both families. */
function addresses(count: number): Ip[] {
  return Array.from(
    { length: count },
    (_, i) => i % 2 === 0 ? ipOf(IPV4, 0x0a000000n + BigInt(i)) : ipOf(IPV6, (0xfd00n << 112n) + BigInt(i)),
  );
}

firewallTest("peer filter: 20,000 peers, and changes cost what they change", async () => {
  await using host = await FirewallHost.make();
  const scripts: number[] = [];
  using filter = await filterOn(host, {
    run: (command, args, stdin) => {
      if (stdin !== undefined) scripts.push(stdin.length);
      return host.run(command, args, stdin);
    },
  });
  const all = addresses(20_000);
  const listed = async () => {
    const listing = JSON.parse(await host.exec("nft -j list table inet flannel-peers"));
    return listing.nftables.reduce(
      (sum: number, item: { set?: { elem?: unknown[] } }) => sum + (item.set?.elem?.length ?? 0),
      0,
    );
  };
  await filter.setPeers(all);
  assert.equal(await listed(), 20_000);
  scripts.length = 0;
  const begin = performance.now();
  await filter.setPeers(all.slice(1));
  assert.ok(performance.now() - begin < 500, "one peer less takes no time");
  assert.ok(scripts.length === 1 && scripts[0]! < 100, "and one line");
  await filter.setPeers(all.slice(1));
  assert.equal(scripts.length, 1, "nothing changed, nothing written");
  // Many at once: what comes while one is under way is put together.
  await Promise.all(all.slice(0, 1000).map((_, i) => filter.setPeers(all.slice(i))));
  assert.ok(scripts.length <= 3, `${scripts.length} writes for 1000 calls`);
  assert.equal(await listed(), 20_000 - 999);
});

firewallTest("peer filter: whatever is done to it is undone by the next pass", async () => {
  await using host = await FirewallHost.make();
  await host.exec("nft -f -", "table inet other {\n}\n");
  using filter = await filterOn(host);
  await filter.setPeers(addresses(4));
  const right = await host.exec("nft list table inet flannel-peers");
  const damages = [
    "nft delete table inet flannel-peers",
    "nft flush chain inet flannel-peers input",
    "nft insert rule inet flannel-peers input accept",
    "nft flush ruleset",
    "nft add element inet flannel-peers peers4 { 192.0.2.1 }",
    "nft flush set inet flannel-peers peers6",
    "nft chain inet flannel-peers input { policy drop ; }",
  ];
  for (const damage of damages) {
    await host.exec(damage);
    assert.equal(await filter.resync(), true, damage);
    assert.equal(await host.exec("nft list table inet flannel-peers"), right, damage);
    assert.equal(await filter.resync(), false, damage);
  }
  // A change that meets a table that somebody took away.
  await host.exec("nft delete table inet flannel-peers");
  await filter.setPeers(addresses(4).slice(1));
  assert.equal(await filter.resync(), false);
  await filter.setPeers(addresses(4));
  assert.equal(await host.exec("nft list table inet flannel-peers"), right);
});

firewallTest("peer filter: two networks on one host have tables of their own", async () => {
  await using host = await FirewallHost.make();
  using first = await filterOn(host);
  using second = await filterOn(host, { networkId: "/second", vni: OTHERS });
  await first.setPeers(addresses(2));
  await second.setPeers(addresses(3));
  await second.remove();
  assert.equal(await first.resync(), false);
  assert.equal((await host.exec("nft list tables")).trim(), "table inet flannel-peers");
});

firewallTest("peer filter: without nft it says which package to install", async () => {
  await using host = await FirewallHost.make(await folderWith([]));
  await assert.rejects(filterOn(host), (error) => {
    assert.ok(error instanceof FirewallUnavailableError);
    assert.match(
      error.message,
      /^PeerFilter needs nftables: nft isn't installed. Install Debian's package nftables/,
    );
    return true;
  });
  await assert.rejects(filterOn(host, { port: 0 }), /port must be 1 to 65535: got 0/);
});

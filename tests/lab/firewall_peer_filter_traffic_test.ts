/** Which packets reach a tunnel with a peer filter, as packets show it. */
import assert from "node:assert/strict";
import { FirewallHost, firewallTest, RULES } from "./firewall_lab.ts";
import { addresses, filterOn, type Neighbour, OTHERS, OURS, Tunnel, UNDERLAY } from "./firewall_tunnel.ts";
import { until } from "../../scripts/lab/process.ts";

for (const outer of ["ipv4", "ipv6"] as const) {
  firewallTest(
    `peer filter: over ${outer} a forged packet arrives without it and doesn't with it`,
    async () => {
      await using tunnel = await Tunnel.make(outer);
      for (const name of ["peer", "stranger"] as const) {
        await until(`packets of the ${name}`, () => tunnel.arrives(name), 5000);
      }
      using filter = await filterOn(tunnel.host);
      await filter.setPeers({ addresses: [tunnel.addressOf("peer")] });
      assert.equal(await tunnel.arrives("peer"), true, "a live peer");
      assert.equal(await filter.droppedPackets(), 0);
      assert.equal(await tunnel.arrives("stranger"), false, "a stranger");
      assert.equal(await filter.droppedPackets(), 1);
      assert.equal(await tunnel.arrives("stranger", OTHERS), true, "another network on the same port");
      await filter.setPeers({ addresses: [tunnel.addressOf("stranger")] });
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
  using filter = await filterOn(host, { tunnel: { udpPorts: [8285] } });
  await filter.setPeers({ addresses: [tunnel.addressOf("peer")] });
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
    await filter.setPeers({ addresses: [peer] });
    const before = await tunnel.arrivedPackets();
    let sending = true;
    const command = "ping -n -q -i 0.002 -c 200 -W 0.1 10.5.72.1".split(" ");
    const flood = tunnel.neighbours.peer.run(command[0]!, command.slice(1)).finally(() => sending = false);
    for (let i = 0; sending; i++) {
      await filter.setPeers({ addresses: [peer, ...addresses(i % 2 === 0 ? 200 : 0)] });
      using next = await filterOn(tunnel.host);
      await next.setPeers({ addresses: [peer] });
    }
    assert.match((await flood).stdout, /^200 packets transmitted/m);
    assert.equal(await tunnel.arrivedPackets() - before, 200);
  },
);

/** Counts packets that reach a host's INPUT hook. */
async function countInput(host: FirewallHost, match: string): Promise<() => Promise<number>> {
  await host.exec(
    "nft -f -",
    `\
table inet arrived {
  chain input {
    type filter hook input priority 10; policy accept;
    ${match} counter
  }
}
`,
  );
  return async () => Number(/packets (\d+)/.exec(await host.exec("nft list table inet arrived"))![1]);
}

/** Has a namespace send a VXLAN datagram (RFC 7348) to a UDP port. */
async function sendVxlan(from: FirewallHost, address: string, port: number, vni: number): Promise<void> {
  const datagram = `\\x08\\0\\0\\0\\0\\0\\x0${vni}\\0` + "inner ethernet frame";
  const { code, stderr } = await from.run("bash", [
    "-c",
    `exec 3>/dev/udp/${address}/${port}; printf '${datagram}' >&3`,
  ]);
  assert.equal(code, 0, stderr);
}

/** A container of the host: an address in the own subnet, and the host as its gateway. */
async function addPod(host: FirewallHost): Promise<FirewallHost> {
  const pod = await FirewallHost.make();
  await host.exec(`ip link add pod type veth peer name eth0 netns ${pod.name}`);
  await host.exec("ip -batch -", "address add 10.5.72.1/24 dev pod\nlink set pod up\n");
  await pod.exec(
    "ip -batch -",
    "address add 10.5.72.2/24 dev eth0\nlink set eth0 up\nroute add default via 10.5.72.1\n",
  );
  await host.exec("sysctl -qw net.ipv4.ip_forward=1");
  return pod;
}

firewallTest("peer filter: a container behind masquerade doesn't pass as its host", async () => {
  await using tunnel = await Tunnel.make("ipv4");
  const { host, neighbours: { peer, stranger } } = tunnel;
  await using pod = await addPod(host);
  using firewall = await host.firewall("nftables");
  await firewall.apply(RULES);
  const [hostAddress, peerAddress] = UNDERLAY.peer.ipv4;
  const arrived = await countInput(peer, `ip saddr ${hostAddress} udp dport { 8285, 8472, 9000 }`);
  const arrives = async (from: FirewallHost, port: number, vni: number) => {
    const before = await arrived();
    await sendVxlan(from, peerAddress, port, vni);
    return await arrived() - before;
  };
  await until("the way from the container to the peer", () => arrives(pod, 8472, OURS), 5000);

  using filter = await filterOn(host);
  await filter.setPeers({ addresses: [tunnel.addressOf("peer")], ports: [8285] });
  assert.equal(await arrives(pod, 8472, OURS), 0, "a container to a peer's tunnel");
  assert.equal(await arrives(pod, 8285, OURS), 0, "a container to a tunnel at a port of the peer's own");
  assert.equal(await filter.droppedPackets(), 2);
  assert.equal(await arrives(pod, 8472, OTHERS), 1, "another network on the same port");
  assert.equal(await arrives(pod, 9000, OURS), 1, "another port");
  assert.equal(await arrives(host, 8472, OURS), 1, "the host itself");

  await stranger.exec(`ip route add ${peerAddress}/32 via ${UNDERLAY.stranger.ipv4[0]}`);
  const forwarded = await countInput(stranger, "udp dport 8472");
  await peer.exec(`ip route add ${UNDERLAY.stranger.ipv4[1]}/32 via ${hostAddress}`);
  await filter.setPeers({ addresses: [tunnel.addressOf("peer"), tunnel.addressOf("stranger")] });
  await sendVxlan(peer, UNDERLAY.stranger.ipv4[1], 8472, OURS);
  assert.equal(await forwarded(), 1, "from peer to peer, where this host is a router of the underlay");
});

firewallTest("peer filter: every port of a tunnel is guarded", async () => {
  await using tunnel = await Tunnel.make("ipv4");
  const arrived = await countInput(tunnel.host, "udp dport { 51820, 51821, 51822 }");
  using filter = await filterOn(tunnel.host, { tunnel: { udpPorts: [51820, 51821] } });
  await filter.setPeers({ addresses: [tunnel.addressOf("peer")] });
  for (const port of [51820, 51821, 51822]) {
    for (const [name, passes] of [["peer", true], ["stranger", port === 51822]] as const) {
      const before = await arrived();
      await sendVxlan(tunnel.neighbours[name], UNDERLAY[name].ipv4[0], port, OURS);
      assert.equal(await arrived() - before, passes ? 1 : 0, `from the ${name} to port ${port}`);
    }
  }
  assert.equal(await filter.droppedPackets(), 2);
});

firewallTest("peer filter: a tunnel directly over IP is guarded by its protocol number", async () => {
  await using tunnel = await Tunnel.make("ipv4");
  const IPIP = 4;
  const arrived = await countInput(tunnel.host, `meta l4proto { ${IPIP}, 47 }`);
  const send = async (from: Neighbour, protocol: number) => {
    const program = "use Socket; socket(S, PF_INET, SOCK_RAW, $ARGV[1]) or die $!;" +
      `send(S, "x" x 40, 0, pack_sockaddr_in(0, inet_aton($ARGV[0]))) or die $!`;
    const address = UNDERLAY[from].ipv4[0];
    const { code, stderr } = await tunnel.neighbours[from].run("perl", [
      "-e",
      program,
      address,
      String(protocol),
    ]);
    assert.equal(code, 0, stderr);
  };
  const arrives = async (from: Neighbour, protocol = IPIP) => {
    const before = await arrived();
    await send(from, protocol);
    return await arrived() - before;
  };
  assert.equal(await arrives("stranger"), 1, "without the filter");
  using filter = await filterOn(tunnel.host, { tunnel: { ipProtocol: IPIP } });
  await filter.setPeers({ addresses: [tunnel.addressOf("peer")] });
  assert.equal(await arrives("peer"), 1);
  assert.equal(await arrives("stranger"), 0);
  assert.equal(await arrives("stranger", 47), 1, "another protocol");
  assert.equal(await filter.droppedPackets(), 1);
});

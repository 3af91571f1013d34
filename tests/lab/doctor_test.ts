/** `doctor` on real hosts: a healthy one has no fault and no warning, and each fault that is made is found. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { assertFound, examine } from "./doctor_lab.ts";
import { labTest } from "./lab_test_case.ts";

/** Everything that doctor could have changed. */
async function kernelOf(host: Host): Promise<string> {
  const script =
    "ip -o link; ip -o address; ip neigh show nud permanent; bridge fdb | grep permanent; ip route; nft list ruleset; " +
    "iptables-save | grep -v '^#'; sysctl -a 2>/dev/null | grep -E '^net.ipv4.(conf|ip_)' | sort";
  const { stdout } = await host.exec(["sh", "-c", script]);
  return stdout.replaceAll(/\[\d+:\d+\]/g, "").replaceAll(/counter packets \d+ bytes \d+| state [A-Z]+/g, "");
}

labTest(
  "doctor: a healthy host has no fault and no warning, and is left as it is",
  { hosts: 2 },
  async (lab) => {
    const host = lab.host(1);
    const alone = await examine(host);
    assert.deepEqual(alone.bad, [], "before the first start");
    assert.equal(alone.code, 0);
    await Promise.all(lab.hosts.map((one) => one.startReady()));
    await host.addContainer();
    const before = await kernelOf(host);
    const running = await examine(host);
    assert.deepEqual(running.bad, [], "while the daemon runs");
    assert.equal(running.code, 0);
    assert.match(running.all.map(({ text }) => text).join("\n"), /has the routes to 1 peer$/m);
    assert.equal(await kernelOf(host), before);
  },
);

labTest(
  "doctor: faults of devices, addresses, routes, settings and rules are found",
  { hosts: 2 },
  async (lab) => {
    const [host, peer] = [lab.host(1), lab.host(2)];
    const { subnets } = (await Promise.all([host.startReady(), peer.startReady()]))[0];
    const gateway = subnets.ipv4!;
    await host.ip(
      "link add veth9 type veth peer name veth9p",
      "link set veth9 up",
      "link set veth9p up",
      "address add 192.0.2.1/24 dev veth9",
      "route add 10.5.251.0/24 dev veth9",
      `route add ${peer.addresses.ipv4} dev veth9 mtu 1400`,
      "link add cni0 type bridge",
      "address add 10.99.1.1/24 dev cni0",
      "link add docker0 type bridge",
      "address add 10.5.250.1/24 dev docker0",
      "link add br-own type bridge",
      `address add ${gateway} dev br-own`,
      "link set br-own mtu 1500 up",
      "link add flannel.9 type vxlan id 9 dstport 8472 local 172.30.0.1 dev eth0",
      "link add vxlan.calico type vxlan id 4096 dstport 4789 local 172.30.0.1 dev eth0",
    );
    await host.sysctl({
      "net/ipv4/ip_forward": "0",
      "net/ipv4/conf/eth0/rp_filter": "1",
      "net/bridge/bridge-nf-call-iptables": "0",
    });
    await host.exec([
      "sh",
      "-ec",
      `iptables -A INPUT -i lo -j ACCEPT
     iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
     iptables -P INPUT DROP
     iptables -t nat -N KUBE-SERVICES
     iptables -t nat -A KUBE-SERVICES -d 10.5.3.3/32 -j ACCEPT
     nft 'add table inet strict; add chain inet strict forwarding { type filter hook forward priority 0; policy drop; }'`,
    ]);
    const examined = await examine(host);
    assertFound(examined, [
      /^warning forwarding: net\.ipv4\.ip_forward is 0/,
      /^warning rp_filter: packets of 1 peer that come in over eth0 are dropped/,
      /^warning br_netfilter: /,
      /^warning mtu: the containers' bridge br-own has MTU 1500, the network carries 1450/,
      /^warning mtu: the path to a peer takes less than eth0: .*more than 1350 bytes/,
      /^warning overlap: 10\.5\.250\.1 of docker0 lies in the Network/,
      /^warning overlap: 2 routes of the host lead elsewhere|^warning overlap: 1 route of the host leads elsewhere/,
      /^fault overlap: Services of the cluster have addresses in the Network/,
      /^fault leftovers: cni0 has 10\.99\.1\.1\/24, which is not in this host's subnet/,
      /^warning leftovers: docker0 has 10\.5\.250\.1\/24/,
      /^warning leftovers: the device flannel\.9 \(vxlan\) is of an earlier network/,
      /^warning leftovers: devices of Calico are here/,
      /^warning managers: INPUT of iptables drops the tunnel's packets of 1 peer \(UDP port 8472\)/,
      /^warning forward: nftables chain inet strict forwarding drops forwarded packets/,
    ]);
    assert.ok(examined.all.some(({ check, text }) => check === "port" && /flannel\.9 \(VNI 9\)/.test(text)));
    assert.equal(examined.code, 1);
  },
);

labTest(
  "doctor: network managers, CNI files, secrets and a full disk are found",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    const index = (await host.ipJson("link", "show", "dev", "flannel.1"))[0]!["ifindex"];
    const files = `
    t=$(mktemp -d) && mount -t tmpfs none $t && mkdir $t/u $t/w
    mount -t overlay overlay -o lowerdir=/etc,upperdir=$t/u,workdir=$t/w /etc
    mount -t tmpfs none /run
    mkdir -p /run/systemd/netif/links /run/NetworkManager/devices /run/udev /etc/cni/net.d /etc/default /etc/ufw
    echo 'ADMIN_STATE=configured' >/run/systemd/netif/links/${index}
    echo 'OPER_STATE=routable' >/run/systemd/netif/state
    printf '[device]\\nmanaged=true\\n' >/run/NetworkManager/devices/${index}
    touch /run/udev/control /run/firewalld.pid
    echo '{"plugins":[{"type":"bridge"}]}' >/etc/cni/net.d/05-other.conflist
    echo '{"plugins":[{"type":"flannel"}]}' >/etc/cni/net.d/10-flannel.conflist
    echo 'FLANNELD_ETCD_PASSWORD=geheim' >/etc/default/flanneld
    chmod 0644 /etc/default/flanneld
    umount -l $t && rmdir $t`;
    const examined = await examine(host, { before: files });
    assertFound(examined, [
      /^warning links: systemd-networkd manages flannel\.1/,
      /^warning links: NetworkManager manages flannel\.1/,
      /^warning managers: firewalld is active and its zones don't name flannel\.1, UDP port 8472/,
      /^warning leftovers: \/etc\/cni\/net\.d\/05-other\.conflist \(bridge\) sorts before/,
      /^warning secrets: \/etc\/default\/flanneld holds a secret and everybody may open it/,
    ]);
    assert.ok(examined.all.some(({ check, text }) => check === "links" && /no \.link file/.test(text)));
    assert.equal(examined.code, 3, "warnings only");

    const full = await examine(host, { before: `mount -t tmpfs -o size=16k none ${host.folder}` });
    assertFound(full, [/^fault resources: .* has no room for the subnet file/]);
  },
);

labTest("doctor: what a dead daemon leaves is compared with the config, and the clock with etcd's", {
  hosts: 1,
  config: { Network: "10.5.0.0/16", Backend: { Type: "vxlan", TxChecksumOffload: "on" } },
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady({ args: ["-iptables-forward-rules=false"] });
  await host.exec(["iptables", "-P", "FORWARD", "DROP"]);
  assertFound(await examine(host, { args: ["-iptables-forward-rules=false"] }), [
    /^fault forward: FORWARD of iptables has policy DROP, and flanneld's accept rules aren't in it/,
  ]);
  await host.daemon.stop();
  await host.exec([
    "sh",
    "-ec",
    `ip link set flannel.1 mtu 1400
     ip link set flannel.1 address 02:00:00:00:00:99
     ethtool -K flannel.1 tx-checksum-ip-generic off >/dev/null
     sed -i 's/^FLANNEL_NETWORK=.*/FLANNEL_NETWORK=10.6.0.0\\/16/' ${host.subnetFile}`,
  ]);
  await withSkewedClock(host, async (endpoint) => {
    const endpoints = host.commonArgs.find((arg) => arg.startsWith("-etcd-endpoints="));
    const examined = await examine(host, { args: [`${endpoints},${endpoint}`] });
    assertFound(examined, [
      /^warning mtu: flannel\.1 has MTU 1400/,
      /^fault links: flannel\.1 has the MAC address 02:00:00:00:00:99, this host's lease publishes another/,
      /^warning checksums: flannel\.1 has checksum offload off, the network config says on/,
      /^warning leftovers: .* is of the network 10\.6\.0\.0\/16, the config says 10\.5\.0\.0\/16/,
      /^warning clock: the clock is \d+\.\d s off etcd's/,
    ]);
    assert.ok(
      examined.all.some(({ check, text }) => check === "daemon" && /no daemon is running/.test(text)),
    );
  });
});

labTest("doctor: another program on the tunnel's port, a kernel without the device, a dead store", {
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  const holder = host.spawn(["python3", "-c", HOLD_PORT]);
  await until(
    "the port to be taken",
    async () => /8472/.test((await host.exec(["ss", "-lun"])).stdout),
    5_000,
  );
  assertFound(await examine(host), [/^fault port: process \d+ \(python3\S*\) has UDP port 8472/]);
  holder.kill("SIGKILL");

  const hasIpip = (await host.exec(["ip", "link", "add", "probe0", "type", "ipip", "remote", "172.30.0.9"], {
    mayFail: true,
  })).code === 0;
  await lab.store.writeConfig(`{"Network":"10.5.0.0/16","Backend":{"Type":"ipip"}}`);
  if (!hasIpip) assertFound(await examine(host), [/^fault kernel: the kernel has no ipip/]);

  const began = performance.now();
  const dead = await examine(host, { args: ["-etcd-endpoints=http://172.30.0.99:2379"] });
  assertFound(dead, []);
  assert.ok(dead.bad.some((line) => /^fault config: /.test(line)), dead.bad.join("\n"));
  assert.ok(performance.now() - began < 10_000, "within 10 s");
});

const HOLD_PORT = `import socket,time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 8472)); time.sleep(60)`;

const SKEWED_SERVER = `import http.server,sys
class Handler(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None): return "Thu, 01 Jan 2026 00:00:00 GMT"
    def do_GET(self): self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
s = http.server.HTTPServer(("127.0.0.1", 0), Handler); print(s.server_port, flush=True); s.serve_forever()`;

/** Something that answers as etcd does, but with another time. */
async function withSkewedClock(host: Host, use: (endpoint: string) => Promise<void>): Promise<void> {
  const server = host.spawn(["python3", "-c", SKEWED_SERVER]);
  const reader = server.stdout.getReader();
  const port = new TextDecoder().decode((await reader.read()).value).trim();
  try {
    await use(`http://127.0.0.1:${port}`);
  } finally {
    reader.releaseLock();
    server.kill("SIGKILL");
    await server.stdout.cancel();
    await server.stderr.cancel();
  }
}

const BACKENDS: readonly JsonObject[] = [
  { Type: "vxlan" },
  { Type: "vxlan", DirectRouting: true },
  { Type: "host-gw" },
  { Type: "udp" },
  { Type: "alloc" },
];

for (const backend of BACKENDS) {
  labTest(`doctor: a healthy dual-stack host with ${JSON.stringify(backend)} has no fault and no warning`, {
    hosts: 2,
    families: ["ipv4", "ipv6"],
    store: "sqlite",
    config: networkConfig(["ipv4", "ipv6"], backend),
  }, async (lab) => {
    const host = lab.host(1);
    const before = await examine(host);
    assert.deepEqual(before.bad, [], "before the first start");
    await Promise.all(lab.hosts.map((one) => one.startReady()));
    const running = await examine(host);
    assert.deepEqual(running.bad, [], "while the daemon runs");
    assert.match(
      running.all.map(({ text }) => text).join("\n"),
      /^runs, is ready, and has the routes to 1 peer$/m,
    );
  });
}

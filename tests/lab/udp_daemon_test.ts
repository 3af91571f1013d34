/** The udp backend inside the daemon: the contract's rows, a restart, and what is left afterwards. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { labTest } from "./lab_test_case.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";

const CONFIG = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };

/** The flags of a TUN as sysfs shows them. */
async function tunFlags(host: Host): Promise<number> {
  return parseInt((await host.exec(["cat", "/sys/class/net/flannel0/tun_flags"])).stdout, 16);
}

/** The values of all leases. */
async function leaseValues(lab: Lab): Promise<string[]> {
  const folder = "/coreos.com/network/subnets";
  return (await lab.etcd.ctl("get", "--prefix", folder, "--print-value-only")).split("\n");
}

labTest(
  "udp: device, MTU, address, route and lease are the contract's",
  { hosts: 2, config: CONFIG },
  async (lab) => {
    const [file] = await lab.startAll();
    await lab.connect();
    await lab.pingAll();
    const host = lab.host(1);
    assert.equal(file!.mtu, 1472);
    const flags = await tunFlags(host);
    assert.equal(flags & 0x1001, 0x1001, "IFF_TUN and IFF_NO_PI");
    const [link] = await host.ipJson("address", "show", "flannel0");
    assert.equal(link!["mtu"], 1472);
    const addresses = link!["addr_info"] as { family: string; local: string; prefixlen: number }[];
    // The kernel gave the TUN a link-local address, sent IPv6 into a tunnel that carries IPv4, and lost it by a flush.
    assert.deepEqual(addresses.filter(({ family }) => family === "inet6"), []);
    const subnet = file!.subnets.ipv4!.replace(/\.1\/24$/, ".0");
    assert.deepEqual(
      addresses.filter(({ family }) => family === "inet").map(({ local, prefixlen }) => [local, prefixlen]),
      [[subnet, 32]],
    );
    assert.equal(
      (await host.routes("-4", "flannel0")).filter((route) => route.startsWith("10.5.0.0/16")).length,
      1,
    );
    const values = await leaseValues(lab);
    assert.ok(values.includes('{"PublicIP":"172.30.0.1","PublicIPv6":null}'), values.join());
    const metrics = await host.fetchText("/metrics");
    assert.match(metrics, /^flannel_udp_offload\{offload="vnetHeader"\} 1$/m);
    assert.match(metrics, /^flannel_udp_sent_packets_total [1-9]/m);
    assert.match(metrics, /^flannel_udp_dropped_packets_total\{direction="in",reason="unknown_sender"\} 0$/m);
  },
);

// With the built permissions accept_local stayed 0: a local sender without a route to its peer waited without end.
labTest("udp: a local sender to a subnet that nobody has gets an ICMP error", {
  hosts: 1,
  config: CONFIG,
}, async (lab) => {
  const host = lab.host(1);
  const file = await host.startReady();
  const setting = await host.exec(["cat", "/proc/sys/net/ipv4/conf/flannel0/accept_local"]);
  assert.equal(setting.stdout.trim(), "1");
  const absent = file.subnets.ipv4!.startsWith("10.5.77.") ? "10.5.78.9" : "10.5.77.9";
  // A TCP connection: about echo requests no such error is sent.
  const { stderr } = await host.exec(["timeout", "10", "bash", "-c", `exec 3<>/dev/tcp/${absent}/9`], {
    mayFail: true,
  });
  assert.match(stderr, /Network is unreachable/);
});

labTest("udp: a killed daemon's device, routes and pings are back within a second of its readiness", {
  hosts: 2,
  config: CONFIG,
}, async (lab) => {
  await lab.startAll();
  const [one, two] = await lab.connect();
  await lab.pingAll();
  const host = lab.host(2);
  const index = async () => (await host.ipJson("link", "show", "flannel0"))[0]!["ifindex"];
  const before = await index();
  await host.daemon.kill();
  const start = performance.now();
  const since = () => performance.now() - start;
  host.start();
  const pings = async () => (await ping(one!, two!.addresses.ipv4!, { timeout: 300 })).received === 1;
  const [gap, ready] = await Promise.all([
    until("pings again", pings, 20_000).then(since),
    host.waitReady().then(since),
  ]);
  assert.equal(await index(), before);
  assert.ok(
    gap < ready + 1000,
    `traffic stood still for ${gap.toFixed(0)} ms, ready after ${ready.toFixed(0)}`,
  );
});

labTest(
  "udp: a deleted device is recreated",
  { hosts: 2, config: CONFIG },
  async (lab) => {
    await lab.startAll();
    await lab.connect();
    await lab.pingAll();
    await lab.host(1).ip("link delete flannel0");
    await lab.pingAll(10_000);
  },
);

labTest("udp: a host that gets another address is followed", { hosts: 2, config: CONFIG }, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  await lab.host(2).ip(
    "address delete 172.30.0.2/24 dev eth0",
    "address add 172.30.0.77/24 dev eth0",
    "route replace default via 172.30.0.254",
  );
  await until(
    "the lease to follow",
    async () => (await leaseValues(lab)).join().includes("172.30.0.77"),
    10_000,
  );
  await lab.pingAll(10_000);
});

labTest("udp: PeerFilter guards the port in the kernel, too", {
  hosts: 2,
  config: { ...CONFIG, EnableNFTables: true, PeerFilter: true },
}, async (lab) => {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const { stdout } = await lab.host(1).exec(["nft", "list", "ruleset"]);
  assert.match(stdout, /udp dport 8285/);
});

labTest("udp: hosts with ports of their own publish them", { hosts: 2, config: CONFIG }, async (lab) => {
  lab.host(1).start({ args: ["-udp-port=9285"] });
  lab.host(2).start();
  await Promise.all(lab.hosts.map((host) => host.waitReady()));
  await lab.connect();
  await lab.pingAll();
  const values = await leaseValues(lab);
  const own = '{"PublicIP":"172.30.0.1","PublicIPv6":null,"BackendData":{"Port":9285}}';
  assert.ok(values.includes(own), values.join());
});

labTest("udp: SIGTERM leaves the device, cleanup removes it, twice without error", {
  hosts: 1,
  config: CONFIG,
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  await host.daemon.stop();
  assert.equal(await tunFlags(host) & 0x0800, 0x0800, "persistent");
  for (const time of ["first", "second"]) {
    const { code, stderr } = await host.exec([...flanneldCommand(), "cleanup", ...host.commonArgs], {
      mayFail: true,
    });
    assert.equal(code, 0, `${time} time: ${stderr}`);
    assert.equal(
      (await host.ipJson("link", "show")).some((link) => link["ifname"] === "flannel0"),
      false,
      time,
    );
  }
});

import assert from "node:assert/strict";
import { Daemon } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import { dumpPeers, startConnected, startWireguard, wg } from "./wireguard_lab.ts";

const config = (families: readonly ("ipv4" | "ipv6")[], more = {}) =>
  networkConfig(families, { Type: "wireguard", ...more });

for (const families of [["ipv4"], ["ipv6"], ["ipv4", "ipv6"]] as const) {
  for (const Mode of ["separate", "auto", "ipv4", "ipv6"]) {
    labTest(`wireguard: three hosts ping each other, ${Mode} ${families.join("+")}`, {
      families,
      config: config(families, { Mode }),
    }, async (lab) => {
      await startConnected(lab);
    });
  }
}

const DUMP = ["show", "flannel-wg", "dump"];

/** The lines of peers. */
async function peers(host: Parameters<typeof wg>[0]): Promise<string[][]> {
  return (await wg(host, ...DUMP)).trim().split("\n").slice(1).map((line) => line.split("\t"));
}

labTest("wireguard: what somebody changes on the device is put back within 2 s", {
  hosts: 2,
  config: config(["ipv4"]),
}, async (lab) => {
  await startConnected(lab);
  const host = lab.host(1);
  const before = await wg(host, ...DUMP);
  const [key = ""] = (await peers(host))[0]!;
  const allowed = async () => (await peers(host)).map((peer) => peer[3]).join(" ");
  const subnet = await allowed();
  await wg(host, "set", "flannel-wg", "peer", key, "remove");
  await until("the peer is back", async () => await allowed() === subnet, 2_500);
  await wg(host, "set", "flannel-wg", "peer", key, "allowed-ips", "192.0.2.0/24");
  await until("its allowed IPs are back", async () => await allowed() === subnet, 2_500);
  await wg(
    host,
    "set",
    "flannel-wg",
    "peer",
    "KF2sLfmhTbb9oIhTMjUGJXpeUwjPWDmFWe5vr0lSGkw=",
    "allowed-ips",
    "192.0.2.0/24",
  );
  await until("the foreign peer is gone", async () => (await peers(host)).length === 1, 2_500);
  await wg(host, "set", "flannel-wg", "listen-port", "4000");
  await until(
    "the port is back",
    async () => /\t51820\t/.test((await wg(host, ...DUMP)).split("\n")[0]!),
    2_500,
  );
  await host.exec(["ip", "link", "set", "flannel-wg", "down"]);
  await until(
    "the device is up",
    async () => /UP/.test((await host.exec(["ip", "link", "show", "flannel-wg"])).stdout),
    2_500,
  );
  await host.exec(["ip", "link", "delete", "flannel-wg"]);
  await until("the device is recreated", async () => {
    const { stdout } = await host.exec(["ip", "link", "show", "flannel-wg"], { mayFail: true });
    return stdout.includes("UP") && (await peers(host)).length === 1;
  }, 4_000);
  assert.equal((await wg(host, ...DUMP)).split("\t")[0], before.split("\t")[0], "the same key");
  await lab.pingAll(10_000);
});

labTest("wireguard: a daemon that is killed and started again loses no packet", {
  hosts: 2,
  config: config(["ipv4"]),
}, async (lab) => {
  const [from, to] = await startConnected(lab);
  const pinging = from!.exec(["ping", "-i", "0.01", "-c", "300", "-W", "1", to!.addresses.ipv4!], {
    mayFail: true,
  });
  await lab.host(1).daemon.kill();
  lab.host(1).start(ownWireguard(lab.host(1)));
  await lab.host(1).waitReady();
  const { stdout } = await pinging;
  assert.match(stdout, /300 packets transmitted, 300 received/);
});

// Each host's new device greeted the other's former one, which has the same key: 15 s without IPv4.
labTest("wireguard: hosts that get another Mode and port at the same time reach each other", {
  hosts: 2,
  families: ["ipv4", "ipv6"],
  config: config(["ipv4", "ipv6"], { Mode: "ipv6", ListenPort: 51999 }),
}, async (lab) => {
  await startConnected(lab);
  for (const more of [{}, { Mode: "auto" }, {}]) {
    const text = JSON.stringify(config(["ipv4", "ipv6"], more));
    await lab.etcd.ctl("put", "/coreos.com/network/config", text);
    for (const host of lab.hosts) await host.daemon.stop();
    await startWireguard(lab);
    // Mostly at once; where both greet each other's former device again, WireGuard's own timer is what helps.
    await lab.pingAll(20_000);
  }
});

// The second network's daemon ended: "the device flannel-wg … marked … isn't ours. Delete it".
labTest("wireguard: two networks on the same hosts have devices of their own, and find them again", {
  hosts: 2,
  config: config(["ipv4"]),
}, async (lab) => {
  await startWireguard(lab);
  const blue = { Network: "10.9.0.0/16", Backend: { Type: "wireguard", ListenPort: 51900 } };
  await lab.etcd.ctl("put", "/blue/network/config", JSON.stringify(blue));
  const start = (host: Host) => {
    const file = `${lab.folder}/blue-${host.number}/subnet.env`;
    const args = [...lab.store.args, "-etcd-prefix=/blue/network", `-subnet-file=${file}`];
    const { wrap, env } = ownWireguard(host);
    return new Daemon(host, args, env, wrap);
  };
  const daemons = lab.hosts.map(start);
  const endpoints = async (host: Host) =>
    (await dumpPeers(host, "flannel-wg1").catch(() => [])).map(({ endpoint }) => endpoint);
  for (const host of lab.hosts) {
    const other = `172.30.0.${3 - host.number}:51900`;
    await until("the second network's peer", async () => (await endpoints(host)).join() === other, 15_000);
    assert.equal((await dumpPeers(host)).length, 1, "the first network's device is as it was");
  }
  await daemons[0]!.kill();
  const again = start(lab.host(1));
  await until(
    "the daemon to be in its network",
    () => Promise.resolve(again.count(/In the network/) > 0),
    15_000,
  );
  assert.equal(
    (await lab.host(1).ipJson("link", "show")).filter(({ ifname }) => String(ifname).startsWith("flannel-wg"))
      .length,
    2,
  );
  await lab.connect();
  await lab.pingAll(10_000);
});

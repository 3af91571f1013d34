/** What becomes of peers whose key, port, address or subnet changes, and of those that roam or don't answer. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { apartFromPeers, networkConfig } from "../../scripts/lab/lab.ts";
import { putLease, readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { keyFile, ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import {
  type DumpedPeer,
  dumpPeers,
  newKey,
  startConnected,
  startWireguard,
  statusOf,
  wg,
  wireguardValue,
} from "./wireguard_lab.ts";

const config = (more = {}) => apartFromPeers(networkConfig(["ipv4"], { Type: "wireguard", ...more }));

/** Waits until the device's only peer is as it is to be. */
async function untilPeers(
  host: Host,
  what: string,
  is: (peers: DumpedPeer[]) => boolean,
): Promise<DumpedPeer[]> {
  return await until(what, async () => {
    const peers = await dumpPeers(host);
    return is(peers) && peers;
  }, 3_000);
}

labTest("wireguard: a peer whose key, port or address changes is followed, and the old one is gone", {
  hosts: 1,
  config: config(),
}, async (lab) => {
  await startWireguard(lab);
  const host = lab.host(1);
  const [first, second] = [newKey(), newKey()];
  await putLease(lab, "10.5.200.0-24", wireguardValue("172.30.0.50", first.publicKey, 7000));
  const [peer] = await untilPeers(host, "the peer", (peers) => peers.length === 1);
  assert.deepEqual(peer, {
    ...{ key: first.publicKey, presharedKey: "(none)", endpoint: "172.30.0.50:7000" },
    ...{ allowedIps: "10.5.200.0/24", keepalive: "off" },
  });
  await putLease(lab, "10.5.200.0-24", wireguardValue("172.30.0.50", second.publicKey, 7000));
  await untilPeers(host, "the new key alone", ([one, two]) => one?.key === second.publicKey && !two);
  await putLease(lab, "10.5.200.0-24", wireguardValue("172.30.0.50", second.publicKey, 7001));
  await untilPeers(host, "the new port", ([one]) => one?.endpoint === "172.30.0.50:7001");
  await putLease(lab, "10.5.200.0-24", wireguardValue("172.30.0.51", second.publicKey));
  await untilPeers(
    host,
    "the new address, and the own port where the lease has none",
    ([one]) => one?.endpoint === "172.30.0.51:51820",
  );
  // A host that has changed its subnet has two leases for a moment: both of its subnets lead to it.
  await putLease(lab, "10.5.201.0-24", wireguardValue("172.30.0.51", second.publicKey));
  await untilPeers(
    host,
    "both subnets",
    ([one, two]) => !two && one?.allowedIps.split(",").sort().join() === "10.5.200.0/24,10.5.201.0/24",
  );
  await lab.etcd.ctl("del", "/coreos.com/network/subnets/10.5.200.0-24");
  await untilPeers(host, "the newer subnet alone", ([one]) => one?.allowedIps === "10.5.201.0/24");
});

/** Host 2 is behind a NAT: its datagrams come from other ports, and none reach it that it hasn't asked for. */
const NAT = `table ip nat {
  chain post {
    type nat hook postrouting priority 100;
    udp sport 51820 masquerade to :40000-40010
  }
  chain in {
    type filter hook input priority 0;
    udp dport 51820 ct state new drop
  }
}
`;

labTest("wireguard: an endpoint that a peer has roamed to is kept, also by a daemon that starts again", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  const [one, two] = lab.hosts as [Host, Host];
  await two.exec(["nft", "-f", "-"], { input: NAT });
  await startWireguard(lab);
  const [from, to] = await lab.connect();
  const reaches = async () =>
    (await to!.exec(["ping", "-c", "1", "-W", "1", from!.addresses.ipv4!], { mayFail: true })).code === 0;
  await until("an answer through the NAT", reaches, 10_000);
  const { endpoint } = (await dumpPeers(one))[0]!;
  assert.match(endpoint, /^172\.30\.0\.2:400\d\d$/);
  await one.daemon.kill();
  one.start(ownWireguard(one));
  await one.waitReady();
  await to!.exec(["ping", "-c", "30", "-i", "0.1", from!.addresses.ipv4!]);
  assert.equal((await dumpPeers(one))[0]!.endpoint, endpoint);
  for (
    const { log, count } of one.daemons.map((daemon) => ({
      log: daemon.log,
      count: daemon.count(/differed/),
    }))
  ) {
    assert.equal(count, 0, log);
  }
});

// WireGuard begins anew after 5 s only: hosts whose addresses changed at the same moment were cut off for as long.
labTest("wireguard: a first handshake that is lost is begun anew within 2 s", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  const [from, to] = await startConnected(lab);
  const [one, two] = lab.hosts as [Host, Host];
  const drop =
    "table inet lost { chain input { type filter hook input priority 0; udp dport 51820 drop; }; }";
  await two.exec(["nft", "-f", "-"], { input: drop });
  const [{ key }] = await dumpPeers(one) as [DumpedPeer];
  await wg(one, "set", "flannel-wg", "peer", key, "remove");
  await untilPeers(one, "the peer is back", ([peer]) => peer?.key === key);
  await two.exec(["nft", "delete", "table", "inet", "lost"]);
  const began = performance.now();
  const ping = ["ping", "-c", "1", "-W", "1", to!.addresses.ipv4!];
  await until("an answer", async () => (await from!.exec(ping, { mayFail: true })).code === 0, 10_000);
  const seconds = (performance.now() - began) / 1000;
  assert.ok(seconds < 3.5, `${seconds} s`);
  assert.equal(one.daemon.count(/differed/), 1, "only the removal is a difference");
});

labTest("wireguard: an endpoint that somebody sets, and from which nothing comes, is the lease's again", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  const [from, to] = await startConnected(lab);
  const host = lab.host(1);
  const { key, endpoint } = (await dumpPeers(host))[0]!;
  await wg(host, "set", "flannel-wg", "peer", key, "endpoint", "172.30.0.77:1");
  await until("an answer", async () => {
    const ping = ["ping", "-c", "1", "-W", "1", to!.addresses.ipv4!];
    return (await from!.exec(ping, { mayFail: true })).code === 0;
  }, 10_000);
  assert.equal((await dumpPeers(host))[0]?.endpoint, endpoint);
});

labTest("wireguard: a peer with another PSK is named once, and the key is nowhere to be read", {
  hosts: 2,
  config: config({ PSK: "/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=" }),
}, async (lab) => {
  const [from, to] = await startConnected(lab);
  const [one, two] = lab.hosts as [Host, Host];
  const other = newKey().privateKey;
  await two.daemon.stop();
  await lab.store.writeConfig(JSON.stringify(config({ PSK: other })));
  two.start(ownWireguard(two));
  await two.waitReady();
  // Sessions go on until they are renewed; nothing of the old one is left on a new device.
  await two.exec(["ip", "link", "delete", "flannel-wg"]);
  const pinging = from!.exec(["ping", "-c", "40", "-i", "0.5", to!.addresses.ipv4!], { mayFail: true });
  const problem = await until(
    "the problem",
    async () => /no answer from [^"]*/.exec(JSON.stringify(await statusOf(one)))?.[0],
    30_000,
  );
  assert.match(problem, /no answer from 10\.5\.\d+\.0-24 at 172\.30\.0\.2:51820: .*PSK/);
  await pinging;
  assert.equal(one.daemon.count(/no answer from/), 1, one.daemon.log);
  await noSecrets(lab, [other, "/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak="]);
  await two.daemon.stop();
  await lab.store.writeConfig(
    JSON.stringify(config({ PSK: "/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=" })),
  );
  two.start(ownWireguard(two));
  await two.waitReady();
  await lab.pingAll(15_000);
  await until(
    "the problem to be gone",
    async () => !JSON.stringify((await statusOf(one))["problems"]).includes("no answer from"),
    5_000,
  );
});

/** Looks for the keys of all hosts, and these, where they must not be. */
async function noSecrets(lab: Lab, more: readonly string[]): Promise<void> {
  const keys = await Promise.all(lab.hosts.map((host) => Deno.readTextFile(keyFile(host))));
  for (const host of lab.hosts) {
    const status = JSON.stringify(await statusOf(host));
    const metrics = await host.fetchText("/metrics");
    const environments = await host.exec([
      "sh",
      "-c",
      `for pid in $(ip netns pids ${host.name}); do tr '\\0' '\\n' </proc/$pid/environ; done`,
    ], { mayFail: true });
    for (const key of [...keys, ...more]) {
      const hex = [...atob(key)].map((char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
      for (
        const text of [host.daemons.map(({ log }) => log).join("\n"), status, metrics, environments.stdout]
      ) {
        assert.ok(!text.includes(key) && !text.includes(hex), "a key stands in a text for people");
      }
    }
  }
  assert.equal(
    [...(await readLeases(lab)).values()].some((value) => keys.some((key) => value.includes(key))),
    false,
  );
}

labTest(
  "wireguard: a host that a person set up by hand is a peer",
  { hosts: 2, config: config() },
  async (lab) => {
    const [one, two] = lab.hosts as [Host, Host];
    one.start(ownWireguard(one));
    await one.waitReady();
    const { privateKey, publicKey } = newKey();
    const keyPath = `${lab.folder}/person`;
    await Deno.writeTextFile(keyPath, privateKey);
    const [[ownKey = "", value = ""] = []] = [...await readLeases(lab)];
    const own = JSON.parse(value) as { BackendData: { PublicKey: string; Port: number } };
    assert.equal(own.BackendData.Port, 51820);
    const program = two.spawn([
      "sh",
      "-c",
      `unshare --mount sh -c 'mkdir -p ${lab.folder}/run && mount --bind ` +
      `${lab.folder}/run /var/run && wireguard-go wgp && wg set wgp private-key ${keyPath} listen-port 4711 peer ` +
      `${own.BackendData.PublicKey} endpoint 172.30.0.1:51820 allowed-ips 10.5.0.0/16'`,
    ]);
    assert.equal((await program.status).code, 0);
    await two.ip("address add 10.5.250.1/32 dev wgp", "link set wgp up", "route add 10.5.0.0/16 dev wgp");
    await putLease(lab, "10.5.250.0-24", wireguardValue("172.30.0.2", publicKey, 4711));
    const address = ownKey.replace("-24", "");
    await until(
      "an answer",
      async () => (await two.exec(["ping", "-c", "1", "-W", "1", address], { mayFail: true })).code === 0,
      10_000,
    );
  },
);

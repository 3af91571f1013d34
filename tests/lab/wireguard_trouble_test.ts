/** Peers that can't be reached, leases that make no sense, many peers, and hosts that start at one moment. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { PeerTable } from "../../backends/wireguard/peer_table.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { generatePrivateKey } from "../../lib/wireguard/keys.ts";
import type { PeerChange, WireguardControl, WireguardPeer } from "../../lib/wireguard/types.ts";
import { socketPath } from "../../lib/wireguard/socket_path.ts";
import { UserspaceWireguard } from "../../lib/wireguard/uapi.ts";
import { apartFromPeers, networkConfig } from "../../scripts/lab/lab.ts";
import { putLease, readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import {
  dumpPeers,
  newKey,
  startConnected,
  startWireguard,
  statusOf,
  wg,
  wireguardValue,
} from "./wireguard_lab.ts";

const config = (more = {}) => apartFromPeers(networkConfig(["ipv4"], { Type: "wireguard", ...more }));

const ROUNDS = 10;

labTest("wireguard: hosts that start at one moment reach each other, ten times", {
  config: config(),
}, async (lab) => {
  for (let round = 0; round < ROUNDS; round++) {
    await startWireguard(lab);
    await lab.connect();
    await lab.pingAll(5_000);
    // All sessions go with the devices.
    await Promise.all(lab.hosts.map(async (host) => {
      await host.daemon.kill();
      await host.ip("link delete flannel-wg");
    }));
  }
});

labTest("wireguard: peers that swallow packets, and leases that make no sense, cost nobody else anything", {
  hosts: 2,
  config: config(),
}, async (lab) => {
  const host = lab.host(1);
  const [first, second, third] = [newKey(), newKey(), newKey()];
  await lab.host(1).ip("neigh add 172.30.0.66 lladdr 02:00:00:00:00:66 dev eth0");
  await putLease(lab, "10.5.201.0-24", wireguardValue("172.30.0.66", first.publicKey, 51820));
  await putLease(lab, "10.5.202.0-24", wireguardValue("172.30.0.67", second.publicKey, 70_000));
  await putLease(lab, "10.5.203.0-24", wireguardValue("172.30.0.68", third.publicKey.slice(1)));
  await putLease(lab, "10.5.204.0-24", wireguardValue("172.30.0.69", `${third.publicKey}\nlisten_port=1`));
  await putLease(
    lab,
    "10.5.205.0-24",
    '{"PublicIP":"172.30.0.70","BackendType":"wireguard","BackendData":7}',
  );
  await putLease(lab, "10.5.206.0-24", '{"PublicIP":"172.30.0.71","BackendType":"wireguard"}');
  await putLease(lab, "10.5.207.0-24", wireguardValue("0.0.0.0", third.publicKey));
  await putLease(lab, "10.5.210.0-24", wireguardValue("224.0.0.1", newKey().publicKey));
  await startWireguard(lab);
  const [from, to] = await lab.connect();
  const began = performance.now();
  await lab.pingAll(5_000);
  // A handshake that is lost is begun anew by the kernel after 5 s, by the daemon after 1 s.
  assert.ok(performance.now() - began < 4_500, "the first ping");
  const ping = ["ping", "-n", "-q", "-c", "5", "-i", "0.2"];
  const into = from!.exec([...ping, "10.5.201.7"], { mayFail: true });
  const { stdout } = await from!.exec([...ping, to!.addresses.ipv4!]);
  assert.match(stdout, /5 received/);
  await into;
  const keys = async () =>
    (await dumpPeers(host)).map(({ allowedIps, endpoint }) => `${allowedIps} ${endpoint}`);
  const expected = ["10.5.201.0/24 172.30.0.66:51820", "10.5.202.0/24 172.30.0.67:51820"];
  assert.deepEqual((await keys()).filter((line) => line.startsWith("10.5.20")).sort(), expected);

  // Two hosts made from one image: what is sent to one arrives at the other. A third lease has our own key.
  await putLease(lab, "10.5.208.0-24", wireguardValue("172.30.0.72", first.publicKey));
  const own = (await wg(host, "show", "flannel-wg", "public-key")).trim();
  await putLease(lab, "10.5.209.0-24", wireguardValue("172.30.0.73", own));
  const said = async () => JSON.stringify((await statusOf(host))["problems"]);
  const refused = "10.5.210.0-24 skipped: 224.0.0.1 can't be a host's address";
  assert.ok(host.daemon.log.includes(refused), host.daemon.log);
  await until("the shared key in status", async () => (await said()).includes("have one PublicKey"), 5_000);
  assert.match(
    await said(),
    /10\.5\.201\.0-24 and 10\.5\.208\.0-24 have one PublicKey: only the newest is reached/,
  );
  await until(
    "the own key in the log",
    () => host.daemon.count(/10\.5\.209\.0.*this host's own key/) > 0,
    3_000,
  );
  await putLease(lab, "10.5.208.0-24", wireguardValue("172.30.0.72", third.publicKey));
  await until("the problem to be gone", async () => !(await said()).includes("have one PublicKey"), 5_000);
  await until(
    "both subnets with their hosts",
    async () => (await keys()).filter((line) => /^10\.5\.20[18]/.test(line)).length === 2,
    3_000,
  );
  await lab.pingAll(2_000);
});

labTest(
  "wireguard: another port, PSK, mode and public IP after a restart",
  { hosts: 2, config: config() },
  async (lab) => {
    await startConnected(lab);
    for (
      const backend of [
        { ListenPort: 4711 },
        { ListenPort: 4711, PSK: generatePrivateKey(), PersistentKeepaliveInterval: 25 },
        { Mode: "auto" },
        { MTU: 1300 },
      ]
    ) {
      await Promise.all(lab.hosts.map((host) => host.daemon.stop()));
      await lab.store.writeConfig(JSON.stringify(config(backend)));
      await startWireguard(lab);
      await lab.pingAll(15_000);
      const { ListenPort = 51820, MTU = 1500 } = backend as { ListenPort?: number; MTU?: number };
      assert.equal((await wg(lab.host(1), "show", "flannel-wg", "listen-port")).trim(), `${ListenPort}`);
      assert.equal((await lab.host(1).ipJson("link", "show", "flannel-wg"))[0]!["mtu"], MTU - 80);
    }
    const [one] = lab.hosts;
    const { subnetFile } = one!;
    const before = await Deno.readTextFile(subnetFile);
    await one!.daemon.kill();
    await one!.ip("address delete 172.30.0.1/24 dev eth0", "address add 172.30.0.101/24 dev eth0");
    await one!.ip("route replace default via 172.30.0.254 dev eth0");
    one!.start(ownWireguard(one!));
    await one!.waitReady();
    assert.equal(await Deno.readTextFile(subnetFile), before);
    await until(
      "the new address in the lease",
      async () => [...(await readLeases(lab)).values()].some((value) => value.includes("172.30.0.101")),
      5_000,
    );
    await lab.pingAll(10_000);
  },
);

labTest("wireguard: a port that another program has is named, with what to do", {
  hosts: 1,
  config: config(),
}, async (lab) => {
  const host = lab.host(1);
  // It was "errno -98".
  const script =
    'Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 51820 }); console.log("bound");' +
    "setInterval(() => {}, 1000)";
  const holder = host.spawn([Deno.execPath(), "eval", "--unstable-net", script]);
  const reader = holder.stdout.getReader();
  await reader.read();
  const { code } = await host.start(ownWireguard(host)).ended();
  assert.equal(code, 1);
  assert.match(host.daemon.log, /UDP port 51820 is in use: end the program .* or set Backend\.ListenPort/);
  holder.kill("SIGKILL");
  await Promise.all([reader.cancel(), holder.stderr.cancel(), holder.status]);
  await host.startReady(ownWireguard(host));
  assert.equal((await wg(host, "show", "flannel-wg", "listen-port")).trim(), "51820");
});

const MANY = 2_000;

/** Counts what is written. */
function counting(control: WireguardControl): { control: WireguardControl; take(): PeerChange[] } {
  const written: PeerChange[] = [];
  return {
    control: {
      read: (device) => control.read(device),
      configure: (device, change) => control.configure(device, change),
      apply: (device, changes) => {
        written.push(...changes);
        return control.apply(device, changes);
      },
    },
    take: () => written.splice(0),
  };
}

function manyPeer(index: number): WireguardPeer {
  return {
    publicKey: randomBytes(32).toString("base64"),
    endpoint: { ip: parseIp(`100.64.${index >> 8}.${index & 255}`), port: 51820 },
    keepalive: 0,
    allowedIps: [parsePrefix(`10.${64 + (index >> 8)}.${index & 255}.0/24`)],
  };
}

labTest(
  `wireguard: of ${MANY} peers only those that differ are written`,
  { hosts: 1, config: null },
  async (lab) => {
    const [host] = lab.hosts;
    const device = `wg${crypto.randomUUID().slice(0, 8)}`;
    assert.equal((await host!.spawn(["wireguard-go", device]).output()).code, 0);
    using _socket = { [Symbol.dispose]: () => Deno.removeSync(socketPath(device)) };
    const { control, take } = counting(new UserspaceWireguard());
    const options = { privateKey: generatePrivateKey(), listenPort: 51820 };
    const table = new PeerTable(device, control, options);
    const peers = Array.from({ length: MANY }, (_, index) => manyPeer(index));
    peers.forEach((peer, index) => table.set(`lease ${index}`, peer));
    await table.pass();
    assert.equal(take().length, MANY);
    await table.pass();
    assert.deepEqual(take(), []);
    const changed = { ...peers[7]!, endpoint: { ip: parseIp("100.99.0.1"), port: 1 } };
    table.set("lease 7", changed);
    await table.flush();
    assert.deepEqual(take().map((change) => change.verb === "set" && change.peer), [changed]);
    table.set("lease 8", undefined);
    await table.flush();
    assert.deepEqual(take(), [{ verb: "remove", publicKey: peers[8]!.publicKey }]);
    await host!.exec(["wg", "set", device, "peer", peers[9]!.publicKey, "remove"]);
    assert.equal((await table.pass()).corrected, 1);
    assert.deepEqual(take().map((change) => change.verb === "set" && change.peer.publicKey), [
      peers[9]!.publicKey,
    ]);
    // A daemon that starts anew finds them as they are to be.
    const next = new PeerTable(device, control, options);
    peers.forEach((peer, index) => index === 8 || next.set(`lease ${index}`, index === 7 ? changed : peer));
    await next.pass();
    assert.deepEqual(take(), []);
  },
);

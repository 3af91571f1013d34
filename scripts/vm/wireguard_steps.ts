/**
 * WireGuard in the kernel.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { PeerTable } from "../../backends/wireguard/peer_table.ts";
import { openGenericSocket } from "../../lib/netlink/generic.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { generatePrivateKey, publicKeyOf } from "../../lib/wireguard/keys.ts";
import { openKernelWireguard } from "../../lib/wireguard/kernel.ts";
import type { Host, StartOptions } from "../lab/host.ts";
import { Lab, networkConfig } from "../lab/lab.ts";
import { run, until } from "../lab/process.ts";
import { DAEMON_ARGS, PATIENCE_MS, type Step } from "./step.ts";

const DEVICE = "flannel-wg";

function startOptions(host: Host): StartOptions {
  return { args: DAEMON_ARGS, env: { WIREGUARD_KEY_FILE: `${host.folder}/wgkey` } };
}

async function dump(host: Host): Promise<string[][]> {
  const { stdout } = await host.exec(["wg", "show", DEVICE, "dump"]);
  return stdout.trim().split("\n").map((line) => line.split("\t"));
}

async function indexOf(host: Host, device: string): Promise<unknown> {
  return (await host.ipJson("link", "show", device))[0]?.["ifindex"];
}

/** Two hosts: the first has a device that the original left, with its key; both carry both families. */
async function endToEnd(): Promise<string> {
  const families = ["ipv4", "ipv6"] as const;
  await using lab = await Lab.create({
    hosts: 2,
    families,
    store: "sqlite",
    config: networkConfig(families, { Type: "wireguard", Mode: "auto", PersistentKeepaliveInterval: 25 }),
  });
  try {
    return await carry(lab);
  } catch (error) {
    console.log(lab.logs());
    throw error;
  }
}

async function carry(lab: Lab): Promise<string> {
  const [one, two] = lab.hosts as [Host, Host];
  const key = generatePrivateKey();
  await Deno.mkdir(one.folder, { recursive: true });
  const file = `${one.folder}/wgkey`;
  await Deno.writeTextFile(file, key, { mode: 0o400 });
  await one.ip(`link add ${DEVICE} type wireguard`);
  await one.exec(["wg", "set", DEVICE, "private-key", file, "listen-port", "51820"]);
  await one.ip(`link set ${DEVICE} mtu 1420 up`);
  const index = await indexOf(one, DEVICE);
  for (const host of lab.hosts) host.start(startOptions(host));
  await Promise.all(lab.hosts.map((host) => host.waitReady(PATIENCE_MS)));
  assert.equal(await indexOf(one, DEVICE), index, "the original's device is taken over");
  assert.equal((await dump(one))[0]![1], publicKeyOf(key), "and its key");
  assert.equal((await two.ipJson("link", "show", DEVICE))[0]!["mtu"], 1420);
  await lab.connect();
  await lab.pingAll(PATIENCE_MS);
  const before = (await dump(two))[1]!;
  await two.exec(["wg", "set", DEVICE, "peer", before[0]!, "remove"]);
  await until("the peer", async () => (await dump(two))[1]?.[3] === before[3], PATIENCE_MS);
  await two.exec(["ip", "link", "delete", DEVICE]);
  const deleted = performance.now();
  await until("the device with its peer", async () => (await dump(two))[1]?.[3] === before[3], PATIENCE_MS);
  const healed = performance.now() - deleted;
  await lab.pingAll(PATIENCE_MS);
  // Killed and started again: the device stays, and nothing is lost.
  const [from, to] = lab.containers;
  const pinging = from!.exec(["ping", "-i", "0.05", "-c", "200", "-W", "2", to!.addresses.ipv4!], {
    mayFail: true,
  });
  await one.daemon.kill();
  one.start(startOptions(one));
  await one.waitReady(PATIENCE_MS);
  assert.match((await pinging).stdout, /200 packets transmitted, 200 received/);
  return `a deleted device has its peer again after ${(healed / 1000).toFixed(1)} s`;
}

const PEERS = 5_000;

/**
 * Thousands of peers on one device, by difference. The device goes with the machine: the kernel takes 30 ms here for
 * each peer of a device that is deleted (synchronize_net), minutes for all.
 */
async function manyPeers(): Promise<string> {
  const device = "vm-wg-many";
  await run(["ip", "link", "add", device, "type", "wireguard"]);
  using socket = openGenericSocket();
  const control = openKernelWireguard(socket);
  assert.ok(control);
  const table = new PeerTable(device, control, { privateKey: generatePrivateKey(), listenPort: 51899 });
  for (let index = 0; index < PEERS; index++) {
    table.set(`peer ${index}`, {
      // Any 32 bytes will do.
      publicKey: randomBytes(32).toString("base64"),
      endpoint: { ip: parseIp(`100.64.${index >> 8}.${index & 255}`), port: 51820 },
      keepalive: 0,
      allowedIps: [
        parsePrefix(`10.${64 + (index >> 8)}.${index & 255}.0/24`),
        parsePrefix(`fd00:${index.toString(16)}::/64`),
      ],
    });
  }
  const times: string[] = [];
  const pass = async (what: string, corrected: number) => {
    const began = performance.now();
    const result = await table.pass();
    times.push(`${what} ${Math.round(performance.now() - began)} ms`);
    assert.deepEqual(result.failures, []);
    assert.equal(result.corrected, corrected, what);
    return result;
  };
  await pass(`${PEERS} peers`, PEERS);
  const { device: read } = await pass("nothing", 0);
  assert.equal(read.peers.length, PEERS);
  assert.ok(read.peers.every(({ allowedIps }) => allowedIps.length === 2));
  const removals = read.peers.slice(0, 10).flatMap(({ publicKey }) => ["peer", publicKey, "remove"]);
  await run(["wg", "set", device, ...removals]);
  await pass("10 removed", 10);
  await pass("nothing", 0);
  return times.join(", ");
}

/** See the module's text. */
export const wireguardSteps: readonly Step[] = [
  { name: "wireguard: two hosts, both families, takeover, healing, restart", run: endToEnd },
  { name: "wireguard: thousands of peers by difference", run: manyPeers },
];

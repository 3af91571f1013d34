/** `flanneld wireguard rotate`: another key, and what the peers notice of it. */
import assert from "node:assert/strict";
import { publicKeyOf } from "../../lib/wireguard/keys.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { readLeases } from "../../scripts/lab/leases.ts";
import { parsePing } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { keyFile, ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import { dumpPeers, startConnected } from "./wireguard_lab.ts";

const config = networkConfig(["ipv4"], { Type: "wireguard" });

/** Runs the command; the environment doesn't name the key file: the running daemon does. */
async function rotate(host: Host) {
  const command = [...flanneldCommand(), "wireguard", "rotate", `-subnet-file=${host.subnetFile}`];
  return await host.exec(command, { mayFail: true });
}

async function publicKey(host: Host): Promise<string> {
  return publicKeyOf(await Deno.readTextFile(keyFile(host)));
}

labTest("wireguard: peers follow a new key without losing a packet", { hosts: 2, config }, async (lab) => {
  const [from, to] = await startConnected(lab);
  const [one, two] = lab.hosts as [Host, Host];
  const before = await publicKey(one);
  const pinging = [[from!, to!], [to!, from!]].map(([a, b]) =>
    a!.exec(["ping", "-n", "-q", "-i", "0.01", "-c", "600", "-W", "2", b!.addresses.ipv4!], { mayFail: true })
  );
  const { code, stdout, stderr } = await rotate(one);
  assert.equal(code, 0, stderr);
  const after = await publicKey(one);
  assert.notEqual(after, before);
  assert.match(stdout, new RegExp(`public key ${after.replace(/[+/]/g, "\\$&")}\nflanneld uses it`));
  await until(
    "host 2 to have the new key alone",
    async () => (await dumpPeers(two)).map(({ key }) => key).join() === after,
    2_000,
  );
  assert.ok([...(await readLeases(lab)).values()].some((value) => value.includes(after)));
  for (const { stdout, stderr } of await Promise.all(pinging)) {
    const { sent, received } = parsePing(stdout, stderr);
    assert.equal(sent - received, 0, `lost ${sent - received} of ${sent}`);
  }
  const text = lab.hosts.map(({ daemon }) => daemon.log).join("\n");
  assert.ok(!text.includes((await Deno.readTextFile(keyFile(one))).trim()));
});

labTest("wireguard: a peer that was down while a host took a new key follows when it is back", {
  hosts: 2,
  config,
}, async (lab) => {
  await startConnected(lab);
  const [one, two] = lab.hosts as [Host, Host];
  await two.daemon.kill();
  assert.equal((await rotate(one)).code, 0);
  two.start(ownWireguard(two));
  await two.waitReady();
  await lab.pingAll(3_000);
});

labTest("wireguard: a new key waits for the store; without a daemon it waits for the next start", {
  hosts: 2,
  config,
}, async (lab) => {
  await startConnected(lab);
  const [one] = lab.hosts as [Host, Host];
  const before = await publicKey(one);
  await lab.etcd.stop();
  await until(
    "the daemon to miss the store",
    async () =>
      JSON.parse(
        (await one.exec([...flanneldCommand(), "status", "-json", `-subnet-file=${one.subnetFile}`], {
          mayFail: true,
        })).stdout,
      ).store.connected === false,
    15_000,
  );
  const { code, stderr } = await rotate(one);
  assert.equal(code, 1);
  assert.match(stderr, /not taken it up yet/);
  // Its peers don't know the new key: all goes on with the old one.
  await lab.pingAll(2_000);
  const after = await publicKey(one);
  assert.notEqual(after, before);
  await lab.etcd.start();
  await until(
    "the new key in the lease",
    async () => [...(await readLeases(lab)).values()].some((value) => value.includes(after)),
    15_000,
  );
  await lab.pingAll(5_000);
});

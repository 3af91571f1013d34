/** Who may send into the overlay (flannel-io/flannel #6, #961): with PeerFilter nobody but live peers. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { apartFromPeers, type Lab } from "../../scripts/lab/lab.ts";
import { deleteLease } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

const DEVICE = "flannel.1";
const FORGED = 20;

/** Packets that came out of the tunnel on `host`. */
async function received(host: Host): Promise<number> {
  const [link] = await host.ipJson("-s", "link", "show", DEVICE) as unknown as {
    stats64: { rx: { packets: number } };
  }[];
  return link!.stats64.rx.packets;
}

/** Sends packets into `target`'s tunnel from a host that isn't a peer, with a VXLAN device made by hand. */
async function forge(stranger: Host, target: Host, subnet: string): Promise<void> {
  const [device] = await target.ipJson("link", "show", DEVICE) as unknown as { address: string }[];
  const vtep = subnet.replace(/\d+\/\d+$/, "0");
  const own = stranger.addresses.ipv4!;
  if (
    (await stranger.ipJson("link", "show")).every((link) => (link as { ifname?: string }).ifname !== "forge")
  ) {
    await stranger.ip(
      `link add forge type vxlan id 1 dev eth0 local ${own} dstport 8472 nolearning`,
      "link set forge up",
      "addr add 10.5.250.0/32 dev forge",
      `neigh add ${vtep} lladdr ${device!.address} nud permanent dev forge`,
      `route add ${vtep}/24 via ${vtep} dev forge onlink`,
    );
    await stranger.exec(
      ["bridge", "fdb", "append", device!.address, "dev", "forge", "dst", target.addresses.ipv4!],
    );
  }
  // Nobody answers: what counts is what arrives.
  await stranger.exec(["ping", "-c", String(FORGED), "-i", "0.02", "-W", "1", "-q", vtep]).catch(() => {});
}

async function startTwo(lab: Lab): Promise<{ target: Host; stranger: Host; subnets: string[] }> {
  const [first, second, stranger] = [lab.host(1), lab.host(2), lab.host(3)];
  const files = await Promise.all([first.startReady(), second.startReady()]);
  await Promise.all([first.addContainer(), second.addContainer()]);
  return { target: first, stranger, subnets: files.map(({ subnets }) => subnets.ipv4!) };
}

labTest("without PeerFilter packets of a stranger come out of the tunnel", {
  hosts: 3,
  config: apartFromPeers(),
}, async (lab) => {
  const { target, stranger, subnets } = await startTwo(lab);
  const before = await received(target);
  await forge(stranger, target, subnets[0]!);
  assert.ok(await received(target) >= before + FORGED, "the forged packets arrive");
});

labTest(
  "with PeerFilter they don't, live peers' do, and a peer that left is a stranger",
  { hosts: 3, config: { ...apartFromPeers(), PeerFilter: true } },
  async (lab) => {
    const { target, stranger, subnets } = await startTwo(lab);
    await lab.pingAll();
    const before = await received(target);
    await forge(stranger, target, subnets[0]!);
    assert.equal(await received(target), before, "no forged packet arrives");
    const { stdout } = await target.exec(["nft", "-j", "list", "counters"]);
    assert.match(stdout, new RegExp(`"packets": ${FORGED}\\b`), "and each is counted");

    await lab.host(2).daemon.kill();
    const address = lab.host(2).addresses.ipv4!;
    const ruleset = () => target.exec(["nft", "list", "ruleset"]).then((found) => found.stdout);
    assert.ok((await ruleset()).includes(address));
    await deleteLease(lab, subnets[1]!.replace(/\d+\/(\d+)$/, "0-$1"));
    await until(
      "the peer that left to be out of the set",
      async () => !(await ruleset()).includes(address),
      2000,
    );
  },
);

const CONFIG = apartFromPeers();

async function hasFilter(host: Host): Promise<boolean> {
  return (await host.exec(["nft", "list", "tables"])).stdout.includes("table inet flannel-peers\n");
}

labTest(
  "PeerFilter is in force before the device is there",
  { hosts: 1, config: { ...CONFIG, PeerFilter: true } },
  async (lab) => {
    const host = lab.host(1);
    let order = "";
    const read = async (monitor: Deno.ChildProcess) => {
      for await (const text of monitor.stdout.pipeThrough(new TextDecoderStream())) order += text;
    };
    const monitors = [["nft", "monitor"], ["ip", "monitor", "link"]].map((command) => host.spawn(command));
    const reading = Promise.all(monitors.map(read));
    try {
      await until("the monitors", async () => {
        await host.ip("link add seen type bridge", "link del seen");
        await host.exec(["nft", "add table ip seen; delete table ip seen"]);
        return order.includes("add table ip seen") && order.includes(": seen:");
      }, 3000);
      await host.startReady();
      await until("the device", () => order.includes(`: ${DEVICE}:`), 2000);
    } finally {
      for (const monitor of monitors) monitor.kill();
      await reading;
      for (const monitor of monitors) await monitor.stderr.cancel();
    }
    const [filter, device] = [order.indexOf("add table inet flannel-peers"), order.indexOf(`: ${DEVICE}:`)];
    assert.ok(filter >= 0 && filter < device, order);
    assert.equal(await hasFilter(host), true);
  },
);

labTest(
  "PeerFilter switched off: its rules go with the config's change and at the next start",
  { hosts: 2, config: { ...CONFIG, PeerFilter: true } },
  async (lab) => {
    // They stayed with the peers of that time, and the packets of every new peer were dropped.
    const host = lab.host(1);
    await host.startReady();
    assert.equal(await hasFilter(host), true);
    await lab.store.writeConfig(JSON.stringify({ ...CONFIG, PeerFilter: false }));
    await until("the filter to go with the config's change", async () => !await hasFilter(host), 3000);
    const status = JSON.parse(await host.fetchText("/status"));
    assert.equal(status.configInUse, true);
    assert.equal(status.config.PeerFilter, false);
    await lab.store.writeConfig(JSON.stringify({ ...CONFIG, PeerFilter: true }));
    await until("the filter to come with the config's change", () => hasFilter(host), 3000);

    await host.daemon.kill();
    await lab.store.writeConfig(JSON.stringify({ ...CONFIG, PeerFilter: false }));
    await host.startReady();
    await until("the filter to go at the next start", async () => !await hasFilter(host), 3000);
    await lab.host(2).startReady();
    await lab.connect();
    await lab.pingAll();
  },
);

labTest(
  "what `nft flush ruleset` takes away is back within 2 s, whatever -iptables-resync says",
  { hosts: 1, config: { ...CONFIG, PeerFilter: true, EnableNFTables: true } },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady({ args: ["-iptables-resync=3600", "-ip-masq"] });
    const ruleset = async () =>
      (await host.exec(["nft", "list", "ruleset"])).stdout.split(/^(?=table )/m).toSorted();
    const before = await ruleset();
    assert.match(before.join(), /flannel-peers.*flannel-ipv4|flannel-ipv4.*flannel-peers/s);
    for (let round = 0; round < 3; round++) {
      await host.exec(["nft", "flush", "ruleset"]);
      await until("the rules to be back", async () => {
        assert.deepEqual(await ruleset(), before);
        return true;
      }, 2000);
    }
    // Two changes that come together are one line.
    for (
      const what of [
        /table inet flannel-peers, which is restored/,
        /firewall rules, which are restored: IPv4/,
      ]
    ) {
      await until(`the line ${what}`, () => host.daemon.count(what) > 0, 2000);
    }
  },
);

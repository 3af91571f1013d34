import assert from "node:assert/strict";
import { buildPacket, type FlowPacket, randomPacket } from "../unit/udp_reference.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import type { UdpPeerSpec } from "./udp_host.ts";
import type { UdpStatus } from "./udp_rig.ts";
import { udpTest } from "./udp_test_case.ts";
import { ip } from "../unit/udp_packets.ts";
import { tool, transfer } from "./udp_traffic.ts";

/** A UDP packet from one inner address to another, in hex. */
function forged(source: string, destination: string, change: Partial<FlowPacket> = {}): string {
  const version = source.includes(":") ? 6 : 4;
  const packet = randomPacket(randomSource(51), 20, { version, protocol: "udp" });
  return buildPacket({ ...packet, ttl: 60, source: ip(source), destination: ip(destination), ...change })
    .toHex();
}

/** Waits until the host has dropped this much for this reason. */
function dropped(status: () => Promise<UdpStatus>, reason: string, count: number): Promise<unknown> {
  return until(`${count} drops for ${reason}`, async () => (await status()).dropped[reason] === count, 3000);
}

udpTest("forged senders are dropped and counted by reason, and traffic goes on", async (rig) => {
  const [one, two] = rig.hosts;
  const peers = [rig.peer(2), rig.peer(3)];
  const daemon = await rig.start(0, {}, { peers });
  const status = () => daemon.status();
  const third = rig.outerOf(3), stranger = rig.outerOf(9);
  const length = rig.mode.traffic === "ipv4" ? 24 : 64;
  const others = [third, stranger].map((address) => `address add ${address}/${length} dev eth0`);
  await two.namespace.ip(...others.map((line) => length === 64 ? `${line} nodad` : line));
  const send = (from: string, port: string, ...packets: string[]) =>
    two.namespace.exec(tool("forge", from, port, one.address, "8285", ...packets));
  const honest = forged(two.inner, one.inner);
  await send(stranger, "8285", honest, honest);
  await dropped(status, "in_unknown_sender", 2);
  await send(two.address, "9999", honest);
  await dropped(status, "in_unknown_sender", 3);
  await send(third, "8285", honest);
  await dropped(status, "in_foreign_source", 1);
  await send(two.address, "8285", forged(rig.innerOf(3, 9), one.inner), forged(one.inner, one.inner));
  await dropped(status, "in_foreign_source", 3);
  await send(
    two.address,
    "8285",
    forged(two.inner, rig.innerOf(3, 1)),
    forged(two.inner, rig.innerOf(0xff, 1)),
  );
  await dropped(status, "in_foreign_destination", 2);
  await send(
    two.address,
    "8285",
    "45",
    honest.slice(0, -2),
    `${honest}00`,
    forged(two.inner, one.inner, { ttl: 1 }),
  );
  await dropped(status, "in_malformed", 2);
  await dropped(status, "in_truncated", 1);
  await dropped(status, "in_ttl", 1);
  assert.equal((await status()).receivedPackets, 0);
  await send(two.address, "8285", honest);
  await until("the honest packet", async () => (await status()).receivedPackets === 1, 3000);
  await rig.start(1);
  assert.equal((await ping(one.container, two.inner, { count: 1 })).received, 1);
});

udpTest("SourceCheck false lets a stranger in", async (rig) => {
  const [one, two] = rig.hosts;
  const daemon = await rig.start(0, { SourceCheck: false });
  const packet = forged(rig.innerOf(77, 1), one.inner);
  await two.namespace.exec(tool("forge", "any", "0", one.address, "8285", packet));
  await until("the packet", async () => (await daemon.status()).receivedPackets === 1, 3000);
});

udpTest("peers that come, move and go under load stop no packet of the others", async (rig) => {
  const [daemon] = await rig.startBoth();
  const [, two] = rig.hosts;
  const steady: UdpPeerSpec = rig.peer(two.n);
  const random = randomSource(52);
  const { sent, received } = await transfer(rig, 256 << 20, async () => {
    for (let change = 0; change < 40; change++) {
      const others = Array.from({ length: random.below(200) }, (_, i) => ({
        ...rig.peer(3 + random.below(200)),
        subnets: rig.peer(10 + i).subnets,
        port: 8285 + random.below(3),
      }));
      await daemon.peers([steady, ...others]);
    }
  });
  assert.equal(received, sent);
  const { dropped } = await daemon.status();
  assert.equal(dropped.out_no_route, 0);
  assert.equal(dropped.in_unknown_sender, 0);
});

udpTest("a peer that goes is cut off at once, and is back when it comes again", async (rig) => {
  const [daemon] = await rig.startBoth();
  const [one, two] = rig.hosts;
  const once = async () => (await ping(one.container, two.inner, { count: 1, timeout: 300 })).received;
  assert.equal(await once(), 1);
  await daemon.peers([]);
  assert.equal(await once(), 0);
  await daemon.peers([rig.peer(two.n)]);
  assert.equal(await once(), 1);
});

udpTest("hosts listen on ports of their own", async (rig) => {
  const [one, two] = rig.hosts;
  const port = 18285;
  await Promise.all([
    rig.start(0, {}, { peers: [rig.peer(two.n, { port })] }),
    rig.start(1, {}, { port }),
  ]);
  assert.equal((await ping(one.container, two.inner, { count: 1 })).received, 1);
});

udpTest(
  "kill -9 and a restart keep the device, and TCP goes on within a second of the start",
  async (rig) => {
    const [, two] = await rig.startBoth();
    const index = async () =>
      (await rig.hosts[0].namespace.ipJson("link", "show", "flannel0"))[0]!["ifindex"];
    const before = await index();
    let first = two;
    let gap = 0, started = 0;
    const { sent, received } = await transfer(rig, 1024 << 20, async () => {
      await until("some traffic", async () => (await two.status()).receivedPackets > 1000, 5000);
      const start = performance.now();
      await two.kill();
      first = await rig.start(1);
      started = performance.now() - start;
      await until("traffic again", async () => (await first.status()).receivedPackets > 0, 20_000);
      gap = performance.now() - start;
    });
    assert.equal(received, sent);
    assert.equal(await index(), before);
    // TCP sends again after twice the time that it was without an answer.
    const most = 2 * started + 1000;
    assert.ok(
      gap < most,
      `traffic stood still for ${gap.toFixed(0)} ms, ${started.toFixed(0)} of them no daemon`,
    );
  },
);

udpTest("an orderly end leaves the device and its route; nobody else's name is taken", async (rig) => {
  const [one] = rig.hosts;
  await one.namespace.ip("link add flannel0 type bridge");
  const daemon = await rig.start(0);
  assert.equal((await daemon.status()).device, "flannel1");
  await daemon[Symbol.asyncDispose]();
  for (const network of rig.spec(0).networks) {
    const family = network.includes(":") ? "-6" : "-4";
    const routes = await one.namespace.ipJson(family, "route", "show", network);
    assert.equal(routes[0]!["dev"], "flannel1");
  }
  const again = await rig.start(0, { Offload: false });
  assert.equal((await again.status()).device, "flannel1");
});

udpTest("a device that is deleted under the forwarder is used again once it is back", async (rig) => {
  const [daemon] = await rig.startBoth();
  const [one, two] = rig.hosts;
  assert.equal((await ping(one.container, two.inner, { count: 1 })).received, 1);
  await one.namespace.ip("link delete flannel0");
  await delay(50);
  await daemon.keep();
  await until(
    "traffic through the new device",
    async () => (await ping(one.container, two.inner, { count: 1, timeout: 300 })).received === 1,
    5000,
  );
});

udpTest("a port that is taken is named", async (rig) => {
  const [one] = rig.hosts;
  const holder = one.namespace.spawn(tool("echo", "8285"));
  const reader = holder.stdout.getReader();
  await reader.read();
  await assert.rejects(() => rig.start(0), new RegExp(`bind UDP port 8285 on ${one.address}: .*EADDRINUSE`));
  holder.kill("SIGKILL");
  await Promise.allSettled([holder.status, reader.cancel(), holder.stderr.cancel()]);
});

import assert from "node:assert/strict";
import { buildPacket, type FlowPacket, randomPacket } from "../unit/udp_reference.ts";
import { randomSource } from "../../scripts/lab/random.ts";
import { IS_ROOT } from "./lab_test_case.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import type { UdpPeerSpec } from "./udp_host.ts";
import { UdpRig, type UdpStatus } from "./udp_rig.ts";
import { tool, transfer } from "./udp_traffic.ts";

function udpTest(name: string, body: (rig: UdpRig) => Promise<void>): void {
  Deno.test({
    name: `${name} (needs root)`,
    ignore: !IS_ROOT,
    async fn() {
      await using rig = await UdpRig.make();
      await body(rig);
    },
  });
}

const ip = (text: string): Uint8Array => Uint8Array.from(text.split(".").map(Number));

/** A UDP packet from one inner address to another, in hex. */
function forged(source: string, destination: string, change: Partial<FlowPacket> = {}): string {
  const packet = randomPacket(randomSource(51), 20, { version: 4, protocol: "udp" });
  return buildPacket({ ...packet, ttl: 60, source: ip(source), destination: ip(destination), ...change })
    .toHex();
}

/** Waits until the host has dropped this much for this reason. */
function dropped(status: () => Promise<UdpStatus>, reason: string, count: number): Promise<unknown> {
  return until(`${count} drops for ${reason}`, async () => (await status()).dropped[reason] === count, 3000);
}

udpTest("forged senders are dropped and counted by reason, and traffic goes on", async (rig) => {
  const [one, two] = rig.hosts;
  const peers = [
    { subnet: two.subnet, address: two.address },
    { subnet: "10.7.3.0/24", address: "172.30.0.3" },
  ];
  const daemon = await rig.start(0, {}, { peers });
  const status = () => daemon.status();
  await two.namespace.ip("address add 172.30.0.3/24 dev eth0", "address add 172.30.0.9/24 dev eth0");
  const send = (from: string, port: string, ...packets: string[]) =>
    two.namespace.exec(tool("forge", from, port, one.address, "8285", ...packets));
  const honest = forged(two.inner, one.inner);
  await send("172.30.0.9", "8285", honest, honest);
  await dropped(status, "in_unknown_sender", 2);
  await send(two.address, "9999", honest);
  await dropped(status, "in_unknown_sender", 3);
  await send("172.30.0.3", "8285", honest);
  await dropped(status, "in_foreign_source", 1);
  await send(two.address, "8285", forged("10.7.3.9", one.inner), forged(one.inner, one.inner));
  await dropped(status, "in_foreign_source", 3);
  await send(two.address, "8285", forged(two.inner, "10.7.3.1"), forged(two.inner, "8.8.8.8"));
  await dropped(status, "in_foreign_destination", 2);
  await send(
    two.address,
    "8285",
    "45",
    honest.slice(0, 60),
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
  const packet = forged("10.7.77.1", one.inner);
  await two.namespace.exec(tool("forge", "0.0.0.0", "0", one.address, "8285", packet));
  await until("the packet", async () => (await daemon.status()).receivedPackets === 1, 3000);
});

udpTest("peers that come, move and go under load stop no packet of the others", async (rig) => {
  const [daemon] = await rig.startBoth();
  const [, two] = rig.hosts;
  const steady: UdpPeerSpec = { subnet: two.subnet, address: two.address };
  const random = randomSource(52);
  const { sent, received } = await transfer(rig, 256 << 20, async () => {
    for (let change = 0; change < 40; change++) {
      const others = Array.from({ length: random.below(200) }, (_, i) => ({
        subnet: `10.7.${10 + i}.0/24`,
        address: `172.30.1.${random.below(250)}`,
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
  await daemon.peers([{ subnet: two.subnet, address: two.address }]);
  assert.equal(await once(), 1);
});

udpTest("hosts listen on ports of their own", async (rig) => {
  const [one, two] = rig.hosts;
  const port = 18285;
  await Promise.all([
    rig.start(0, {}, { peers: [{ subnet: two.subnet, address: two.address, port }] }),
    rig.start(1, {}, { port }),
  ]);
  assert.equal((await ping(one.container, two.inner, { count: 1 })).received, 1);
});

udpTest("kill -9 and a restart keep the device, and TCP goes on within a second", async (rig) => {
  const [, two] = await rig.startBoth();
  const index = async () => (await rig.hosts[0].namespace.ipJson("link", "show", "flannel0"))[0]!["ifindex"];
  const before = await index();
  let first = two;
  let gap = 0;
  const { sent, received } = await transfer(rig, 1024 << 20, async () => {
    await until("some traffic", async () => (await two.status()).receivedPackets > 1000, 5000);
    const start = performance.now();
    await two.kill();
    first = await rig.start(1);
    await until("traffic again", async () => (await first.status()).receivedPackets > 0, 5000);
    gap = performance.now() - start;
  });
  assert.equal(received, sent);
  assert.equal(await index(), before);
  assert.ok(gap < 1000, `traffic stood still for ${gap.toFixed(0)} ms`);
});

udpTest("an orderly end leaves the device and its route; nobody else's name is taken", async (rig) => {
  const [one] = rig.hosts;
  await one.namespace.ip("link add flannel0 type bridge");
  const daemon = await rig.start(0);
  assert.equal((await daemon.status()).device, "flannel1");
  await daemon[Symbol.asyncDispose]();
  const routes = await one.namespace.ipJson("route", "show", "10.7.0.0/16");
  assert.equal(routes[0]!["dev"], "flannel1");
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
  await assert.rejects(() => rig.start(0), /bind UDP port 8285 on 172\.30\.0\.1.*EADDRINUSE/);
  holder.kill("SIGKILL");
  await Promise.allSettled([holder.status, reader.cancel(), holder.stderr.cancel()]);
});

import assert from "node:assert/strict";
import { until } from "../../scripts/lab/process.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { buildBaseline, openBaselineSide } from "../bench/udp_paths.ts";
import { DUAL_4, DUAL_6, IPV4_ONLY, IPV6_ONLY, UdpRig } from "./udp_rig.ts";
import { IS_ROOT } from "./lab_test_case.ts";
import { udpTest } from "./udp_test_case.ts";
import { echoSizes, icmpCounter, ipCounter, netCounter, tool, transfer } from "./udp_traffic.ts";

/** How much the long transfer moves, in MiB. */
const MEGABYTES = Number(Deno.env.get("FLANNEL_UDP_MEGABYTES") ?? 256);

/** What the ladder and long transfers are tested with: each family alone, and beside the other one. */
const MODES = [IPV4_ONLY, IPV6_ONLY, DUAL_4, DUAL_6];

udpTest(
  "with every offload a long TCP transfer arrives unharmed, and no offload fell back silently",
  async (rig) => {
    const [one, two] = await rig.startBoth();
    const { sent, received } = await transfer(rig, MEGABYTES << 20);
    assert.equal(received, sent);
    const from = await one.status(), to = await two.status();
    assert.ok(Object.values(from.offloads).every(Boolean), JSON.stringify(from.offloads));
    assert.ok(Object.values(to.offloads).every(Boolean), JSON.stringify(to.offloads));
    assert.deepEqual([from.downgrades, to.downgrades], [0, 0]);
    // TSO and UDP_SEGMENT: many packets a read and a send. UDP_GRO and merging: many packets a write.
    assert.ok(from.sentPackets > 5 * from.tunReads, `${from.sentPackets} packets by ${from.tunReads} reads`);
    assert.ok(
      from.sentPackets > 10 * from.sendCalls,
      `${from.sentPackets} packets by ${from.sendCalls} sends`,
    );
    assert.ok(
      to.receivedPackets > 10 * to.tunWrites,
      `${to.receivedPackets} packets by ${to.tunWrites} writes`,
    );
  },
  { modes: MODES },
);

/** Each offload switched off alone, the whole ladder off, and the steps between. */
const LADDER: readonly (readonly [string, Record<string, boolean>, readonly string[]])[] = [
  ["USO", { USO: false }, ["uso", "mergeUdp"]],
  ["merging", { Merge: false }, ["mergeTcp", "mergeUdp"]],
  ["UDP_GRO", { UDPGRO: false }, ["gro"]],
  ["UDP_SEGMENT", { UDPSegment: false }, ["segment"]],
  ["virtio headers", { TSO: false }, ["vnetHeader", "uso", "mergeTcp", "mergeUdp"]],
  ["several packets a call", { Batch: false }, ["batch"]],
  [
    "all but several packets a call",
    { Offload: false, Batch: true },
    ["vnetHeader", "uso", "segment", "gro", "mergeTcp", "mergeUdp"],
  ],
  ["every offload", { Offload: false }, [
    "vnetHeader",
    "uso",
    "segment",
    "gro",
    "mergeTcp",
    "mergeUdp",
    "batch",
  ]],
];

for (const [name, options, off] of LADDER) {
  udpTest(
    `without ${name} traffic still arrives unharmed, between a host with and one without`,
    async (rig) => {
      const [one, two] = await Promise.all([rig.start(0, options), rig.start(1)]);
      const forth = await transfer(rig, 24 << 20);
      assert.equal(forth.received, forth.sent);
      const most = rig.mostPayload;
      const sizes = [1, 1400, most, most + 1, 9000, 65507];
      assert.deepEqual(await echoSizes(rig, sizes), sizes);
      const status = await one.status();
      assert.deepEqual(Object.keys(status.offloads).filter((offload) => !status.offloads[offload]), off);
      assert.ok(Object.values((await two.status()).offloads).every(Boolean));
    },
    { modes: MODES },
  );
}

udpTest("a worker for each direction", async (rig) => {
  await rig.startBoth({ Workers: 2 });
  const { sent, received } = await transfer(rig, 32 << 20);
  assert.equal(received, sent);
});

udpTest("a wire without any offload of its own", async (rig) => {
  for (const { namespace } of rig.hosts) {
    await namespace.exec([
      "ethtool",
      "-K",
      "eth0",
      "tx",
      "off",
      "rx",
      "off",
      "sg",
      "off",
      "tso",
      "off",
      "gso",
      "off",
      "gro",
      "off",
    ]);
  }
  await rig.startBoth();
  const { sent, received } = await transfer(rig, 16 << 20);
  assert.equal(received, sent);
});

function hasCompiler(): boolean {
  try {
    return new Deno.Command("cc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "a peer that moves packet by packet, as the original does (needs root and cc)",
  ignore: !IS_ROOT || !hasCompiler(),
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const program = (await buildBaseline(folder))!;
      await using rig = await UdpRig.make();
      await rig.start(0);
      await using _peer = await openBaselineSide(rig, 1, program);
      const { sent, received } = await transfer(rig, 32 << 20);
      assert.equal(received, sent);
      const sizes = [1, 1444, 1445, 65507];
      assert.deepEqual(await echoSizes(rig, sizes), sizes);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

udpTest("UDP of every size passes unharmed, fragments included", async (rig) => {
  await rig.startBoth();
  const most = rig.mostPayload;
  const edges = [1, 2, 3, 7, 8, 63, 64, 65, most - 1, most, most + 1, 2888, 2889, 16383, 32768, 65506, 65507];
  const all = Deno.env.get("FLANNEL_UDP_SIZES") === "all";
  const more = all
    ? Array.from({ length: 65507 }, (_, i) => i + 1)
    : Array.from({ length: 80 }, (_, i) => 4 + i * 811);
  const sizes = [...edges, ...more];
  assert.deepEqual(await echoSizes(rig, sizes), sizes);
});

udpTest("IPv6 extension headers and fragments pass unharmed", async (rig) => {
  for (const options of [{}, { Offload: false }]) {
    const daemons = await rig.startBoth(options);
    const sizes = [1, 100, rig.mostPayload - 8, rig.mostPayload, 5000, 60_000];
    assert.deepEqual(await echoSizes(rig, sizes, "extend"), sizes);
    for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
  }
}, { modes: [IPV6_ONLY] });

udpTest("hosts say that packets are too big for the tunnel, and for what is behind it", async (rig) => {
  await rig.startBoth();
  const [one, two] = rig.hosts;
  const inside = rig.mtu - rig.overhead;
  const said = async (size: number) => {
    const ping = ["ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", `${size}`, two.inner];
    const { stdout, stderr } = await one.container.exec(ping, { mayFail: true });
    return /mtu ?= ?(\d+)/i.exec(stdout + stderr)?.[1];
  };
  // Behind the other host it gets narrower: the error comes through the tunnel.
  await two.namespace.ip("link set cni0 mtu 1300");
  assert.equal(await said(rig.mostPayload), "1300");
  const { sent, received } = await transfer(rig, 4 << 20);
  assert.equal(received, sent, "TCP finds out the path's MTU");
  // Wider containers: the TUN is the narrow place, and this host says so.
  await two.namespace.ip(`link set cni0 mtu ${inside}`);
  await one.namespace.ip(`link set veth1 mtu ${rig.mtu}`, `link set cni0 mtu ${rig.mtu}`);
  const bits = rig.mode.traffic === "ipv4" ? 32 : 128;
  await one.container.ip(
    `link set eth0 mtu ${rig.mtu}`,
    `route flush cache`,
    `route add ${two.inner}/${bits} via ${rig.innerOf(1, 1)}`,
  );
  assert.equal(await said(rig.mtu - 48), `${inside}`);
});

udpTest("a flood of pings comes back, small and large, and the MTU's edge holds", async (rig) => {
  await rig.startBoth();
  const [one, two] = rig.hosts;
  for (const size of ["8", "56", `${rig.mostPayload}`, "5000"]) {
    const { stdout } = await one.container.exec(["ping", "-f", "-c", "1000", "-s", size, two.inner]);
    assert.match(stdout, /1000 packets transmitted, 1000 received/, `size ${size}`);
  }
  const whole = ["ping", "-c", "1", "-W", "2", "-M", "do"];
  await one.container.exec([...whole, "-s", `${rig.mostPayload}`, two.inner]);
  const { code } = await one.container.exec([...whole, "-s", `${rig.mostPayload + 1}`, two.inner], {
    mayFail: true,
  });
  assert.notEqual(code, 0);
});

udpTest("jumbo frames and a narrow wire", async (rig) => {
  await rig.startBoth();
  const { sent, received } = await transfer(rig, 16 << 20);
  assert.equal(received, sent);
}, { mtu: 9000 });

udpTest("a path that is narrower than the device: runs are split, and nothing is lost", async (rig) => {
  const [one] = await rig.startBoth({ MTU: rig.mtu - rig.overhead });
  for (const { namespace } of rig.hosts) await namespace.ip("link set eth0 mtu 1300");
  const { sent, received } = await transfer(rig, 8 << 20);
  assert.equal(received, sent);
  const status = await one.status();
  assert.ok(status.splitSends > 0, "the kernel refused long runs");
  assert.equal(status.dropped.out_send_failed, 0);
  assert.equal(status.offloads.segment, true);
});

udpTest("ECN goes through: ECT and CE arrive, and CWR does after them", async (rig) => {
  await rig.startBoth();
  const [one, two] = rig.hosts;
  for (const { container } of rig.hosts) await container.sysctl({ "net/ipv4/tcp_ecn": "1" });
  const header = rig.mode.traffic === "ipv4" ? "ip" : "ip6";
  // Behind the first container, some packets meet congestion.
  await one.namespace.exec(["nft", "-f", "-"], {
    input: "table inet congestion { chain forward { type filter hook forward priority 0; policy accept; " +
      `${header} ecn 2 numgen random mod 40 0 ${header} ecn set 3\n}\n}\n`,
  });
  const { sent, received } = await transfer(rig, 32 << 20);
  assert.equal(received, sent);
  assert.ok(await ipCounter(two.container, rig.mode.traffic, "InECT0Pkts") > 100);
  assert.ok(await ipCounter(two.container, rig.mode.traffic, "InCEPkts") > 0);
  assert.ok(await netCounter(one.container, "TcpExt", "TCPDeliveredCE") > 0, "the sender learned of it");
});

udpTest("TTLs that run out and missing routes are answered, on both sides", async (rig) => {
  await rig.startBoth();
  const [one, two] = rig.hosts;
  const hop = async (ttl: number) =>
    (await one.container.exec(["ping", "-c", "1", "-W", "2", "-t", `${ttl}`, two.inner], { mayFail: true }))
      .stdout;
  const text = rig.mode.traffic === "ipv4" ? "Time to live exceeded" : "Time exceeded: Hop limit";
  assert.match(await hop(2), new RegExp(`From ${rig.innerOf(1, 0)} .*${text}`));
  assert.match(await hop(3), new RegExp(`From ${rig.innerOf(2, 0)} .*${text}`));
  assert.equal((await ping(one.container, two.inner, { count: 1 })).received, 1);
  const unreachable = () => icmpCounter(one.container, rig.mode.traffic, "InDestUnreachs");
  const before = await unreachable();
  await one.container.exec(tool("forge", "any", "0", rig.innerOf(99, 1), "9", "00"));
  await until("the ICMP error", async () => await unreachable() > before, 3000);
  assert.equal(await unreachable(), before + 1);
});

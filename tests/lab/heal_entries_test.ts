/** Changes of our device or its entries are corrected within 2 s, and traffic recovers. */
import assert from "node:assert/strict";
import { labTest } from "./lab_test_case.ts";
import { until } from "../../scripts/lab/process.ts";
import {
  DEVICES,
  DUAL,
  FAMILY_SETS,
  firstPeer,
  HEAL_LIMIT,
  IP_OPTION,
  type KnownPeer,
  overlayOf,
  startNetwork,
  untilOverlay,
} from "./heal_network.ts";

/** One way of breaking things: commands of `ip`, or of `bridge`. */
interface Breakage {
  readonly what: string;
  ip?(peer: KnownPeer): string[];
  bridge?(peer: KnownPeer): string[];
}

const WRONG_MAC = "02:00:00:00:00:01";
/** Addresses where nobody is. */
const NOBODY = { ipv4: "172.30.0.9", ipv6: "fd00:30::9" } as const;
const STRANGER = { ipv4: "10.5.0.99", ipv6: "fc00::99" } as const;

const BREAKAGES: readonly Breakage[] = [
  { what: "the device deleted", ip: ({ device }) => [`link del ${device}`] },
  { what: "the device down", ip: ({ device }) => [`link set ${device} down`] },
  { what: "the device's addresses flushed", ip: ({ device }) => [`address flush dev ${device}`] },
  { what: "the device's MAC changed", ip: ({ device }) => [`link set ${device} address ${WRONG_MAC}`] },
  { what: "the device's MTU changed", ip: ({ device }) => [`link set ${device} mtu 1300`] },
  { what: "a route deleted", ip: ({ subnet }) => [`route del ${subnet}`] },
  {
    what: "a route to somewhere else",
    ip: ({ subnet, family }) => [`route replace ${subnet} via ${NOBODY[family]} dev eth0`],
  },
  {
    what: "a route to another VTEP",
    ip: (
      { subnet, family, device },
    ) => [`route replace ${subnet} via ${STRANGER[family]} dev ${device} onlink`],
  },
  {
    what: "a route without its next hop",
    ip: ({ subnet, device }) => [`route replace ${subnet} dev ${device}`],
  },
  {
    what: "a second next hop (IPv6 makes siblings of the two)",
    ip: (
      { subnet, family, device },
    ) => [`route append ${subnet} via ${STRANGER[family]} dev ${device} onlink`],
  },
  {
    what: "a better route",
    ip: ({ subnet, gateway, device, family }) => [
      ...family === "ipv4" ? [`route del ${subnet}`] : [],
      `route add ${subnet} via ${gateway} dev ${device} onlink metric 7`,
    ],
  },
  { what: "a neighbour deleted", ip: ({ gateway, device }) => [`neigh del ${gateway} dev ${device}`] },
  {
    what: "a neighbour with a wrong MAC",
    ip: ({ gateway, device }) => [`neigh replace ${gateway} lladdr ${WRONG_MAC} nud permanent dev ${device}`],
  },
  {
    what: "a neighbour that ages",
    ip: ({ gateway, device, mac }) => [`neigh replace ${gateway} lladdr ${mac} nud reachable dev ${device}`],
  },
  { what: "an fdb entry deleted", bridge: ({ mac, device }) => [`fdb del ${mac} dev ${device}`] },
  {
    what: "an fdb entry to somewhere else",
    bridge: (
      { mac, device, family },
    ) => [`fdb replace ${mac} dst ${NOBODY[family]} dev ${device} self permanent`],
  },
  {
    what: "two wrong destinations for one MAC",
    bridge: ({ mac, device, remote, family }) => [
      `fdb append ${mac} dst ${NOBODY[family]}1 dev ${device} self permanent`,
      `fdb append ${mac} dst ${NOBODY[family]} dev ${device} self permanent`,
      `fdb del ${mac} dst ${remote} dev ${device} self`,
    ],
  },
  {
    what: "a second destination for one MAC",
    bridge: (
      { mac, device, family },
    ) => [`fdb append ${mac} dst ${NOBODY[family]} dev ${device} self permanent`],
  },
  {
    what: "entries of nobody's",
    ip: ({ device, family }) => [
      `neigh replace ${STRANGER[family]} lladdr ${WRONG_MAC} nud permanent dev ${device}`,
    ],
    bridge: (
      { device, family },
    ) => [`fdb replace ${WRONG_MAC} dst ${NOBODY[family]} dev ${device} self permanent`],
  },
  {
    what: "everything flushed",
    ip: ({ device }) => [`route flush dev ${device} proto 70`, `neigh flush dev ${device} nud permanent`],
  },
];

for (const { name, families } of FAMILY_SETS) {
  labTest(`vxlan, ${name}: changes of the overlay are corrected within 2 s`, {
    families,
  }, async (lab) => {
    await startNetwork(lab);
    const host = lab.host(1);
    const wanted = await overlayOf(host);
    for (const family of families) {
      const peer = await firstPeer(host, family);
      assert.equal(peer.device, DEVICES[family]);
      for (const { what, ip, bridge } of BREAKAGES) {
        await host.exec(["ip", IP_OPTION[family], "-batch", "-"], { input: script(ip?.(peer)) });
        await host.exec(["bridge", "-batch", "-"], { input: script(bridge?.(peer)) });
        await untilOverlay(host, wanted, `the overlay to be right after: ${what} (${family})`);
      }
    }
    await lab.pingAll(1_000);
  });
}

labTest("-ip-blackhole-route: the own subnet's blackhole is put back, and goes with the option", {
  families: DUAL.families,
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady({ args: ["-ip-blackhole-route"] });
  const blackholes = async () => (await overlayOf(host)).filter((line) => line.startsWith("blackhole "));
  const wanted = await until("the blackholes", async () => {
    const lines = await blackholes();
    return lines.length === DUAL.families.length && lines;
  }, HEAL_LIMIT);
  for (const family of DUAL.families) {
    const line = wanted.find((each) => each.includes(":") === (family === "ipv6"))!;
    const destination = line.split(" ").slice(0, 2).join(" ");
    await host.exec(["sh", "-c", `ip ${IP_OPTION[family]} route del ${destination}`]);
    await until(`the ${family} blackhole to be back`, async () => {
      assert.deepEqual(await blackholes(), wanted);
      return true;
    }, HEAL_LIMIT);
  }
  await host.daemon.stop();
  await host.startReady();
  await until("the blackholes to be gone", async () => (await blackholes()).length === 0, HEAL_LIMIT);
});

function script(lines: readonly string[] | undefined): string {
  return `${(lines ?? []).join("\n")}\n`;
}

/**
 * What happens to the interface under the overlay: it goes and comes back, gets other addresses, another MTU
 * (flannel-io/flannel #1070, #869, #1434, #1759, #2247, #1052).
 */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { FamilyName } from "../../lib/net/family.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import {
  addressOf,
  DEVICES,
  DUAL,
  FAMILY_SETS,
  HEAL_LIMIT,
  leaseOf,
  overlayOf,
  startNetwork,
  untilOverlay,
} from "./heal_network.ts";

/** How soon peers must send to a host's new address: 10 s are promised, and a dead connection to etcd alone takes 9. */
const FOLLOW_LIMIT = 5_000;
const GATEWAYS: Readonly<Record<FamilyName, string>> = { ipv4: "172.30.0.254", ipv6: "fd00:30::fe" };
const LENGTHS: Readonly<Record<FamilyName, number>> = { ipv4: 24, ipv6: 64 };
const OTHER: Readonly<Record<FamilyName, string>> = { ipv4: "172.30.0.71", ipv6: "fd00:30::71" };

/** Gives eth0 an address of each family and the default routes, as a network manager would. */
function addressLines(families: readonly FamilyName[], address: (family: FamilyName) => string): string[] {
  return families.flatMap((family) => [
    `address add ${address(family)}/${LENGTHS[family]} dev eth0${family === "ipv6" ? " nodad" : ""}`,
    `route replace default via ${GATEWAYS[family]}`,
  ]);
}

/** Deletes host 1's eth0 and plugs another in, which gets another index and another MAC. */
async function replug(lab: Lab, families: readonly FamilyName[], address: (family: FamilyName) => string) {
  const host = lab.host(1);
  await host.ip("link del eth0");
  // The overlay's device goes with the interface that carries it; the daemon has to bear that.
  await until("the daemon to notice", async () => (await overlayOf(host)).length === 0, HEAL_LIMIT);
  await lab.switch.ip(
    `link add p1 type veth peer name eth0 netns ${host.name}`,
    "link set p1 master br0 up",
  );
  await host.ip("link set eth0 up", ...addressLines(families, address));
}

async function indexOf(host: Host, device: string): Promise<number> {
  return Number((await host.ipJson("link", "show", "dev", device))[0]!.ifindex);
}

/** Pings again and again until every container answers; neighbours of a new MAC take their time to be found. */
async function untilPings(lab: Lab, milliseconds = FOLLOW_LIMIT): Promise<void> {
  await lab.pingAll(milliseconds);
}

const BACKENDS: readonly { readonly name: string; readonly backend: JsonObject }[] = [
  { name: "vxlan", backend: { Type: "vxlan" } },
  { name: "host-gw", backend: { Type: "host-gw" } },
];

for (const { name, backend } of BACKENDS) {
  for (const { name: familyName, families } of FAMILY_SETS) {
    labTest(`${name}, ${familyName}: the interface flaps, loses its addresses, goes and is another`, {
      families,
      hosts: 2,
      config: networkConfig(families, backend),
    }, async (lab) => {
      await startNetwork(lab);
      const host = lab.host(1);
      const own = (family: FamilyName) => addressOf(host, family)!;
      const containers = await containersOf(host);
      const wanted = await overlayOf(host);
      const lease = await leaseOf(host);

      // IPv6 addresses go when a link goes down (keep_addr_on_down is off), as do all routes over it.
      await host.ip("link set eth0 down");
      await host.ip("link set eth0 up", ...addressLines(families, own).filter(isNotIpv4Address));
      await untilOverlay(host, wanted, "the overlay after the interface was down");
      await untilPings(lab);

      await host.ip("address flush dev eth0 scope global");
      await host.ip(...addressLines(families, own));
      await untilOverlay(host, wanted, "the overlay after the addresses were flushed");
      await untilPings(lab);

      const index = await indexOf(host, "eth0");
      await replug(lab, families, own);
      await untilOverlay(host, wanted, "the overlay over the new interface");
      assert.notEqual(await indexOf(host, "eth0"), index);
      await untilPings(lab);

      assert.deepEqual(await leaseOf(host), lease, "the lease has never changed");
      assert.deepEqual(await containersOf(host), containers, "containers haven't been touched");
      assert.ok(host.daemon.isRunning);
    });
  }

  labTest(`${name}, ${DUAL.name}: other addresses, on the same interface and on another one`, {
    families: DUAL.families,
    hosts: 2,
    config: networkConfig(DUAL.families, backend),
  }, async (lab) => {
    await startNetwork(lab);
    const host = lab.host(1);
    const { key } = await leaseOf(host);
    await host.ip("address flush dev eth0 scope global");
    // One family is followed though the other one's address is still away.
    await host.ip(...addressLines(["ipv4"], (family) => OTHER[family]));
    await until("the IPv4 address in the lease", async () => {
      const { value } = await leaseOf(host);
      assert.deepEqual([value.PublicIP, value.PublicIPv6], [OTHER.ipv4, addressOf(host, "ipv6")]);
      return true;
    }, FOLLOW_LIMIT);
    await host.ip(...addressLines(["ipv6"], (family) => OTHER[family]));
    await untilFollowed(lab, key, OTHER);

    // Another address beside it changes nothing; the one that the host had at first is gone back to.
    await host.ip("address add 172.30.0.72/24 dev eth0", "address add fd00:30::72/64 dev eth0 nodad");
    const own = { ipv4: addressOf(host, "ipv4")!, ipv6: addressOf(host, "ipv6")! };
    await host.ip(`address add ${own.ipv4}/24 dev eth0`);
    await untilFollowed(lab, key, { ...OTHER, ipv4: own.ipv4 });
    await replug(lab, DUAL.families, (family) => own[family]);
    await untilFollowed(lab, key, own);
    assert.equal(host.daemons.length, 1);
    assert.ok(host.daemon.isRunning);
  });
}

/** Waits until the lease says the new addresses, the other host sends to them, and packets pass. */
async function untilFollowed(lab: Lab, key: string, addresses: Readonly<Record<FamilyName, string>>) {
  const [host, other] = lab.hosts as [Host, Host];
  await until("the lease to say the new addresses, under the same key", async () => {
    const lease = await leaseOf(host);
    assert.equal(lease.key, key);
    assert.deepEqual([lease.value.PublicIP, lease.value.PublicIPv6], [addresses.ipv4, addresses.ipv6]);
    return true;
  }, FOLLOW_LIMIT);
  await until("the other host to follow", async () => {
    const lines = (await overlayOf(other)).join("\n");
    for (const address of Object.values(addresses)) {
      assert.match(lines, new RegExp(`(dst|via) ${address.replaceAll(".", "\\.")} `));
    }
    return true;
  }, FOLLOW_LIMIT);
  await untilPings(lab);
}

function isNotIpv4Address(line: string): boolean {
  return !/^address add \d+\./.test(line);
}

/** Everything of the network in a host's containers. */
async function containersOf(host: Host): Promise<string[]> {
  const outputs = host.containers.map((container) =>
    container.exec(["sh", "-c", "ip -o link; ip -o address; ip -4 route; ip -6 route"])
  );
  // Whether the kernel is still looking for duplicates of an address is no change of anybody's.
  return (await Promise.all(outputs)).map(({ stdout }) => stdout.replaceAll(" tentative", ""));
}

labTest("host-gw: the subnet file follows the MTU of the underlay, within 2 s", {
  hosts: 1,
  config: networkConfig(["ipv4"], { Type: "host-gw" }),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  for (const mtu of [1400, 9000]) {
    await host.ip(`link set eth0 mtu ${mtu}`);
    await until(
      `the subnet file to follow MTU ${mtu}`,
      async () => (await host.waitReady()).mtu === mtu,
      HEAL_LIMIT,
    );
  }
});

labTest("vxlan: device and subnet file follow the MTU of the underlay, within 2 s", {
  families: DUAL.families,
  hosts: 2,
  config: networkConfig(DUAL.families, { Type: "vxlan" }),
}, async (lab) => {
  await startNetwork(lab);
  const host = lab.host(1);
  for (const mtu of [1400, 9000, 1500]) {
    await Promise.all([host.ip(`link set eth0 mtu ${mtu}`), lab.switch.ip(`link set p1 mtu ${mtu}`)]);
    await until(`devices and subnet file to follow MTU ${mtu}`, async () => {
      const mtus = await Promise.all(
        Object.values(DEVICES).map(async (device) =>
          (await host.ipJson("link", "show", "dev", device))[0]!.mtu
        ),
      );
      assert.deepEqual(mtus, [mtu - 50, mtu - 70]);
      assert.equal((await host.waitReady()).mtu, mtu - 70);
      return true;
    }, HEAL_LIMIT);
  }
});

labTest("vxlan with DirectRouting: a peer behind a gateway gets a tunnel, and a route again", {
  families: DUAL.families,
  hosts: 2,
  config: networkConfig(DUAL.families, { Type: "vxlan", DirectRouting: true }),
}, async (lab) => {
  await startNetwork(lab);
  await judgeAgain(lab, " via ");
});

labTest("host-gw: a peer behind a gateway has no route, and gets it back", {
  families: DUAL.families,
  hosts: 2,
  config: networkConfig(DUAL.families, { Type: "host-gw" }),
}, async (lab) => {
  await startNetwork(lab);
  await judgeAgain(lab, undefined);
});

/** Puts the peer behind a gateway and back, and looks at its overlay. */
async function judgeAgain(lab: Lab, throughTunnel: string | undefined): Promise<void> {
  const [host, peer] = lab.hosts as [Host, Host];
  const direct = await overlayOf(host);
  const detours = DUAL.families.map((family) => `${addressOf(peer, family)} via ${GATEWAYS[family]}`);
  for (let round = 0; round < 2; round++) {
    await host.ip(...detours.map((detour) => `route add ${detour}`));
    await until("the peer not to be reached directly", async () => {
      const lines = await overlayOf(host);
      assert.deepEqual(lines.filter((line) => line.includes("dev eth0 proto 70")), []);
      const tunnelled = lines.filter((line) => /proto 70 .*onlink/.test(line));
      assert.equal(tunnelled.length, throughTunnel === undefined ? 0 : DUAL.families.length);
      return true;
    }, HEAL_LIMIT);
    if (throughTunnel !== undefined) await lab.pingAll();
    await host.ip(...detours.map((detour) => `route del ${detour}`));
    await untilOverlay(host, direct, "the peer to be reached directly again");
    await lab.pingAll();
  }
  assert.equal((await ping(lab.containers[0]!, lab.containers[1]!.addresses.ipv4!)).received, 1);
}

for (const { name, backend } of BACKENDS) {
  labTest(`${name}, ${DUAL.name}: the interface is renamed, and renamed back`, {
    families: DUAL.families,
    hosts: 2,
    config: networkConfig(DUAL.families, backend),
  }, async (lab) => {
    await startNetwork(lab);
    const host = lab.host(1);
    const lease = await leaseOf(host);
    const wanted = await overlayOf(host);
    const renamed = wanted.map((line) => line.replaceAll(/\beth0\b/g, "wan"));
    await host.ip("link set eth0 name wan");
    await untilOverlay(host, renamed, "the overlay over the renamed interface");
    const [route] = (await host.routes("-4")).filter((line) => line.includes("proto 70"));
    await host.ip(`route del ${route!.split(" ")[0]}`);
    await untilOverlay(host, renamed, "repairs over the renamed interface");
    await untilPings(lab);
    await host.ip("link set wan name eth0");
    await untilOverlay(host, wanted, "the overlay over the interface with its name again");
    await untilPings(lab);
    assert.deepEqual(await leaseOf(host), lease, "the lease has never changed");
  });
}

labTest("a virtual address is never published while the host's own is away for a moment", {
  hosts: 1,
  config: networkConfig(["ipv4"], { Type: "vxlan" }),
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const own = addressOf(host, "ipv4")!;
  const published = async () => (await leaseOf(host)).value.PublicIP;
  await host.ip("address add 172.30.0.200/32 dev eth0", `address del ${own}/24 dev eth0`);
  const until4s = performance.now() + 4_000;
  await until("four seconds with the own address in the lease", async () => {
    assert.equal(await published(), own);
    return performance.now() > until4s;
  }, FOLLOW_LIMIT);
  await host.ip(`address add ${own}/24 dev eth0`);
  const before = host.daemon.count(/external interface changed/);
  await host.ip(`address del ${own}/24 dev eth0`, `address add ${own}/24 dev eth0`);
  assert.equal(await published(), own);
  // Where it stays away, the host has no other address to be reached at.
  await host.ip(`address del ${own}/24 dev eth0`);
  await until("the other address in the lease", async () => {
    return JSON.parse(await host.fetchText("/status")).interface.addresses[0] === "172.30.0.200";
  }, 2 * FOLLOW_LIMIT);
  assert.equal(host.daemon.count(/external interface changed/), before + 1);
});

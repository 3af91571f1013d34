/**
 * An interface with another MAC: the other hosts had sent to the old one for up to a minute, which cut a host-gw host
 * off for that long.
 */
import assert from "node:assert/strict";
import type { FamilyName } from "../../lib/net/family.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import { addressOf, DUAL, HEAL_LIMIT, startNetwork } from "./heal_network.ts";
import { labTest } from "./lab_test_case.ts";

const GATEWAYS: Readonly<Record<FamilyName, string>> = { ipv4: "172.30.0.254", ipv6: "fd00:30::fe" };
const LENGTHS: Readonly<Record<FamilyName, number>> = { ipv4: 24, ipv6: 64 };

async function configure(host: Host): Promise<void> {
  await host.ip(
    "link set eth0 up",
    ...DUAL.families.flatMap((family) => [
      `address replace ${addressOf(host, family)}/${LENGTHS[family]} dev eth0${
        family === "ipv6" ? " nodad" : ""
      }`,
      `route replace default via ${GATEWAYS[family]}`,
    ]),
  );
}

/** Waits until a container of another host reaches this host's, in each family. */
async function untilReached(lab: Lab, what: string): Promise<void> {
  const [own, other] = lab.containers;
  for (const family of DUAL.families) {
    await until(`${family} ${what}`, async () => {
      return (await ping(other!, own!.addresses[family]!, { timeout: 200 })).received > 0;
    }, HEAL_LIMIT);
  }
}

const BACKENDS = [
  { Type: "host-gw" },
  { Type: "vxlan" },
  { Type: "vxlan", DirectRouting: true },
];

for (const backend of BACKENDS) {
  const name = backend.DirectRouting ? "vxlan with DirectRouting" : backend.Type;
  labTest(`${name}, ${DUAL.name}: a NIC with another MAC is known to the others within 2 s`, {
    families: DUAL.families,
    hosts: 2,
    config: networkConfig(DUAL.families, backend),
  }, async (lab) => {
    await startNetwork(lab);
    const host = lab.host(1);
    await untilReached(lab, "before");
    const mac = async () => (await host.ipJson("link", "show", "dev", "eth0"))[0]!.address;
    const before = await mac();

    await host.ip("link del eth0");
    await lab.switch.ip(
      `link add p1 type veth peer name eth0 netns ${host.name}`,
      "link set p1 master br0 up",
    );
    await configure(host);
    await untilReached(lab, "over another NIC");
    assert.notEqual(await mac(), before);

    await host.ip("link set eth0 down", "link set eth0 address 02:00:00:00:00:77");
    await configure(host);
    await untilReached(lab, "with another MAC on the same NIC");

    await host.ip("link set eth0 address 02:00:00:00:00:78");
    await untilReached(lab, "with a MAC changed while it is up");
    assert.equal(host.daemon.count(/cannot announce/), 0);
  });
}

labTest("a NIC that was replaced while the daemon was away is announced when it starts", {
  families: DUAL.families,
  hosts: 2,
  config: networkConfig(DUAL.families, { Type: "host-gw" }),
}, async (lab) => {
  await startNetwork(lab);
  const host = lab.host(1);
  await untilReached(lab, "before");
  await host.daemon.kill();
  await host.ip("link set eth0 down", "link set eth0 address 02:00:00:00:00:79");
  await configure(host);
  await host.startReady();
  await untilReached(lab, "after the daemon came back");
});

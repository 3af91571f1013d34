/** Another Network in the config: routes of the one before go at the next start, and nobody else's. */
import assert from "node:assert/strict";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { DUAL, HEAL_LIMIT, IP_OPTION } from "./heal_network.ts";
import { labTest } from "./lab_test_case.ts";
import { programs, startWireguard } from "./wireguard_lab.ts";

const OTHER = { Network: "10.77.0.0/16", IPv6Network: "fc00:77::/48" };
/** Routes that carry the mark and lie in neither network: another daemon's on this host. */
const STRANGERS = ["10.99.1.0/24 via 172.30.0.9", "fc00:99::/64 via fd00:30::9"];

labTest("host-gw: routes of the former network are removed at start, another daemon's stay", {
  hosts: 2,
  families: DUAL.families,
  config: networkConfig(DUAL.families, { Type: "host-gw" }),
}, async (lab) => {
  await lab.startAll();
  const host = lab.host(1);
  await host.ip(...STRANGERS.map((route) => `route add ${route} dev eth0 proto 70`));
  const marked = async () => {
    const lines = await Promise.all(DUAL.families.map((family) => host.routes(IP_OPTION[family])));
    return lines.flat().filter((line) => line.includes("proto 70")).map((line) => line.split(" ")[0]!);
  };
  const untilMarked = (what: string, pattern: RegExp) =>
    until(`routes of ${what} and of strangers`, async () => {
      const destinations = await marked();
      assert.deepEqual(destinations.filter((each) => !pattern.test(each)), ["10.99.1.0/24", "fc00:99::/64"]);
      return destinations.length === 4;
    }, 2 * HEAL_LIMIT);
  await untilMarked("the first network", /^10\.5\.|^fc00:0:0:/);
  await Promise.all(lab.hosts.map((each) => each.daemon.stop()));
  await lab.store.writeConfig(
    JSON.stringify({ ...networkConfig(DUAL.families, { Type: "host-gw" }), ...OTHER }),
  );
  await lab.startAll();
  await untilMarked("the other network", /^10\.77\.|^fc00:77:/);
  assert.equal(host.daemon.count(/Removed the route .* of the former network/), 2);
});

// WireGuard's program and the udp backend both have a TUN with the network's mark: each took the other's for its own
// under another name. The daemon gave flannel0 the name flannel-wg, found no program on it, and ended.
labTest("udp and WireGuard in user space: a change from one to the other makes a device of its own", {
  hosts: 2,
  config: networkConfig(["ipv4"], { Type: "udp" }),
}, async (lab) => {
  const host = lab.host(1);
  const tuns = async () => (await host.ipJson("link", "show", "type", "tun")).map(({ ifname }) => ifname);
  await startWireguard(lab);
  for (const [type, device] of [["wireguard", "flannel-wg"], ["udp", "flannel0"]] as const) {
    await Promise.all(lab.hosts.map((each) => each.daemon.stop()));
    await lab.store.writeConfig(JSON.stringify(networkConfig(["ipv4"], { Type: type })));
    await startWireguard(lab);
    assert.deepEqual(await tuns(), [device]);
    assert.equal((await programs(host)).length, type === "udp" ? 0 : 1);
    await lab.connect();
    await lab.pingAll(10_000);
  }
});

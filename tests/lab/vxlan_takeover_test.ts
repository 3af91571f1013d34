/**
 * A host that ran the original is taken over: its device, entries and lease as the original leaves them, then
 * flanneld, and no packet is lost (flannel-io/flannel #836).
 */
import assert from "node:assert/strict";
import { labTest } from "./lab_test_case.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { putLease, readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { addressOf, DUAL, HEAL_LIMIT, IP_OPTION, leaseOf, overlayOf } from "./heal_network.ts";
import { Watcher } from "./heal_watcher.ts";

/** A host as the original set it up. */
interface OriginalHost {
  readonly host: Host;
  /** Third part of its subnet 10.5.N.0/24, and fc00:0:0:N::/64. */
  readonly number: number;
  readonly macs: { readonly ipv4: string; readonly ipv6: string };
}

const SUBNET = { ipv4: (n: number) => `10.5.${n}.0/24`, ipv6: (n: number) => `fc00:0:0:${n}::/64` };
const VTEP = { ipv4: (n: number) => `10.5.${n}.0`, ipv6: (n: number) => `fc00:0:0:${n}::` };
const DEVICE = { ipv4: "flannel.1", ipv6: "flannel-v6.1" };

function originals(lab: Lab): OriginalHost[] {
  return lab.hosts.map((host) => ({
    host,
    number: 40 + host.number,
    // Random in the original: nothing that could be derived from the host.
    macs: { ipv4: `3e:4b:bc:75:ce:0${host.number}`, ipv6: `3e:4b:bc:75:c6:0${host.number}` },
  }));
}

/**
 * Device, neighbours and routes as on a host of the original: routes by "proto boot", no alias, and an MTU that is
 * 20 too large for IPv6.
 */
function ipLines({ host, number, macs }: OriginalHost, peers: readonly OriginalHost[]): string[] {
  return DUAL.families.flatMap((family) => {
    const device = DEVICE[family];
    const local = `local ${host.addresses[family]} dev eth0 dstport 8472 nolearning`;
    return [
      `link add ${device} address ${macs[family]} mtu 1450 type vxlan id 1 ${local}`,
      `address add ${VTEP[family](number)}/${family === "ipv4" ? 32 : 128} dev ${device}`,
      `link set ${device} up`,
      ...peers.flatMap((peer) => [
        `neigh replace ${VTEP[family](peer.number)} lladdr ${peer.macs[family]} nud permanent dev ${device}`,
        `route replace ${SUBNET[family](peer.number)} via ${VTEP[family](peer.number)} dev ${device} onlink`,
      ]),
    ];
  });
}

function fdbLines(peers: readonly OriginalHost[]): string {
  return peers.flatMap(({ host, macs }) =>
    DUAL.families.map((family) =>
      `fdb replace ${macs[family]} dst ${host.addresses[family]} dev ${DEVICE[family]} self permanent\n`
    )
  ).join("");
}

/** The lease and the subnet file of the original. */
async function leaveFiles(lab: Lab, { host, number, macs }: OriginalHost): Promise<string> {
  const value = JSON.stringify({
    PublicIP: addressOf(host, "ipv4"),
    PublicIPv6: addressOf(host, "ipv6"),
    BackendType: "vxlan",
    BackendData: { VNI: 1, VtepMAC: macs.ipv4 },
    BackendV6Data: { VNI: 1, VtepMAC: macs.ipv6 },
  });
  const key = `10.5.${number}.0-24&fc00:0:0:${number}::-64`;
  await putLease(lab, key, value);
  await Deno.mkdir(host.folder, { recursive: true });
  await Deno.writeTextFile(
    host.subnetFile,
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.${number}.1/24\nFLANNEL_IPV6_NETWORK=fc00::/48\n` +
      `FLANNEL_IPV6_SUBNET=fc00:0:0:${number}::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
  );
  return key;
}

labTest("the original's host is taken over: nothing is rewritten, no ping is lost", {
  hosts: 2,
  families: DUAL.families,
  config: networkConfig(DUAL.families, { Type: "vxlan" }),
}, async (lab) => {
  const all = originals(lab);
  const keys = await Promise.all(all.map(async (one) => {
    const peers = all.filter((other) => other !== one);
    await one.host.ip(...ipLines(one, peers));
    await one.host.exec(["bridge", "-batch", "-"], { input: fdbLines(peers) });
    return await leaveFiles(lab, one);
  }));
  await lab.connect();
  await lab.pingAll();
  const [{ host }] = all as [OriginalHost];
  const entriesOf = async () => (await overlayOf(host)).filter((line) => !/^flannel|^fe80::/.test(line));
  const before = await entriesOf();
  assert.ok(before.some((line) => / via 10\.5\.42\.0 dev flannel\.1 onlink/.test(line)), before.join("\n"));
  const leases = await readLeases(lab);

  const pings = pingBothWays(lab);
  const watchers = lab.hosts.map((each) =>
    new Watcher(each, ["ip", "monitor", "link", "address", "route", "neigh", "nexthop"])
  );
  const files = await lab.startAll();
  const lost = await pings.stop();
  const changes = (await Promise.all(watchers.map((watcher) => watcher.lines()))).flat();

  assert.deepEqual(lost, [], "no ping of any direction and family is lost");
  assert.ok(
    changes.some((line) => /^\d+: flannel\.1/.test(line)),
    "the monitors have seen the devices' marks",
  );
  // The devices lose the link-local addresses that flannel has no use for; nothing of the overlay's changes.
  assert.deepEqual(
    changes.filter((line) => /flannel|proto 70/.test(line) && !/^\d+: flannel|^Deleted .*fe80::/.test(line)),
    [],
    "no address, neighbour, fdb entry or route of the overlay is written",
  );
  assert.deepEqual(files.map(({ subnets }) => subnets.ipv4), ["10.5.41.1/24", "10.5.42.1/24"]);
  assert.deepEqual(await entriesOf(), before);
  for (const family of DUAL.families) {
    const [link] = await host.ipJson("link", "show", "dev", DEVICE[family]);
    assert.equal(link!.address, all[0]!.macs[family]);
  }
  assert.equal((await leaseOf(host)).key, keys[0]);
  assert.deepEqual(await readLeases(lab), leases, "the leases are the original's, byte for byte");
});

/** A ping every 10 ms, from each container to the other over each family, until it is stopped. */
function pingBothWays(lab: Lab): { stop(): Promise<string[]> } {
  const running = lab.pairs().map(({ from, address }) => ({
    watcher: new Watcher(from, ["ping", "-n", "-q", "-i", "0.01", address], "SIGINT"),
    what: `${from.name} → ${address}`,
  }));
  return {
    async stop() {
      const results = await Promise.all(running.map(async ({ watcher, what }) => {
        const text = (await watcher.lines()).join(" ");
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
        // The last one may still have been under way.
        return Number(sent) - Number(received) > 1 || !(Number(sent) > 10) ? [`${what}: ${text}`] : [];
      }));
      return results.flat();
    },
  };
}

labTest("a taken-over host follows its peers, and heals as one of its own", {
  hosts: 2,
  families: DUAL.families,
}, async (lab) => {
  const [first] = originals(lab) as [OriginalHost];
  const stranger: OriginalHost = { ...first, host: lab.host(2), number: 77, macs: first.macs };
  await first.host.ip(...ipLines(first, [stranger]));
  await first.host.exec(["bridge", "-batch", "-"], { input: fdbLines([stranger]) });
  await leaveFiles(lab, first);
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  // The peer of the original's last run has no lease any more.
  for (const family of DUAL.families) {
    const routes = await first.host.routes(IP_OPTION[family]);
    assert.ok(!routes.some((line) => line.startsWith(SUBNET[family](stranger.number))), routes.join("\n"));
  }
  await first.host.ip(...DUAL.families.map((family) => `link del ${DEVICE[family]}`));
  await lab.pingAll();
  const [link] = await first.host.ipJson("link", "show", "dev", "flannel.1");
  assert.equal(link!.address, first.macs.ipv4, "with the MAC that peers know");
});

labTest("the original's host-gw host: each route is replaced in one step, no ping is lost", {
  hosts: 2,
  families: DUAL.families,
  config: networkConfig(DUAL.families, { Type: "host-gw" }),
}, async (lab) => {
  const all = originals(lab);
  for (const one of all) {
    await leaveFiles(lab, one);
    for (const { host, number } of all.filter((other) => other !== one)) {
      const routes = DUAL.families.map((family) =>
        `${SUBNET[family](number)} via ${host.addresses[family]} dev eth0`
      );
      await one.host.ip(...routes.map((route) => `route add ${route}`));
    }
  }
  await lab.connect();
  await lab.pingAll();
  const pings = pingBothWays(lab);
  await lab.startAll();
  const [first, second] = all as [OriginalHost, OriginalHost];
  for (const family of DUAL.families) {
    await until("the peer's one route to be marked", async () => {
      const subnet = SUBNET[family](second.number);
      const routes = (await first.host.routes(IP_OPTION[family])).filter((line) => line.startsWith(subnet));
      return routes.length === 1 && routes[0]!.includes("proto 70");
    }, HEAL_LIMIT);
  }
  assert.deepEqual(await pings.stop(), [], "no ping of any direction and family is lost");
});

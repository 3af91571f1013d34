/** Backends whose annotations say more than vxlan's, or nothing. */
import assert from "node:assert/strict";
import type { FamilyName } from "../../lib/net/family.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { ownWireguard } from "../../scripts/lab/own_wireguard.ts";
import { until } from "../../scripts/lab/process.ts";
import { kubeTest, nodeObject, PREFIX } from "./kube_lab.ts";
import { dumpPeers, hasWireguardGo, newKey, wg } from "./wireguard_lab.ts";

const NEEDED = hasWireguardGo() ? "" : " (needs wireguard-go)";

const FAMILIES: readonly (readonly FamilyName[])[] = [["ipv4"], ["ipv6"], ["ipv4", "ipv6"]];

for (const families of FAMILIES) {
  kubeTest(`kube: three nodes ping each other, wireguard ${families.join("+")}${NEEDED}`, {
    config: networkConfig(families, { Type: "wireguard" }),
    families,
  }, async ({ lab, kube, start }) => {
    if (NEEDED !== "") return;
    for (const host of lab.hosts) start(host.number, ownWireguard(host));
    await Promise.all(lab.hosts.map((host) => host.waitReady()));
    await lab.connect();
    await lab.pingAll(10_000);
    for (const host of lab.hosts) {
      const annotations = await kube.annotations(`node${host.number}`);
      const devices = (await wg(host, "show", "all", "public-key")).trim().split(/\s+/);
      assert.equal(annotations["backend-type"], "wireguard");
      const data = (name: string) => JSON.parse(annotations[name]!) as { PublicKey: string; Port: number };
      for (
        const [name, port] of [
          ...families.includes("ipv4") ? [["backend-data", 51820] as const] : [],
          ...families.includes("ipv6") ? [["backend-v6-data", 51821] as const] : [],
        ]
      ) {
        assert.ok(devices.includes(data(name).PublicKey), annotations[name]);
        assert.equal(annotations[name], JSON.stringify({ PublicKey: data(name).PublicKey, Port: port }));
      }
    }
  });
}

kubeTest(`kube: a wireguard peer's key, port and address are followed, and garbage is no peer${NEEDED}`, {
  hosts: 1,
  config: networkConfig(["ipv4"], { Type: "wireguard" }),
}, async ({ lab, kube, start }) => {
  if (NEEDED !== "") return;
  const host = lab.host(1);
  start(1, ownWireguard(host));
  await host.waitReady();
  const keys = [newKey().publicKey, newKey().publicKey];
  const put = (changes: Record<string, string>) =>
    kube.call(
      "annotate",
      "node77",
      Object.fromEntries(Object.entries(changes).map(([name, value]) => [PREFIX + name, value])),
    );
  const data = (value: unknown) => ({ "backend-data": JSON.stringify(value) });
  const untilPeers = (what: string, wanted: readonly string[]) =>
    until(what, async () => {
      const peers = (await dumpPeers(host)).map(({ key, endpoint }) => `${key} ${endpoint}`);
      return JSON.stringify(peers) === JSON.stringify(wanted);
    }, 5_000);
  await kube.call("create", "nodes", nodeObject(77));
  // As the original writes it.
  const peer = { "kube-subnet-manager": "true", "backend-type": "wireguard", "public-ip": "172.30.0.77" };
  await put({ ...peer, ...data({ PublicKey: keys[0], Port: 51820 }) });
  await untilPeers("the peer", [`${keys[0]} 172.30.0.77:51820`]);
  await put(data({ PublicKey: keys[1], Port: 4000 }));
  await untilPeers("another key and port", [`${keys[1]} 172.30.0.77:4000`]);
  for (const garbage of [{}, { PublicKey: 7 }, { PublicKey: "short" }, [], "text", { PublicKey: null }]) {
    await put(data(garbage));
    await untilPeers(`no peer for ${JSON.stringify(garbage)}`, []);
    await put(data({ PublicKey: keys[1], Port: 4000 }));
    await untilPeers("the peer again", [`${keys[1]} 172.30.0.77:4000`]);
  }
});

kubeTest("kube: three nodes ping each other, udp", { backend: { Type: "udp" } }, async (kubeLab) => {
  const { lab, kube, startAll } = kubeLab;
  await startAll();
  await lab.connect();
  await lab.pingAll();
  const { "backend-type": type, "backend-data": data } = await kube.annotations("node1");
  assert.deepEqual([type, data], ["", "null"]);
});

/**
 * Nodes of the original beside ours: its devices, entries and annotations, byte for byte, without its program. A node
 * that is upgraded takes all of it over, and no ping is lost.
 */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import type { FamilyName } from "../../lib/net/family.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { type KubeLab, kubeTest, nodeObject, PREFIX } from "./kube_lab.ts";

const FAMILIES = ["ipv4", "ipv6"] as const;
const DEVICE = { ipv4: "flannel.1", ipv6: "flannel-v6.1" };
const SUBNET = { ipv4: (n: number) => `10.5.${n}.0/24`, ipv6: (n: number) => `fc00:0:0:${n}::/64` };
const VTEP = { ipv4: (n: number) => `10.5.${n}.0`, ipv6: (n: number) => `fc00:0:0:${n}::` };

/** Random in the original. */
const macOf = ({ number }: Host, family: FamilyName) =>
  `3e:4b:bc:75:c${family === "ipv4" ? 4 : 6}:0${number}`;

function annotationsOf(host: Host, type: string): Record<string, string> {
  const data = (family: FamilyName) =>
    type === "vxlan" ? `{"VNI":1,"VtepMAC":"${macOf(host, family)}"}` : "null";
  const annotations = {
    "backend-data": data("ipv4"),
    "backend-type": type,
    "backend-v6-data": data("ipv6"),
    "kube-subnet-manager": "true",
    "public-ip": host.addresses.ipv4!,
    "public-ipv6": formatIp(parseIp(host.addresses.ipv6!)),
  };
  return Object.fromEntries(Object.entries(annotations).map(([name, value]) => [PREFIX + name, value]));
}

/** The host's own side and what it has for each peer, with routes of "proto boot". */
async function beOriginal(host: Host, peers: readonly Host[], type: string): Promise<void> {
  const mtu = type === "vxlan" ? 1450 : 1500;
  for (const family of FAMILIES) {
    const device = DEVICE[family];
    if (type === "vxlan") {
      const local = `local ${host.addresses[family]} dev eth0 dstport 8472 nolearning`;
      await host.ip(
        `link add ${device} address ${macOf(host, family)} mtu 1450 type vxlan id 1 ${local}`,
        `address add ${VTEP[family](host.number)}/${family === "ipv4" ? 32 : 128} dev ${device}`,
        `link set ${device} up`,
      );
    }
    for (const peer of peers) {
      if (type === "host-gw") {
        await host.ip(`route replace ${SUBNET[family](peer.number)} via ${peer.addresses[family]} dev eth0`);
        continue;
      }
      const vtep = VTEP[family](peer.number), mac = macOf(peer, family);
      await host.ip(
        `neigh replace ${vtep} lladdr ${mac} nud permanent dev ${device}`,
        `route replace ${SUBNET[family](peer.number)} via ${vtep} dev ${device} onlink`,
      );
      const entry = `fdb replace ${mac} dst ${peer.addresses[family]} dev ${device} self permanent\n`;
      await host.exec(["bridge", "-batch", "-"], { input: entry });
    }
  }
  await Deno.mkdir(host.folder, { recursive: true });
  await Deno.writeTextFile(
    host.subnetFile,
    `FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.${host.number}.1/24\nFLANNEL_IPV6_NETWORK=fc00::/48\n` +
      `FLANNEL_IPV6_SUBNET=fc00:0:0:${host.number}::1/64\nFLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=true\n`,
  );
}

/** Pings over every pair and family, until it is stopped. */
function pingAllTheTime({ lab }: KubeLab): { stop(): Promise<string[]> } {
  const pings = lab.pairs().map(({ from, to, address }) => ({
    name: `${from.name} → ${to.name} ${address}`,
    child: from.spawn(["ping", "-n", "-q", "-i", "0.05", address]),
  }));
  return {
    async stop() {
      const lost = await Promise.all(pings.map(async ({ name, child }) => {
        child.kill("SIGINT");
        void child.stderr.cancel();
        const text = await new Response(child.stdout).text();
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
        // The last one may be on its way.
        return Number(sent) - Number(received) <= 1 && Number(sent) > 20
          ? []
          : [`${name}: ${received} of ${sent}`];
      }));
      return lost.flat();
    },
  };
}

for (const type of ["vxlan", "host-gw"]) {
  kubeTest(`kube: a cluster of the original's ${type} nodes is upgraded node by node, and no ping is lost`, {
    families: FAMILIES,
    config: networkConfig(FAMILIES, { Type: type }),
  }, async (kubeLab) => {
    const { lab, kube, start } = kubeLab;
    for (const host of lab.hosts) {
      await kube.call("annotate", `node${host.number}`, annotationsOf(host, type));
      await beOriginal(host, lab.hosts.filter((other) => other !== host), type);
    }
    await lab.connect();
    await lab.pingAll();
    const before = await Promise.all(lab.hosts.map(({ number }) => kube.annotations(`node${number}`)));
    const pings = pingAllTheTime(kubeLab);
    for (const host of lab.hosts) {
      start(host.number);
      await host.waitReady();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    assert.deepEqual(await pings.stop(), []);
    const patches = (await kube.requests()).filter(({ method, body }) =>
      method === "PATCH" && body.includes("annotations")
    );
    assert.deepEqual(patches, [], "the annotations are those of the original, byte for byte");
    assert.deepEqual(
      await Promise.all(lab.hosts.map(({ number }) => kube.annotations(`node${number}`))),
      before,
    );
    // A node that the original brings in is a peer; one that leaves is none.
    const host = lab.host(1), fourth = nodeObject(4, FAMILIES);
    const like = {
      ...host,
      number: 4,
      addresses: { ipv4: "172.30.0.4", ipv6: "fd00:30::4" },
    } as unknown as Host;
    const metadata = { ...fourth.metadata, annotations: annotationsOf(like, type) };
    await kube.call("create", "nodes", { ...fourth, metadata });
    const routes = async () => [...await host.routes("-4"), ...await host.routes("-6")].join("\n");
    await until("its routes", async () => {
      const text = await routes();
      return text.includes(SUBNET.ipv4(4)) && text.includes(SUBNET.ipv6(4));
    }, 5_000);
    await kube.call("delete", "nodes", "node4");
    await until("none of them", async () => !/10\.5\.4\.|fc00:0:0:4:/.test(await routes()), 5_000);
  });
}

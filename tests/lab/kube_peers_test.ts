import assert from "node:assert/strict";
import { Watcher } from "./heal_watcher.ts";
import { until } from "../../scripts/lab/process.ts";
import { type KubeLab, kubeTest, nodeObject, PREFIX } from "./kube_lab.ts";

const MACS = ["da:0c:77:ea:0a:01", "da:0c:77:ea:0a:02"] as const;

/** A peer that exists only as a Node. */
function peer(number: number, annotations: Record<string, string>, families: readonly ("ipv4" | "ipv6")[]) {
  const node = nodeObject(number, families);
  const all = Object.entries({ "kube-subnet-manager": "true", "backend-type": "vxlan", ...annotations });
  return {
    ...node,
    metadata: {
      ...node.metadata,
      annotations: {
        ...node.metadata.annotations,
        ...Object.fromEntries(all.map(([key, value]) => [PREFIX + key, value])),
      },
    },
  };
}

const v4 = (mac: string, ip = "172.30.0.77") => ({
  "backend-data": JSON.stringify({ VNI: 1, VtepMAC: mac }),
  "public-ip": ip,
});
const v6 = (mac: string) => ({
  "backend-v6-data": JSON.stringify({ VNI: 1, VtepMAC: mac }),
  "public-ipv6": "fd00:30::77",
});

const annotate = ({ kube }: KubeLab, number: number, changes: Record<string, string | null>) =>
  kube.call(
    "annotate",
    `node${number}`,
    Object.fromEntries(Object.entries(changes).map(([key, value]) => [PREFIX + key, value])),
  );

/** Everything that the kernel of host 1 has for peers of one family. */
async function entries({ lab }: KubeLab, device = "flannel.1"): Promise<string> {
  const host = lab.host(1);
  const family = device === "flannel.1" ? "-4" : "-6";
  const all = [await host.routes(family, device), await host.neighbours(device), await host.fdb(device)];
  return all.flat().join("\n");
}

kubeTest("kube peers: every change in every field is followed, and nothing of the old stays", {
  hosts: 1,
}, async (kubeLab) => {
  const { kube, startAll } = kubeLab;
  await startAll();
  const untilEntries = (what: string, is: (text: string) => boolean) =>
    until(what, async () => is(await entries(kubeLab)), 5_000);
  const isThere = (text: string) => text.includes("10.5.77.0/24") && text.includes(MACS[0]);
  const isGone = (text: string) => !text.includes("10.5.77.") && !MACS.some((mac) => text.includes(mac));

  // A Node first without annotations, as one that has just joined.
  await kube.call("create", "nodes", nodeObject(77));
  await annotate(kubeLab, 77, { "kube-subnet-manager": "true", "backend-type": "vxlan", ...v4(MACS[0]) });
  await untilEntries("annotations appear", isThere);
  await annotate(kubeLab, 77, v4(MACS[0], "172.30.0.78"));
  await untilEntries("public-ip changes", (text) => text.includes("172.30.0.78") && !text.includes(".0.77 "));
  await annotate(kubeLab, 77, v4(MACS[1], "172.30.0.78"));
  await untilEntries("the MAC changes", (text) => text.includes(MACS[1]) && !text.includes(MACS[0]));
  await annotate(kubeLab, 77, v4(MACS[0]));
  await untilEntries("and back", isThere);
  // What makes it no peer takes its entries away, and what makes it one again brings them back.
  const disqualifying: [string, Record<string, string | null>][] = [
    ["kube-subnet-manager is removed", { "kube-subnet-manager": null }],
    ["the type changes", { "backend-type": "host-gw" }],
    ["the data can't be read", { "backend-data": "{" }],
    ["the data has no MAC", { "backend-data": "null" }],
    ["public-ip is removed", { "public-ip": null }],
    ["public-ip isn't an address", { "public-ip": "somewhere" }],
  ];
  for (const [what, changes] of disqualifying) {
    await annotate(kubeLab, 77, changes);
    await untilEntries(what, isGone);
    await annotate(kubeLab, 77, { "kube-subnet-manager": "true", "backend-type": "vxlan", ...v4(MACS[0]) });
    await untilEntries(`${what}, and back`, isThere);
  }
  // Data of an older flannel has no VNI.
  await annotate(kubeLab, 77, { "backend-data": `{"VtepMAC":"${MACS[1]}"}` });
  await untilEntries("data without VNI", (text) => text.includes("10.5.77.0/24") && text.includes(MACS[1]));
  await annotate(kubeLab, 77, { "kube-subnet-manager": null });
  await kube.call("delete", "nodes", "node77");
  await untilEntries("deleted without the annotation", isGone);
});

kubeTest("kube peers: a Node that goes while the daemon is down leaves nothing after the restart", {
  hosts: 1,
}, async (kubeLab) => {
  const { lab, kube, start, startAll } = kubeLab;
  await kube.call("create", "nodes", peer(77, v4(MACS[0]), ["ipv4"]));
  await startAll();
  await until("the peer", async () => (await entries(kubeLab)).includes(MACS[0]), 5_000);
  await lab.host(1).daemon.kill();
  await kube.call("delete", "nodes", "node77");
  assert.match(await entries(kubeLab), /10\.5\.77\.0/, "the kernel keeps what a killed daemon made");
  start(1);
  await lab.host(1).waitReady();
  await until("nothing of it", async () => !/10\.5\.77\.|0a:01/.test(await entries(kubeLab)), 5_000);
});

kubeTest("kube peers, dual stack: one family works without the other, and each is followed by itself", {
  hosts: 1,
  families: ["ipv4", "ipv6"],
}, async (kubeLab) => {
  const { lab, kube, startAll } = kubeLab;
  await startAll();
  const v6Device = "flannel-v6.1";
  await kube.call("create", "nodes", peer(77, v4(MACS[0]), ["ipv4"]));
  await kube.call("create", "nodes", peer(78, v6(MACS[0]), ["ipv6"]));
  await until("a peer with IPv4 only", async () => /10\.5\.77\.0/.test(await entries(kubeLab)), 5_000);
  await until("a peer with IPv6 only", async () => /:78::/.test(await entries(kubeLab, v6Device)), 5_000);
  assert.match(lab.host(1).daemon.log, /node77 is a peer over IPv4 only: it has no IPv6 podCIDR/);
  await kube.call("create", "nodes", peer(79, { ...v4(MACS[0]), ...v6(MACS[0]) }, ["ipv4", "ipv6"]));
  await until("both", async () => /:79::/.test(await entries(kubeLab, v6Device)), 5_000);
  await annotate(kubeLab, 79, v6(MACS[1]));
  await until("the IPv6 data alone changed", async () => {
    const text = await entries(kubeLab, v6Device);
    return text.includes(MACS[1]) && /:79::/.test(text);
  }, 5_000);
  await annotate(kubeLab, 79, { "public-ip": null });
  await until("IPv4 is gone", async () => !/10\.5\.79\.0/.test(await entries(kubeLab)), 5_000);
  assert.match(await entries(kubeLab, v6Device), /:79::/);
});

kubeTest("kube: a kubelet's status writes cause no work in the kernel", {
  hosts: 1,
}, async (kubeLab) => {
  const { lab, kube, startAll } = kubeLab;
  await kube.call("create", "nodes", peer(77, v4(MACS[0]), ["ipv4"]));
  await startAll();
  await until("the peer", async () => (await entries(kubeLab)).includes(MACS[0]), 5_000);
  const watcher = new Watcher(lab.host(1), ["ip", "monitor", "link", "address", "route", "neigh"]);
  for (let beat = 0; beat < 50; beat++) {
    const node = await kube.node("node77");
    await kube.call("update", "nodes", {
      ...node,
      status: { conditions: [{ type: "Ready", status: "True", reason: `beat ${beat}` }] },
    });
  }
  // A change that counts comes after them: what they cause is done before it.
  await annotate(kubeLab, 77, v4(MACS[1]));
  await until("the change", async () => (await entries(kubeLab)).includes(MACS[1]), 5_000);
  const lines = (await watcher.lines()).filter((line) => line.includes("flannel.1"));
  const isOfPeer = (line: string) => /10\.5\.77\./.test(line) || MACS.some((mac) => line.includes(mac));
  assert.ok(lines.length < 12 && lines.every(isOfPeer), lines.join("\n"));
});

// In a cluster they stayed 0: the page showed no changes, and alerts on errors never fired.
kubeTest("kube peers: changes, lists and errors of the store are counted", { hosts: 1 }, async (kubeLab) => {
  const { kube, lab, startAll } = kubeLab;
  await startAll();
  const host = lab.host(1);
  const value = async (name: string) =>
    Number(new RegExp(`^flannel_${name} (\\d+)`, "m").exec(await host.fetchText("/metrics"))?.[1]);
  assert.equal(await value("store_lists_total"), 1);
  const before = await value("lease_events_total") || 0;
  await kube.call("create", "nodes", peer(77, v4(MACS[0]), ["ipv4"]));
  await until("the peer", async () => (await entries(kubeLab)).includes(MACS[0]), 5_000);
  assert.equal(await value("lease_events_total"), before + 1);
  // What doesn't concern the network is no change of a lease.
  await kube.call("annotate", "node77", { "example.com/heartbeat": "1" });
  await annotate(kubeLab, 77, { "backend-data": JSON.stringify({ VNI: 1, VtepMAC: MACS[1] }) });
  await until("the other MAC", async () => (await entries(kubeLab)).includes(MACS[1]), 5_000);
  assert.equal(await value("lease_events_total"), before + 2);
});

kubeTest("kube peers: a Node whose podCIDR overlaps the own, and one that is everybody's, change no route", {
  hosts: 1,
}, async (kubeLab) => {
  const { lab, kube, startAll } = kubeLab;
  await startAll();
  const node = (number: number, cidr: string) => ({
    ...peer(number, v4(MACS[0]), ["ipv4"]),
    spec: { podCIDR: cidr, podCIDRs: [cidr] },
  });
  const refused = {
    80: "10.5.1.128/25",
    81: "10.5.0.0/22",
    82: "10.5.1.0/24",
    83: "0.0.0.0/0",
    84: "10.9.0.0/24",
  };
  for (const [number, cidr] of Object.entries(refused)) {
    await kube.call("create", "nodes", node(Number(number), cidr));
  }
  await kube.call("create", "nodes", node(77, "10.5.77.0/24"));
  await until("the good peer", async () => (await entries(kubeLab)).includes("10.5.77.0/24"), 5_000);
  const routes = await lab.host(1).routes("-4", "flannel.1");
  assert.equal(routes.length, 1, routes.join("\n"));
  for (const number of Object.keys(refused)) {
    assert.match(lab.host(1).daemon.log, new RegExp(`node${number}\\b`), "it says so");
  }
});

/** What keeps a node from starting. */
import assert from "node:assert/strict";
import { kubeTest, type NodeObject, PREFIX, untilNode } from "./kube_lab.ts";

kubeTest("kube: EVENT_QUEUE_DEPTH is checked as the original does, and means nothing", {
  hosts: 1,
}, async ({ lab, kube, start }) => {
  const host = lab.host(1);
  for (const depth of ["abc", "5000x", "1.5"]) {
    start(1, { env: { EVENT_QUEUE_DEPTH: depth } });
    assert.equal((await host.daemon.ended()).code, 1, depth);
    assert.match(host.daemon.log, /EVENT_QUEUE_DEPTH must be an integer, not "/);
    assert.deepEqual(await kube.annotations("node1"), {}, "nothing is published");
  }
  start(1, { env: { EVENT_QUEUE_DEPTH: "-1", CONT_WHEN_CACHE_NOT_READY: "yes" } });
  await host.waitReady();
});

// The default route's interface was taken, whatever interface had the address: the original takes the address's.
kubeTest("kube: node-public-ip of an interface chooses it, one that stands at a NAT is what peers dial", {
  hosts: 2,
}, async ({ lab, kube, start }) => {
  const host = lab.host(1);
  await host.exec(["ip", "link", "add", "second", "type", "bridge"]);
  await host.exec(["ip", "address", "add", "203.0.113.9/24", "dev", "second"]);
  await host.exec(["ip", "link", "set", "second", "up"]);
  await kube.call("annotate", "node1", { [`${PREFIX}node-public-ip`]: "203.0.113.9" });
  await kube.call("annotate", "node2", { [`${PREFIX}node-public-ip`]: "198.51.100.7" });
  for (const { number } of lab.hosts) start(number);
  await Promise.all(lab.hosts.map((one) => one.waitReady()));
  const publicIp = (ip: string) => (node: NodeObject) =>
    node.metadata.annotations?.[`${PREFIX}public-ip`] === ip;
  await untilNode(kube, "node1", "the address of second", publicIp("203.0.113.9"));
  await untilNode(kube, "node2", "the address at the NAT", publicIp("198.51.100.7"));
  const device = async (number: number) =>
    (await lab.host(number).exec(["ip", "-d", "link", "show", "flannel.1"])).stdout;
  assert.match(await device(1), /local 203\.0\.113\.9 dev second/);
  assert.match(await device(2), new RegExp(`local ${lab.host(2).addresses.ipv4} dev eth0`));
});

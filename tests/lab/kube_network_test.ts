import assert from "node:assert/strict";
import { kubeTest, nodeObject, PREFIX, untilNode } from "./kube_lab.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";
import { until } from "../../scripts/lab/process.ts";

const condition = (node: { status?: { conditions?: { type: string; status: string; reason: string }[] } }) =>
  node.status?.conditions?.find(({ type }) => type === "NetworkUnavailable");

for (const families of [["ipv4"], ["ipv6"], ["ipv4", "ipv6"]] as const) {
  for (const backend of [{ Type: "vxlan" }, { Type: "host-gw" }]) {
    kubeTest(`kube: three nodes ping each other, ${backend.Type} ${families.join("+")}`, {
      families,
      backend,
    }, async ({ lab, kube, startAll }) => {
      await startAll();
      await lab.connect();
      await lab.pingAll();
      for (const { number, addresses } of lab.hosts) {
        const annotations = await kube.annotations(`node${number}`);
        assert.equal(annotations["kube-subnet-manager"], "true");
        assert.equal(annotations["backend-type"], backend.Type);
        assert.equal(annotations["public-ip"], addresses.ipv4);
        assert.equal(annotations["public-ipv6"], addresses.ipv6 && formatIp(parseIp(addresses.ipv6)));
        // The log had the Node's name in the place of the subnet.
        const subnets = (await kube.node(`node${number}`)).spec!.podCIDRs!.map((cidr) =>
          formatPrefix(parsePrefix(cidr))
        );
        assert.match(
          lab.host(number).daemon.log,
          new RegExp(`In the network subnet="?${subnets.join(" ")}"? `),
        );
      }
    });
  }
}

kubeTest(
  "kube: requests are as few as they can be, and readiness says what a host waits for",
  { hosts: 2 },
  async ({ lab, kube, start, startAll }) => {
    await startAll();
    const first = await kube.requests();
    const kinds = first.filter(({ user }) => user !== "admin").map(({ method, url }) =>
      `${method} ${url.split("?")[0]}`
    );
    assert.ok(kinds.filter((kind) => kind === "GET /api/v1/nodes").length <= 4, kinds.join("\n"));
    await untilNode(kube, "node1", "the condition", (node) => condition(node)?.status === "False");
    assert.equal(condition(await kube.node("node1"))?.reason, "FlannelIsUp");
    await lab.host(1).daemon.stop();
    await kube.requests();
    start(1);
    await lab.host(1).waitReady();
    const again = (await kube.requests()).filter(({ method }) => method === "PATCH");
    assert.deepEqual(again.map(({ body }) => body), [], "a restart that changes nothing patches nothing");
  },
);

kubeTest("kube: deleted annotations, a recreated Node and a removed condition come back", {
  hosts: 2,
}, async ({ lab, kube, startAll }) => {
  await startAll();
  await lab.connect();
  await untilNode(kube, "node1", "the condition", (node) => condition(node)?.status === "False");
  const before = await kube.annotations("node1");
  await kube.call(
    "annotate",
    "node1",
    Object.fromEntries(Object.keys(before).map((key) => [PREFIX + key, null])),
  );
  await untilNode(
    kube,
    "node1",
    "annotated again",
    (node) => node.metadata.annotations?.[`${PREFIX}kube-subnet-manager`] === "true",
  );
  assert.deepEqual(await kube.annotations("node1"), before);
  await kube.call("delete", "nodes", "node1");
  await kube.call("create", "nodes", nodeObject(1));
  await untilNode(
    kube,
    "node1",
    "annotated anew",
    (node) => node.metadata.annotations?.[`${PREFIX}public-ip`] !== undefined,
  );
  await untilNode(kube, "node1", "the condition anew", (node) => condition(node)?.status === "False");
  await lab.pingAll();
});

kubeTest(
  "kube: a Node without podCIDR is waited for, one outside of the network is an error before anything is published",
  { hosts: 2 },
  async ({ lab, kube, start }) => {
    const { spec: _, ...bare } = nodeObject(1);
    await kube.call("update", "nodes", { ...bare, spec: {} });
    start(1);
    await until("the reason", () => /node1 has no IPv4 podCIDR yet/.test(lab.host(1).daemon.log), 10_000);
    await kube.call("update", "nodes", nodeObject(1));
    await lab.host(1).waitReady();
    await kube.call("update", "nodes", {
      ...nodeObject(2),
      spec: { podCIDR: "10.50.1.0/24", podCIDRs: ["10.50.1.0/24"] },
    });
    start(2);
    const { code } = await lab.host(2).daemon.ended();
    assert.equal(code, 1);
    assert.match(lab.host(2).daemon.log, /10\.50\.1\.0\/24, which is not in the network 10\.5\.0\.0\/16/);
    assert.deepEqual(await kube.annotations("node2"), {});
  },
);

kubeTest("kube: changes of peers are followed, also those that came while the API server was away", {
  hosts: 3,
}, async ({ lab, kube, startAll }) => {
  await startAll();
  const routes = () => lab.host(1).routes("-4", "flannel.1");
  await until("both routes", async () => (await routes()).length === 2, 5_000);
  const fdb = async () => (await lab.host(1).fdb("flannel.1")).join("\n");
  const annotations = await kube.annotations("node2");
  const { VtepMAC } = JSON.parse(annotations["backend-data"]!);
  // Another MAC: the old one's entry goes.
  await lab.host(2).daemon.kill();
  await kube.call("annotate", "node2", {
    [`${PREFIX}backend-data`]: '{"VNI":1,"VtepMAC":"da:0c:77:ea:0a:7b"}',
  });
  await until(
    "the new MAC alone",
    async () => (await fdb()).includes("da:0c:77:ea:0a:7b") && !(await fdb()).includes(VtepMAC),
    5_000,
  );
  // Another podCIDR, as of a recreated Node, while the server is away.
  await kube.call("stop");
  await kube.call("delete", "nodes", "node3");
  const anew = nodeObject(33);
  const { annotations: _, ...metadata } = nodeObject(3).metadata;
  await kube.call("create", "nodes", {
    ...anew,
    metadata: {
      ...metadata,
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([key, value]) => [PREFIX + key, value]),
      ),
    },
  });
  await kube.call("listen");
  await until("the new subnet alone", async () => {
    const now = (await routes()).join("\n");
    return now.includes("10.5.33.0/24") && !now.includes("10.5.3.0/24");
  }, 15_000);
  await kube.call("delete", "nodes", "node2");
  await until(
    "node2's route is gone",
    async () => !(await routes()).join("\n").includes("10.5.2.0/24"),
    5_000,
  );
});

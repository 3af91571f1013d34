import assert from "node:assert/strict";
import { until } from "../../scripts/lab/process.ts";
import { FLANNEL_USER } from "../fakes/kube/main.ts";
import { FLANNEL_RULES } from "../fakes/kube/access.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { kubeTest, nodeObject, PREFIX, untilNode } from "./kube_lab.ts";
import { assertOrderly } from "./orderly_end.ts";

const TOKEN = "flannel";

kubeTest(
  "kube: an own podCIDR that changes ends the daemon with a clear error, and the next start takes it",
  {
    hosts: 1,
  },
  async ({ lab, kube, start, startAll }) => {
    await startAll();
    const spec = { podCIDR: "10.5.9.0/24", podCIDRs: ["10.5.9.0/24"] };
    await kube.changeNode("node1", (node) => ({ ...node, spec }));
    const { code } = await lab.host(1).daemon.ended();
    assert.equal(code, 1);
    assert.match(lab.host(1).daemon.log, /node1 has podCIDR 10\.5\.9\.0\/24 now, and had 10\.5\.1\.0\/24/);
    start(1);
    const file = await lab.host(1).waitReady();
    assert.match(JSON.stringify(file), /10\.5\.9\.1/);
  },
);

kubeTest("kube: a right that is missing is waited for, said, and seen in the status; then all goes on", {
  hosts: 1,
}, async ({ lab, kube, start }) => {
  const host = lab.host(1);
  for (const [resource, verb] of [["nodes", "list"], ["nodes", "get"], ["nodes/status", "patch"]] as const) {
    const without = FLANNEL_RULES.map((rule) => ({
      ...rule,
      verbs: rule.verbs.filter((one) => !(rule.resources.includes(resource) && one === verb)),
    }));
    await kube.call("rules", FLANNEL_USER, without);
    await kube.call("annotate", "node1", { [`${PREFIX}public-ip`]: null });
    start(1);
    await until(
      `${verb} ${resource} is missed`,
      () => new RegExp(`403 .*cannot ${verb} resource "${resource}"`).test(host.daemon.log),
      10_000,
    );
    assert.equal(await host.probe("/readyz"), 503, `${verb} ${resource}`);
    assert.match(await host.fetchText("/readyz"), new RegExp(`cannot ${verb} resource`));
    await kube.call("rules", FLANNEL_USER, FLANNEL_RULES);
    await host.waitReady();
    await host.daemon.stop();
    await Deno.remove(host.subnetFile);
  }
});

kubeTest("kube: SIGTERM ends each wait in a second", { hosts: 1 }, async ({ lab, kube, start }) => {
  const host = lab.host(1);
  const stopsInTime = async (wait: string, log: RegExp) => {
    await until(wait, () => log.test(host.daemon.log), 10_000);
    assertOrderly(host.daemon, await host.daemon.stop());
  };
  const node = await kube.node("node1");
  await kube.call("delete", "nodes", "node1");
  start(1);
  await stopsInTime("the Node is absent", /Waiting for the own Node: .*404/);
  const { resourceVersion: _, ...metadata } = node.metadata;
  await kube.call("create", "nodes", { ...node, metadata, spec: {} });
  start(1);
  await stopsInTime("the podCIDR is missing", /no IPv4 podCIDR yet/);
  await kube.call("faults", { delayMs: 60_000 });
  start(1);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await stopsInTime("the server is silent", /^/);
  await kube.call("faults", { delayMs: 0 });
  await kube.call("stop");
  start(1);
  await stopsInTime("the server refuses", /Waiting for the own Node: .*cannot connect/);
  // Packets go nowhere: the connection never comes about.
  await lab.switch.exec([
    "nft",
    "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; add rule inet hole in tcp dport 1024-65535 drop",
  ]);
  start(1);
  await stopsInTime("packets go nowhere", /Waiting for the own Node: .*no answer in 3 s/);
});

kubeTest("kube: a server that freezes is noticed within 10 s, and what changed meanwhile comes", {
  hosts: 2,
}, async ({ lab, kube, startAll }) => {
  await startAll();
  await lab.connect();
  await lab.pingAll();
  const pid = await kube.call<number>("pid");
  Deno.kill(pid, "SIGSTOP");
  try {
    await until("it is noticed", () => /gave no answer for/.test(lab.host(1).daemon.log), 10_000);
    await lab.pingAll();
  } finally {
    Deno.kill(pid, "SIGCONT");
  }
  await kube.call("delete", "nodes", "node2");
  await until(
    "the change",
    async () => !(await lab.host(1).routes("-4", "flannel.1")).join().includes("10.5.2.0"),
    15_000,
  );
});

kubeTest("kube: a server restored from a backup, and one of another cluster, are listed anew", {
  hosts: 2,
}, async ({ lab, kube, startAll }) => {
  await startAll();
  const routes = async () => (await lab.host(1).routes("-4", "flannel.1")).join("\n");
  await until("the peer", async () => (await routes()).includes("10.5.2.0/24"), 5_000);
  await kube.call("stop");
  await kube.call("delete", "nodes", "node2");
  await kube.call("rewind", 10);
  await kube.call("listen");
  await until("the peer is gone", async () => !(await routes()).includes("10.5.2.0/24"), 15_000);
});

kubeTest("kube: a token that expires is read again from its file, and none is in any log", {
  hosts: 1,
}, async ({ lab, kube, start }) => {
  const host = lab.host(1);
  const text = await Deno.readTextFile(kube.kubeconfig);
  const file = `${host.folder}/token`,
    config = kube.kubeconfig.replace("flannel.kubeconfig", "file.kubeconfig");
  await Deno.mkdir(host.folder, { recursive: true });
  await Deno.writeTextFile(file, "s3cret-one");
  await kube.call("addToken", "s3cret-one", FLANNEL_USER);
  await Deno.writeTextFile(config, text.replace(`token: ${TOKEN}`, `tokenFile: ${file}`));
  start(1, { args: [`-kubeconfig-file=${config}`, "-v=10"] });
  await host.waitReady();
  await kube.call("revokeToken", "s3cret-one");
  await kube.call("addToken", "s3cret-two", FLANNEL_USER);
  await kube.call("cut");
  await until("the refusal", () => /401/.test(host.daemon.log), 10_000);
  await Deno.writeTextFile(file, "s3cret-two");
  await kube.call("annotate", "node1", { [`${PREFIX}public-ip`]: null });
  await untilNode(
    kube,
    "node1",
    "annotated again",
    (node) => node.metadata.annotations?.[`${PREFIX}public-ip`] === host.addresses.ipv4,
  );
  assert.ok(!host.daemon.log.includes("s3cret"));
});

kubeTest(
  "kube: addresses that people set on the Node",
  { hosts: 2 },
  async ({ lab, kube, start, startAll }) => {
    const [one] = lab.hosts;
    await kube.call("annotate", "node1", { [`${PREFIX}public-ip-overwrite`]: "198.51.100.7" });
    await startAll();
    assert.equal((await kube.annotations("node1"))["public-ip"], "198.51.100.7");
    await until(
      "peers dial it",
      async () => (await lab.host(2).fdb("flannel.1")).join().includes("198.51.100.7"),
      5_000,
    );
    const publicIp = (wanted: string | undefined) => (node: ReturnType<typeof nodeObject>) =>
      node.metadata.annotations?.[`${PREFIX}public-ip`] === wanted;
    await kube.call("annotate", "node1", { [`${PREFIX}public-ip-overwrite`]: "nonsense" });
    await untilNode(kube, "node1", "its own, for one that isn't an address", publicIp(one!.addresses.ipv4));
    assert.match(one!.daemon.log, /public-ip-overwrite of Node node1 isn't an address: \\?"nonsense/);
    await kube.call("annotate", "node1", { [`${PREFIX}public-ip-overwrite`]: null });
    await one!.daemon.stop();
    await kube.call("annotate", "node1", { [`${PREFIX}node-public-ip`]: "203.0.113.9" });
    start(1, { args: ["-iface=eth0"] });
    await untilNode(kube, "node1", "node-public-ip with -iface", publicIp("203.0.113.9"));
  },
);

kubeTest("kube: another prefix, a Pod that says the Node, the udp backend", {
  hosts: 2,
  backend: { Type: "udp" },
}, async ({ lab, kube, start }) => {
  for (const number of [1, 2]) {
    await kube.call("create", "namespaces", { metadata: { name: `ns${number}` } });
    const metadata = { name: `flannel-${number}`, namespace: `ns${number}` };
    await kube.call("create", "pods", { metadata, spec: { nodeName: `node${number}` } });
    const env = { NODE_NAME: "", POD_NAME: metadata.name, POD_NAMESPACE: metadata.namespace };
    start(number, { env, args: ["-kube-annotation-prefix=example.com/x"] });
  }
  await Promise.all(lab.hosts.map((host) => host.waitReady()));
  await lab.connect();
  await lab.pingAll();
  const { metadata } = await kube.node("node1");
  assert.equal(metadata.annotations?.["example.com/x-backend-type"], "");
  assert.equal(metadata.annotations?.["example.com/x-backend-data"], "null");
  assert.equal(metadata.annotations?.["example.com/x-public-ip"], lab.host(1).addresses.ipv4);
});

kubeTest(
  "kube: the condition is set once it is true, kept, and never True",
  { hosts: 1 },
  async (kubeLab) => {
    const { lab, kube, startAll } = kubeLab;
    const other = { type: "NetworkUnavailable", status: "False", reason: "RouteCreated" };
    const ready = { type: "Ready", status: "True", reason: "KubeletReady" };
    await kube.call("update", "nodes", { ...nodeObject(1), status: { conditions: [ready, other] } });
    await startAll();
    const isOurs = (node: ReturnType<typeof nodeObject>) =>
      node.status!.conditions!.some(({ status, reason }) => status === "False" && reason === "FlannelIsUp");
    await untilNode(kube, "node1", "our word", isOurs);
    const node = await kube.node("node1");
    assert.equal(node.status!.conditions!.length, 2, "the others stay");
    const taken = { ...other, status: "True", reason: "NoRouteCreated" };
    await kube.changeNode("node1", (node) => ({ ...node, status: { conditions: [ready, taken] } }));
    await untilNode(kube, "node1", "our word again", isOurs);
    await lab.host(1).daemon.stop();
    const said = (await kube.requests()).filter(({ body }) => body.includes("NetworkUnavailable"));
    assert.ok(said.length >= 2 && said.every(({ body }) => !body.includes('"True"')));
  },
);

kubeTest("kube: status, doctor and cleanup speak of the cluster", { hosts: 1 }, async ({ lab, startAll }) => {
  await startAll();
  const host = lab.host(1);
  const command = async (...words: string[]) => {
    const args = [...flanneldCommand(), ...words, ...host.commonArgs];
    const { stdout, stderr } = await host.exec(["env", "NODE_NAME=node1", ...args], { mayFail: true });
    return stdout + stderr;
  };
  const status = await host.exec([...flanneldCommand(), "status", `-subnet-file=${host.subnetFile}`], {
    mayFail: true,
  });
  assert.match(status.stdout + status.stderr, /Kubernetes https:/);
  const doctor = await command("doctor");
  assert.match(doctor, /Kubernetes|API server/);
  assert.doesNotMatch(doctor, /etcd/);
  await host.daemon.stop();
  const cleanup = await command("cleanup");
  assert.doesNotMatch(cleanup, /etcd|Error/);
  assert.deepEqual(await host.routes("-4", "flannel.1"), []);
});

/** `flanneld leases` against a cluster's Nodes. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { kubeTest, PREFIX } from "./kube_lab.ts";
import { probeText } from "./probe_lab.ts";

kubeTest("kube: leases list, show and pool are the Nodes', what a Node says is shown and not obeyed", {
  hosts: 1,
}, async ({ lab, kube, startAll }) => {
  await startAll();
  const annotations = { [`${PREFIX}kube-subnet-manager`]: "true", [`${PREFIX}public-ip`]: "\x1b[2J\x9b2J" };
  await kube.call("create", "nodes", {
    metadata: { name: "node9", annotations },
    spec: { podCIDR: "10.5.9.0/24", podCIDRs: ["10.5.9.0/24"] },
  });
  const host = lab.host(1);
  const leases = async (...words: string[]) => {
    const command = ["env", "NODE_NAME=node1", ...flanneldCommand(), "leases", ...words, ...host.commonArgs];
    return await host.exec(command, { mayFail: true });
  };
  const list = await leases("list");
  assert.match(list.stdout, /^10\.5\.1\.0\/24 +node1 +172\.30\.0\.1 +vxlan +assigned /m, list.stderr);
  assert.match(list.stdout, /^10\.5\.9\.0\/24 +node9 .*\\u001b\[2J/m);
  // They were called reserved.
  assert.match((await leases("pool")).stdout, /: 2 leased, 0 reserved, 253 free/);
  for (const word of ["node1", "10.5.1.7", "172.30.0.1", "10.5.1.0/24"]) {
    const { stdout, stderr } = await leases("show", word);
    assert.match(stdout, /^10\.5\.1\.0\/24\n {2}host +node1$/m, `${word}: ${stderr}`);
  }
  for (const form of ["", "-json", "-csv"]) {
    const { stdout } = await leases("list", ...form === "" ? [] : [form]);
    // deno-lint-ignore no-control-regex -- it looks for them.
    assert.doesNotMatch(stdout, /[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]/);
  }
  const revoke = await leases("revoke", "10.5.9.0/24", "-yes");
  assert.equal(revoke.code, 2);
  assert.match(revoke.stderr, /deleting the Node frees its subnet/);
});

// They said that peers are known to a daemon only; leases list could name them all the while.
kubeTest(
  "kube: probe finds the peers among the Nodes while no daemon runs",
  { hosts: 2 },
  async ({ lab, startAll }) => {
    await startAll();
    const host = lab.host(1);
    await host.daemon.stop();
    const { code, text } = await probeText(host, [], "node2", "-json", "-interval", "20ms");
    assert.equal(code, 0, text);
    const { source, peers } = JSON.parse(text);
    assert.match(source, /^Kubernetes https:/);
    assert.deepEqual(peers.map(({ name }: { name: string }) => name), ["node2"]);
  },
);

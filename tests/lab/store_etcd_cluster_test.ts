/** Three etcd members, each a host of its own: one is cut off from the others, or from the daemon. */
import assert from "node:assert/strict";
import { EtcdCluster } from "../../scripts/lab/etcd_cluster.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { apartFromPeers, type Lab } from "../../scripts/lab/lab.ts";
import { vxlanValue } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

/** Makes a lab whose store is the cluster. */
function clusterTest(
  name: string,
  body: (lab: Lab, cluster: EtcdCluster, host: Host) => Promise<void>,
): void {
  let cluster: EtcdCluster | undefined;
  const store = async (place: Parameters<typeof EtcdCluster.start>[0]) =>
    cluster = await EtcdCluster.start(place);
  labTest(
    `etcd cluster: ${name}`,
    { hosts: 1, store, config: apartFromPeers() },
    (lab) => body(lab, cluster!, lab.host(1)),
  );
}

/** Drops what passes between member `number` and others, in both directions: its peers' port or its clients'. */
async function cut(
  cluster: EtcdCluster,
  number: number,
  port: 2379 | 2380,
  action: "-A" | "-D" = "-A",
): Promise<void> {
  const { namespace } = cluster.members[number - 1]!;
  for (const chain of ["INPUT", "OUTPUT"]) {
    for (const end of ["--dport", "--sport"]) {
      await namespace.exec(["iptables", action, chain, "-p", "tcp", end, `${port}`, "-j", "DROP"]);
    }
  }
}

/** Writes a peer's lease, also while the members elect a leader. The first one may be cut off. */
async function putPeer(cluster: EtcdCluster, number: number): Promise<void> {
  const value = vxlanValue(`172.30.0.${100 + number}`, `3e:4b:bc:75:ce:0${number}`);
  await until("the lease to be written", async () => {
    await cluster.ctlOf([2, 3], "put", `/coreos.com/network/subnets/10.5.${number}.0-24`, value);
    return true;
  }, 15_000);
}

async function untilRoute(host: Host, number: number, limit: number): Promise<void> {
  const found = async () =>
    (await host.routes("-4", "flannel.1")).some((line) => line.startsWith(`10.5.${number}.0/24 `));
  await until(`the route to peer ${number}`, found, limit);
}

/** Option for one member alone; the last one given counts. */
function onlyMember(cluster: EtcdCluster, number: number): string {
  return `-etcd-endpoints=http://${cluster.members[number - 1]!.address}:2379`;
}

// Its watch stayed silent, and the host was ready meanwhile.
clusterTest("a member without its quorum, and no other endpoint: not ready, with the reason", async (
  _,
  cluster,
  host,
) => {
  await host.startReady({ args: [onlyMember(cluster, 1)] });
  await cut(cluster, 1, 2380);
  await until("not ready", async () => await host.probe("/readyz") === 503, 25_000);
  const reason = await host.fetchText("/readyz");
  assert.match(
    reason,
    /^store: cannot follow the leases, .*http:\/\/172\.30\.0\.241:2379: .*(no leader|no answer)/,
  );
  await putPeer(cluster, 1);
  await cut(cluster, 1, 2380, "-D");
  await untilRoute(host, 1, 15_000);
  await until("ready", async () => await host.probe("/readyz") === 200, 5000);
  assert.ok(host.daemon.isRunning);
});

clusterTest(
  "the member in use is cut off from its quorum: another one takes over, and the host stays ready",
  async (
    _,
    cluster,
    host,
  ) => {
    await host.startReady();
    await cut(cluster, 1, 2380);
    // Until the member knows that it has no leader, it reports nothing.
    await putPeer(cluster, 1);
    await untilRoute(host, 1, 12_000);
    await putPeer(cluster, 2);
    await untilRoute(host, 2, 2000);
    assert.equal(await host.probe("/readyz"), 200);
    assert.equal(host.daemon.count(/no leader/), 1, host.daemon.log);
  },
);

clusterTest("the endpoint in use becomes a black hole: another one takes over", async (_, cluster, host) => {
  await host.startReady();
  await cut(cluster, 1, 2379);
  await putPeer(cluster, 1);
  await untilRoute(host, 1, 15_000);
  assert.equal(await host.probe("/readyz"), 200);
});

clusterTest(
  "a start with one endpoint that is a black hole and one that is down",
  async (_, cluster, host) => {
    await cluster.members[0]!.namespace.exec(
      ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "2379", "-j", "DROP"],
    );
    const began = performance.now();
    await host.startReady({
      args: ["-etcd-endpoints=http://172.30.0.241:2379,http://172.30.0.241:1,http://172.30.0.242:2379"],
    });
    const took = performance.now() - began;
    assert.ok(took < 8000, `${took} ms`);
  },
);

clusterTest(
  "the whole cluster is replaced by an older state, with the same addresses",
  async (lab, cluster, host) => {
    await host.startReady();
    const snapshot = `${lab.folder}/snapshot`;
    await putPeer(cluster, 1);
    await untilRoute(host, 1, 2000);
    await cluster.save(snapshot);
    await putPeer(cluster, 2);
    await untilRoute(host, 2, 2000);
    await cluster.restore(snapshot);
    await putPeer(cluster, 3);
    await untilRoute(host, 3, 15_000);
    await untilRoute(host, 1, 5000);
    await until(
      "no ghost",
      async () => !(await host.routes("-4", "flannel.1")).join().includes("10.5.2.0"),
      15_000,
    );
    assert.ok(host.daemon.isRunning, host.daemon.log);
  },
);

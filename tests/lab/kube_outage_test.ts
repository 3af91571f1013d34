/** The API server away, or its watches cut, while nodes come, go and change. */
import assert from "node:assert/strict";
import { until } from "../../scripts/lab/process.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { type KubeLab, kubeTest, nodeObject, PREFIX } from "./kube_lab.ts";

/** A Node as the original annotates it. */
function peer(number: number, mac: number) {
  const node = nodeObject(number);
  const VtepMAC = `da:0c:77:ea:0a:${mac.toString(16).padStart(2, "0")}`;
  const annotations = {
    [`${PREFIX}kube-subnet-manager`]: "true",
    [`${PREFIX}backend-type`]: "vxlan",
    [`${PREFIX}backend-data`]: JSON.stringify({ VNI: 1, VtepMAC }),
    [`${PREFIX}public-ip`]: `172.30.1.${number}`,
  };
  return { ...node, metadata: { ...node.metadata, annotations } };
}

/** What host 1 has for peers, and what the Nodes say that it should have. */
async function difference({ lab, kube }: KubeLab): Promise<{ has: string[]; wants: string[] }> {
  const host = lab.host(1);
  const routes = (await host.routes("-4", "flannel.1")).map((route) => route.split(" ")[0]!);
  const fdb = (await host.fdb("flannel.1")).map((entry) => entry.split(" ").slice(0, 3).join(" "));
  const nodes = await kube.call<ReturnType<typeof peer>[]>("list", "nodes");
  const wants = nodes.filter(({ metadata }) => metadata.name !== "node1").flatMap(({ metadata, spec }) => {
    const data = JSON.parse(metadata.annotations[`${PREFIX}backend-data`]!) as { VtepMAC: string };
    return [spec!.podCIDR!, `${data.VtepMAC} dst ${metadata.annotations[`${PREFIX}public-ip`]}`];
  });
  return { has: [...routes, ...fdb].sort(), wants: wants.sort() };
}

async function untilRight(kubeLab: KubeLab, what: string, milliseconds: number): Promise<void> {
  await until(what, async () => {
    const { has, wants } = await difference(kubeLab);
    return JSON.stringify(has) === JSON.stringify(wants);
  }, milliseconds).catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await difference(kubeLab))}`);
  });
}

/** How long the API server is away, in seconds: several times the longest wait between two tries. */
const OUTAGE = Number(Deno.env.get("LAB_OUTAGE_SECONDS") ?? 20);

kubeTest(`kube: the API server away for ${OUTAGE} s while nodes come, go and change`, {
  hosts: 2,
}, async (kubeLab) => {
  const { lab, kube, startAll } = kubeLab;
  const host = lab.host(1);
  for (let number = 10; number < 40; number++) await kube.call("create", "nodes", peer(number, number));
  await startAll();
  await lab.connect();
  await lab.pingAll();
  await untilRight(kubeLab, "the peers", 5_000);
  await kube.call("stop");
  const end = performance.now() + OUTAGE * 1000;
  for (let number = 10; number < 20; number++) await kube.call("delete", "nodes", `node${number}`);
  for (let number = 20; number < 30; number++) {
    await kube.call("delete", "nodes", `node${number}`);
    // The same name and subnet, another machine; or the same machine with another subnet.
    const anew = number < 25 ? peer(number, number + 100) : peer(number + 50, number);
    const metadata = { ...anew.metadata, name: `node${number}` };
    await kube.call("create", "nodes", { ...anew, metadata });
  }
  for (let number = 40; number < 50; number++) await kube.call("create", "nodes", peer(number, number));
  await until("the status says so", async () => {
    const { stdout } = await host.exec(
      [...flanneldCommand(), "status", "-json", `-subnet-file=${host.subnetFile}`],
      { mayFail: true },
    );
    return JSON.parse(stdout).store.connected === false;
  }, 15_000);
  await lab.pingAll();
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, end - performance.now())));
  assert.ok(host.daemon.isRunning);
  await kube.call("listen");
  await untilRight(kubeLab, "everything after the outage", 10_000);
  await until("it is ready again", async () => await host.probe("/readyz") === 200, 10_000);
  await lab.pingAll();
  assert.match(host.daemon.log, /The API server answers again/);
});

kubeTest("kube: 50 watches cut at random while nodes change: nothing is missed", {
  hosts: 1,
}, async (kubeLab) => {
  const { kube, startAll } = kubeLab;
  for (let number = 10; number < 20; number++) await kube.call("create", "nodes", peer(number, number));
  await startAll();
  for (let cycle = 0; cycle < 50; cycle++) {
    const number = 10 + Math.floor(Math.random() * 20);
    const names = (await kube.call<{ metadata: { name: string } }[]>("list", "nodes")).map((node) =>
      node.metadata.name
    );
    if (!names.includes(`node${number}`)) await kube.call("create", "nodes", peer(number, number));
    else if (Math.random() < 0.3) await kube.call("delete", "nodes", `node${number}`);
    else {
      const VtepMAC = peer(number, 100 + cycle).metadata.annotations[`${PREFIX}backend-data`]!;
      await kube.call("annotate", `node${number}`, { [`${PREFIX}backend-data`]: VtepMAC });
    }
    const faults = ["cut", "endWatches", "compact"] as const;
    await kube.call(faults[Math.floor(Math.random() * faults.length)]!);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
  }
  await kube.call("create", "nodes", peer(99, 99));
  await untilRight(kubeLab, "all changes", 15_000);
});

for (const http1Only of [false, true]) {
  kubeTest(
    `kube: packets to the API server that go nowhere are noticed within 10 s over HTTP/${
      http1Only ? 1.1 : 2
    }`,
    {
      hosts: 2,
      http1Only,
    },
    async (kubeLab) => {
      const { lab, kube, startAll } = kubeLab;
      await startAll();
      await untilRight(kubeLab, "the peers", 5_000);
      for (let round = 0; round < 2; round++) {
        const before = lab.host(1).daemon.log.length;
        const rule = "type filter hook input priority 0; tcp dport 1024-65535 drop";
        await lab.switch.exec(["nft", `add table inet hole; add chain inet hole in { ${rule}; }`]);
        await until(
          "it is noticed",
          () => /Cannot follow the Nodes/.test(lab.host(1).daemon.log.slice(before)),
          10_000,
        );
        await kube.call("create", "nodes", peer(10 + round, 10 + round));
        await lab.switch.exec(["nft", "delete table inet hole"]);
        await untilRight(kubeLab, "the change", 10_000);
      }
    },
  );
}

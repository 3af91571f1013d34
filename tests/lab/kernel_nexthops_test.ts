/** Next-hop objects: whose they are, and what goes with them. */
import assert from "node:assert/strict";
import type { Entry } from "../../lib/kernel/entries.ts";
import { DEVICE, ip, KernelHost, manyPeers, tunnelRoute } from "./kernel_host.ts";
import { namespaceTest, run } from "./netns.ts";

/** Above a thousand peers routes go through next-hop objects. */
const MANY = 1_001;

/** A host with so many peers that all of its routes use next-hop objects. */
async function crowdedHost(): Promise<KernelHost> {
  const host = new KernelHost();
  for (const [owner, entries] of manyPeers(MANY)) host.reconciler.set(owner, entries);
  const { failures } = await host.reconciler.pass();
  assert.equal(failures, 0);
  assert.equal(ip("nexthop show").length, MANY);
  return host;
}

async function add(host: KernelHost, owner: string, ...entries: Entry[]): Promise<void> {
  host.reconciler.set(owner, entries);
  const { failures } = await host.reconciler.flush();
  assert.equal(failures, 0, JSON.stringify(host.failures));
}

function idsOf(lines: readonly string[]): number[] {
  return lines.map((line) => Number(/\b(?:id|nhid) (\d+)/.exec(line)![1]));
}

/** `via 10.5.7.0 dev flannel.1 onlink` of the route to a destination. */
function hopOf(destination: string): string {
  const [line] = ip(`route show ${destination}`);
  return /via .*?dev \S+/.exec(line ?? "")?.[0] ?? `no route (${line})`;
}

namespaceTest(
  import.meta,
  "a stranger's next-hop object with the next id carries no route of ours",
  async () => {
    using host = await crowdedHost();
    const next = Math.max(...idsOf(ip("nexthop show"))) + 1;
    for (const id of [next, next + 1]) ip(`nexthop add id ${id} via 172.30.0.99 dev eth0`);
    await add(host, "new", tunnelRoute("10.5.7.0/24"));
    assert.equal(hopOf("10.5.7.0/24"), `via 10.5.7.0 dev ${DEVICE}`);
    const strangers = ip("nexthop show").filter((line) => line.includes("172.30.0.99"));
    assert.deepEqual(idsOf(strangers), [next, next + 1], "the stranger's objects stay");
    assert.equal(ip("nexthop show").length, MANY + 3);
  },
);

namespaceTest(import.meta, "a route whose next-hop object can't be made is made without one", async () => {
  using host = await crowdedHost();
  const next = Math.max(...idsOf(ip("nexthop show"))) + 1;
  const taken = Array.from({ length: 50 }, (_, index) => `nexthop add id ${next + index} blackhole\n`);
  for (const line of taken) ip(line.trim());
  await add(host, "new", tunnelRoute("10.5.7.0/24"));
  assert.match(ip("route show 10.5.7.0/24")[0]!, /^10\.5\.7\.0\/24 via 10\.5\.7\.0 dev flannel\.1/);
});

namespaceTest(
  import.meta,
  "of two subnets with one gateway, the removal of one leaves the other",
  async () => {
    using host = await crowdedHost();
    await add(host, "a", tunnelRoute("10.5.7.0/24"));
    await add(host, "b", tunnelRoute("10.5.7.0/25"));
    await add(host, "b");
    assert.equal(hopOf("10.5.7.0/24"), `via 10.5.7.0 dev ${DEVICE}`);
    assert.deepEqual(ip("route show 10.5.7.0/25"), []);
    assert.equal(ip("nexthop show").length, MANY + 1, "the object of the removed route is gone");
  },
);

namespaceTest(import.meta, "two routes that share an object, from an earlier run, get one each", async () => {
  using host = await crowdedHost();
  await add(host, "a", tunnelRoute("10.5.7.0/24"));
  const [id] = idsOf(ip("route show 10.5.7.0/24"));
  ip(`route add 10.5.7.0/25 nhid ${id} proto 70`);
  host.reconciler.set("b", [tunnelRoute("10.5.7.0/25")]);
  assert.deepEqual(await host.reconciler.pass(), { operations: 1, failures: 0 });
  const ids = idsOf(["10.5.7.0/24", "10.5.7.0/25"].flatMap((subnet) => ip(`route show ${subnet}`)));
  assert.equal(new Set(ids).size, 2);
  assert.deepEqual(await host.reconciler.pass(), { operations: 0, failures: 0 });
});

namespaceTest(import.meta, "an object that a pass removed isn't used again", async () => {
  using host = await crowdedHost();
  const first = tunnelRoute("10.5.7.0/24");
  await add(host, "a", first);
  const [id] = idsOf(ip("route show 10.5.7.0/24"));
  // The route is lost, its object stays behind: the pass must remove it, and forget it.
  run("ip", "route", "del", "10.5.7.0/24");
  host.reconciler.set("a", []);
  await host.reconciler.pass();
  assert.equal(ip("nexthop show").length, MANY);
  ip(`nexthop add id ${id} via 172.30.0.99 dev eth0`);
  await add(host, "a", first);
  assert.equal(hopOf("10.5.7.0/24"), `via 10.5.7.0 dev ${DEVICE}`);
});

namespaceTest(
  import.meta,
  "a pass corrects a next-hop object that another program changed or deleted",
  async () => {
    using host = await crowdedHost();
    await add(host, "a", tunnelRoute("10.5.7.0/24"));
    const [id] = idsOf(ip("route show 10.5.7.0/24"));
    assert.ok(host.reconciler.usesNexthop(id!));
    ip(`nexthop replace id ${id} via 172.30.0.99 dev eth0`);
    await host.reconciler.pass();
    assert.equal(hopOf("10.5.7.0/24"), `via 10.5.7.0 dev ${DEVICE}`);
    ip("nexthop flush proto 70");
    assert.deepEqual(await host.reconciler.pass(), { operations: MANY + 1, failures: 0 });
    assert.equal(hopOf("10.5.7.0/24"), `via 10.5.7.0 dev ${DEVICE}`);
  },
);

namespaceTest(import.meta, "a changed route leaves no object behind", async () => {
  using host = await crowdedHost();
  await add(host, "a", tunnelRoute("10.5.7.0/24"));
  const destination = { ...tunnelRoute("10.5.7.0/24"), link: "eth0" };
  await add(host, "a", { ...destination, onlink: true } as Entry);
  assert.equal(hopOf("10.5.7.0/24"), "via 10.5.7.0 dev eth0");
  await add(host, "a", tunnelRoute("10.5.7.0/24"));
  await add(host, "a");
  assert.equal(ip("nexthop show").length, MANY);
});

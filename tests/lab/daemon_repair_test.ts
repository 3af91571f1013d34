/** What people and other programs do to the kernel's state behind the daemon's back (flannel-io/flannel #2554). */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { apartFromPeers, type Lab } from "../../scripts/lab/lab.ts";
import { deleteLease, putLease, vxlanValue } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

/** How fast what was taken away must be back, in milliseconds. */
const REPAIR_LIMIT = 2000;
const DEVICE = "flannel.1";

/** The daemon's state in the kernel, in an order of its own. */
async function state(host: Host): Promise<{ routes: string[]; neighbours: string[]; fdb: string[] }> {
  const [routes, neighbours, fdb] = await Promise.all([
    host.routes("-4", DEVICE),
    host.neighbours(DEVICE),
    host.fdb(DEVICE),
  ]);
  return {
    // A next-hop object made again has another id.
    routes: routes.map((line) => line.replace(/nhid \d+ /, "")).sort(),
    neighbours: neighbours.sort(),
    fdb: fdb.filter((line) => line.includes(" dst ")).sort(),
  };
}

async function macOf(host: Host): Promise<string> {
  const [link] = await host.ipJson("link", "show", DEVICE);
  return String(link?.address);
}

async function start(lab: Lab) {
  await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const host = lab.host(1);
  const peers = lab.hosts.length - 1;
  const wanted = await until("all entries", async () => {
    const now = await state(host);
    return Object.values(now).every((lines) => lines.length === peers) && now;
  }, REPAIR_LIMIT);
  const restored = (what: string) =>
    until(`${what} to be back`, async () => {
      assert.deepEqual(await state(host), wanted);
      return true;
    }, REPAIR_LIMIT);
  return { host, wanted, restored };
}

labTest("entries deleted or changed by hand are back within 2 s", {}, async (lab) => {
  const { host, wanted, restored } = await start(lab);
  const [destination] = wanted.routes[0]!.split(" ");
  const [neighbour] = wanted.neighbours[0]!.split(" ");
  const [mac] = wanted.fdb[0]!.split(" ");
  await host.ip(`route del ${destination}`);
  await restored("the route");
  await host.ip(`neigh del ${neighbour} dev ${DEVICE}`);
  await restored("the neighbour");
  await host.exec(["bridge", "fdb", "del", mac!, "dev", DEVICE]);
  await restored("the fdb entry");
  await host.ip(`neigh replace ${neighbour} lladdr 02:00:00:00:00:01 nud permanent dev ${DEVICE}`);
  await restored("the neighbour's MAC");
  await host.ip(`route flush dev ${DEVICE}`, `neigh flush dev ${DEVICE} nud permanent`);
  await restored("everything");
  await lab.pingAll(1000);
});

labTest("a deleted device is back within 2 s with its MAC and all entries", {}, async (lab) => {
  const { host, restored } = await start(lab);
  const mac = await macOf(host);
  await host.ip(`link del ${DEVICE}`);
  await restored("the device");
  assert.equal(await macOf(host), mac);
  await lab.pingAll(1000);
});

labTest("a device that is down or without its address is corrected within 2 s", {}, async (lab) => {
  const { host, restored } = await start(lab);
  await host.ip(`link set ${DEVICE} down`);
  await restored("the device");
  await host.ip(`address flush dev ${DEVICE}`);
  await until("the address", async () => {
    const { stdout } = await host.exec(["ip", "-4", "-o", "address", "show", "dev", DEVICE]);
    return / inet 10\.5\.\d+\.0\/32 /.test(stdout);
  }, REPAIR_LIMIT);
  await restored("the routes");
  await lab.pingAll(1000);
});

labTest("stale entries of an earlier run go at the start, foreign ones stay", {
  hosts: 2,
  config: apartFromPeers(),
}, async (lab) => {
  const { host, restored } = await start(lab);
  await host.daemon.kill();
  const stale = "10.5.0.0";
  await host.ip(
    `route add ${stale}/24 via ${stale} dev ${DEVICE} onlink`,
    `neigh add ${stale} lladdr 02:00:00:00:00:09 nud permanent dev ${DEVICE}`,
    // Foreign: on a device that isn't ours, inside the network and outside.
    "route add 10.5.1.0/24 via 172.30.0.254 dev eth0 proto static",
    "route add 192.0.2.0/24 via 172.30.0.254 dev eth0",
    "neigh add 172.30.0.200 lladdr 02:00:00:00:00:0a nud permanent dev eth0",
  );
  await host.exec(["bridge", "fdb", "add", "02:00:00:00:00:09", "dst", "172.30.0.77", "dev", DEVICE]);
  await host.startReady();
  await restored("the state without stale entries");
  const routes = (await host.routes("-4", "eth0")).join("\n");
  assert.match(routes, /^10\.5\.1\.0\/24 via 172\.30\.0\.254 proto static/m);
  assert.match(routes, /^192\.0\.2\.0\/24 via 172\.30\.0\.254/m);
  assert.match((await host.neighbours("eth0")).join("\n"), /172\.30\.0\.200/);
});

labTest("a peer that left while the daemon was away is removed at the start", {
  hosts: 1,
  config: apartFromPeers(),
}, async (lab) => {
  const host = lab.host(1);
  await putLease(lab, "10.5.0.0-24", vxlanValue("172.30.0.77", "3e:4b:bc:75:ce:43"));
  await putLease(lab, "10.5.1.0-24", vxlanValue("172.30.0.78", "3e:4b:bc:75:ce:44"));
  await host.startReady();
  const routes = async () => (await host.routes("-4", DEVICE)).map((line) => line.split(" ")[0]).sort();
  await until("both routes", async () => (await routes()).length === 2, 2000);
  await host.daemon.stop();
  await deleteLease(lab, "10.5.0.0-24");
  await host.startReady();
  await until("only the live peer's route", async () => (await routes()).join() === "10.5.1.0/24", 2000);
  assert.deepEqual(await host.neighbours(DEVICE), ["10.5.1.0 lladdr 3e:4b:bc:75:ce:44 PERMANENT"]);
});

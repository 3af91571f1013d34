/** One key in etcd must not decide where a host routes: refused leases on the real kernel, with every kind of backend. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { apartFromPeers, type Lab } from "../../scripts/lab/lab.ts";
import { deleteLease, leaseKey, putLease, vxlanValue } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

interface Refusal {
  readonly key: string;
  readonly reason: string;
}

async function refusals(host: Host): Promise<Refusal[]> {
  return JSON.parse(await host.fetchText("/status")).peers.refused;
}

async function untilRefused(host: Host, keys: readonly string[]): Promise<Refusal[]> {
  let found: Refusal[] = [];
  await until(`${host.name} to refuse ${keys}`, async () => {
    found = await refusals(host);
    assert.deepEqual(found.map(({ key }) => key).sort(), [...keys].sort());
    return true;
  }, 5000);
  return found;
}

/** What a peer of the backend would publish, at an address that host-gw can reach. */
function valueFor(backend: string, lab: Lab): string {
  const address = lab.host(2).addresses.ipv4!;
  if (backend === "vxlan") return vxlanValue(address, "3e:4b:bc:75:ce:01");
  return `{"PublicIP":"${address}","PublicIPv6":null${
    backend === "udp" ? "" : `,"BackendType":"${backend}"`
  }}`;
}

for (const type of ["vxlan", "host-gw", "udp"]) {
  const backend: JsonObject = { Type: type };

  labTest(
    `${type}: leases outside the network or overlapping a subnet change no route and are named`,
    { hosts: 2, config: { Network: "10.5.0.0/16", Backend: backend } },
    async (lab) => {
      const [file] = await lab.startAll();
      await lab.connect();
      await lab.pingAll();
      const [first, second] = [lab.host(1), lab.host(2)];
      const before = (await first.routes()).sort();
      const own = leaseKey(file!.subnets.ipv4!);
      const half = own.replace(/-24$/, "-25");
      const other = leaseKey((await second.waitReady()).subnets.ipv4!).replace(/-24$/, "-25");
      const bad = ["172.30.0.0-16", "128.0.0.0-1", "0.0.0.0-1", half, other];
      for (const key of bad) await putLease(lab, key, valueFor(type, lab));
      const found = await untilRefused(first, bad);
      assert.deepEqual((await first.routes()).sort(), before, "no route changed");
      for (const { key, reason } of found) {
        assert.match(reason, /outside the network|overlaps/);
        assert.ok(first.daemon.log.includes(`peer "${key}" refused`), `the log names ${key}`);
      }
      assert.match(await first.fetchText("/metrics"), /^flannel_refused_leases 5$/m);
      await lab.pingAll(0);
      for (const key of bad) await deleteLease(lab, key);
      await untilRefused(first, []);
    },
  );
}

labTest(
  "of two overlapping leases every host takes the older one, after a restart too, and the other when it goes",
  { hosts: 2, config: apartFromPeers() },
  async (lab) => {
    await lab.startAll();
    const free = [77, 78].map((n) => `10.5.${n}.0-24`);
    const [older, younger] = [free[0]!, "10.5.77.128-25"];
    await putLease(lab, older, vxlanValue("172.30.0.101", "3e:4b:bc:75:ce:01"));
    await putLease(lab, younger, vxlanValue("172.30.0.102", "3e:4b:bc:75:ce:02"));
    await lab.host(2).daemon.stop();
    await lab.host(2).startReady();
    const routes = async (host: Host) =>
      (await host.routes("-4", "flannel.1")).map((line) => line.split(" ")[0]).filter((to) =>
        to?.includes(".77.")
      );
    for (const host of lab.hosts) {
      await untilRefused(host, [younger]);
      await until("its route", async () => (await routes(host)).join() === "10.5.77.0/24", 5000);
    }
    await deleteLease(lab, older);
    for (const host of lab.hosts) {
      await untilRefused(host, []);
      await until("its route", async () => (await routes(host)).join() === "10.5.77.128/25", 5000);
    }
  },
);

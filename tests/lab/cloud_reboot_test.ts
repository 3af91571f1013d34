/** A host that reboots while its cloud is silent: what was in /run is gone, the route in the cloud's table isn't. */
import assert from "node:assert/strict";
import { CloudLab, instanceId } from "./cloud_lab.ts";
import { labTest } from "./lab_test_case.ts";
import type { CloudName } from "../fakes/lab_cloud.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { leaseKey } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

const CLOUDS: readonly CloudName[] = ["aws-vpc", "tencent-vpc"];

for (const cloud of CLOUDS) {
  const config = { Network: "10.5.0.0/16", Backend: { Type: cloud } };

  labTest(`${cloud}: a reboot with a silent cloud delays nothing, and cleanup after one finds the route`, {
    hosts: 2,
    config,
  }, async (lab) => {
    await using fake = await CloudLab.open(lab, cloud);
    for (const host of lab.hosts) fake.start(host);
    const [before] = await Promise.all(lab.hosts.map((host) => host.waitReady()));
    await lab.connect();
    const [a, b] = [lab.host(1), lab.host(2)];
    const route = `${leaseKey(before!.subnets.ipv4!).replace("-", "/")} ${instanceId(a)}`;
    await a.daemon.stop();
    for (const file of ["subnet.env", "subnet.lease"]) {
      await Deno.remove(`${a.folder}/${file}`).catch(() => {});
    }
    await fake.ask({ do: "down" });
    const began = performance.now();
    const after = await fake.startReady(a);
    assert.ok(performance.now() - began < 10_000);
    assert.deepEqual(after.subnets, before!.subnets);
    await lab.pingAll();
    // The route is lost meanwhile: once the cloud answers, the host restores it.
    await fake.ask({ do: "addRoute", args: [route.split(" ")[0]!, instanceId(b)] });
    await fake.ask({ do: "up" });
    await fake.untilRoutes("the route to be restored", (routes) => routes.includes(route), 40);
    await until("host 1 to be ready", async () => await a.probe("/readyz") === 200, 20_000);
    // Another reboot, and the host goes for good: neither subnet file nor note says what its subnet was.
    await a.daemon.stop();
    await Deno.remove(a.folder, { recursive: true });
    const env = Object.entries(fake.env).map(([key, value]) => `${key}=${value}`);
    await a.exec([
      "env",
      ...env,
      `STATE_DIRECTORY=${a.folder}/state`,
      ...flanneldCommand(),
      "cleanup",
      ...a.commonArgs,
    ]);
    const { routes } = await fake.show();
    assert.deepEqual(routes.filter((one) => one.endsWith(instanceId(a))), []);
    assert.equal(routes.length, 1);
  });
}

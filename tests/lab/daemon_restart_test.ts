/** Restarts and ends: traffic must not notice them (flannel-io/flannel #850, #1836). */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import { labTest } from "./lab_test_case.ts";
import { deleteLease, leaseKey } from "../../scripts/lab/leases.ts";
import { ping } from "../../scripts/lab/measure.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import { assertOrderly } from "./orderly_end.ts";

const BACKENDS: readonly JsonObject[] = [{ Type: "vxlan" }, { Type: "host-gw" }];

for (const backend of BACKENDS) {
  const options = { hosts: 2, config: { Network: "10.5.0.0/16", Backend: backend } };

  labTest(
    `${backend.Type}: kill -9 and restart while a ping every 10 ms loses nothing`,
    options,
    async (lab) => {
      const files = await lab.startAll();
      const [first, second] = await lab.connect();
      await lab.pingAll();
      const pings = ping(first!, second!.addresses.ipv4!, { count: 400, interval: 10 });
      for (const host of lab.hosts) {
        await delay(100);
        await host.daemon.kill();
        await delay(100);
        const again = await host.startReady();
        assert.equal(again.text, files[host.number - 1]!.text, "the subnet file stays the same");
      }
      const { sent, received } = await pings;
      assert.equal(received, sent);
    },
  );

  labTest(
    `${backend.Type}: SIGTERM leaves the data plane and ends within 1 s with status 0`,
    options,
    async (lab) => {
      await lab.startAll();
      const [first, second] = await lab.connect();
      await lab.pingAll();
      const pings = ping(first!, second!.addresses.ipv4!, { count: 200, interval: 10 });
      for (const host of lab.hosts) {
        assertOrderly(host.daemon, await host.daemon.stop());
      }
      const { sent, received } = await pings;
      assert.equal(received, sent);
      await lab.pingAll(0);
    },
  );
}

labTest(
  "a lost lease ends the daemon with a status that is not 0, and names the lease",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    const key = leaseKey((await host.startReady()).subnets.ipv4!);
    await deleteLease(lab, key);
    const { daemon } = host;
    await until("the daemon to end", () => !daemon.isRunning, 5000);
    const { code } = await daemon.ended();
    assert.notEqual(code, 0);
    assert.ok(daemon.log.includes(key), daemon.log);
    assert.doesNotMatch(daemon.log, /^\s+at /m, "no stack trace");
  },
);

labTest("a host that leaves is forgotten, and comes back with its subnet", {}, async (lab) => {
  const files = await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  const [stays, leaves] = [lab.host(1), lab.host(2)];
  const subnet = files[1]!.subnets.ipv4!;
  await leaves.daemon.stop();
  await deleteLease(lab, leaseKey(subnet));
  const routeTo = async () =>
    (await stays.routes("-4", "flannel.1")).some((line) => line.startsWith(subnet.replace(/1\/24$/, "0/24")));
  await until("its route to go", async () => !await routeTo(), 2000);
  const again = await leaves.startReady();
  assert.equal(again.subnets.ipv4, subnet);
  await lab.pingAll();
});

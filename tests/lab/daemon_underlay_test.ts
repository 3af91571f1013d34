/** The host's own network changes under the daemon (flannel-io/flannel #1070, #869, #1052, k3s #12436). */
import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/config/types.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { readLeases } from "../../scripts/lab/leases.ts";
import { until } from "../../scripts/lab/process.ts";

/** How fast the network must work again, in milliseconds. */
const HEAL_LIMIT = 10_000;

const GATEWAY = "172.30.0.254";

async function start(lab: Lab): Promise<string> {
  const [file] = await lab.startAll();
  await lab.connect();
  await lab.pingAll();
  return file!.text;
}

/** As a DHCP client would set it. */
function configure(host: Host, address: string): Promise<void> {
  return host.ip(
    "link set eth0 up",
    `address add ${address}/24 dev eth0`,
    `route add default via ${GATEWAY}`,
  );
}

async function assertUnchanged(lab: Lab, subnetFile: string): Promise<void> {
  assert.ok(lab.hosts.every((host) => host.daemon.isRunning), lab.logs());
  assert.equal(await Deno.readTextFile(lab.host(1).subnetFile), subnetFile);
}

const BACKENDS: readonly JsonObject[] = [{ Type: "vxlan" }, { Type: "host-gw" }];

for (const backend of BACKENDS) {
  const options = { hosts: 2, config: { Network: "10.5.0.0/16", Backend: backend } };

  labTest(`${backend.Type}: the interface goes down and up`, options, async (lab) => {
    const file = await start(lab);
    const host = lab.host(1);
    await host.ip("link set eth0 down", "link set eth0 up", `route add default via ${GATEWAY}`);
    await lab.pingAll(HEAL_LIMIT);
    await assertUnchanged(lab, file);
  });

  labTest(
    `${backend.Type}: the interface is deleted and made again with another index`,
    options,
    async (lab) => {
      const file = await start(lab);
      const host = lab.host(1);
      const leases = await readLeases(lab);
      await host.ip("link delete eth0");
      // The old index stays taken for this long at least: the new one is another.
      await host.ip("link add taken type bridge");
      await lab.switch.ip(
        `link add p1 type veth peer name eth0 netns ${host.name}`,
        "link set p1 master br0 up",
      );
      await configure(host, host.addresses.ipv4!);
      await lab.pingAll(HEAL_LIMIT);
      await assertUnchanged(lab, file);
      assert.deepEqual(await readLeases(lab), leases, "leases with their VTEPs' MACs stay as they were");
    },
  );

  labTest(
    `${backend.Type}: the host's address changes: same subnet, and its peers follow`,
    options,
    async (lab) => {
      const file = await start(lab);
      const host = lab.host(1);
      await host.ip("address flush dev eth0");
      await configure(host, "172.30.0.51");
      await until("the new address in the lease", async () => {
        const values = [...(await readLeases(lab)).values()];
        return values.length === 2 && values.some((value) => value.includes(`"PublicIP":"172.30.0.51"`));
      }, HEAL_LIMIT);
      await lab.pingAll(HEAL_LIMIT);
      await assertUnchanged(lab, file);
    },
  );
}

// A daemon that started while its host got another address ended at once.
labTest("the start waits for an interface that is away for a moment, and says so; without one it ends", {
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  await host.ip("route del default");
  const daemon = host.start();
  const warning = /warning interface: Waiting up to 5 s for an interface: No interface/;
  await until("the warning", () => Promise.resolve(daemon.count(warning) > 0), HEAL_LIMIT);
  await host.ip(`route add default via ${GATEWAY}`);
  await host.waitReady();
  await daemon.stop();
  await host.ip("route del default");
  const { code } = await host.start().ended();
  assert.equal(code, 1);
  assert.match(host.daemon.log, /can't go on: No interface with an address for IPv4 found/);
});

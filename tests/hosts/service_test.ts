/** The package and its unit, run by a real systemd. */
import assert from "node:assert/strict";
import { until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { hostsTest } from "./hosts_test_case.ts";

/** The first usable address of the host's subnet. */
async function subnetOf(host: SystemdHost): Promise<string> {
  return await host.sh(". /run/flannel/subnet.env; echo $FLANNEL_SUBNET");
}

/** Waits until host `from` reaches the other's VTEP. */
async function untilReached(from: SystemdHost, to: SystemdHost): Promise<void> {
  const address = (await subnetOf(to)).replace(/\.1\/\d+$/, ".0");
  const ping = ["ping", "-n", "-c", "1", "-W", "1", address];
  await until(
    `an answer from ${address}`,
    async () => (await from.exec(ping, { mayFail: true })).code === 0,
    5_000,
  );
}

hostsTest(
  "service: the package's unit starts when the network is there, and survives kill and reboot",
  async (hosts) => {
    const { lab, one, two, both } = hosts;
    // Installing starts nothing: Docker would wait for a network that nobody configured.
    assert.equal(await one.property("flanneld", "ActiveState"), "inactive");
    assert.equal(await one.sh("dpkg --verify flanneld"), "??5?????? c /etc/default/flanneld");

    await Promise.all(both.map((host) => host.sh("systemctl enable --now flanneld")));
    // Type=notify: started means that the subnet file is there.
    const subnets = await Promise.all(both.map(subnetOf));
    for (const subnet of subnets) assert.match(subnet, /^10\.5\.\d+\.1\/24$/);
    await untilReached(one, two);
    assert.match(await one.journal("flanneld"), /In the network/);

    // The unit's hardening is in force.
    const pid = await one.property("flanneld", "MainPID");
    const status = await one.sh(`cat /proc/${pid}/status`);
    assert.match(status, /^NoNewPrivs:\s*1$/m);
    assert.match(status, /^Seccomp:\s*2$/m);
    assert.match(status, /^CapBnd:\s*0000000000003404$/m);

    await one.sh(`kill -9 ${pid}`);
    await until(
      "systemd to start it again",
      async () => await one.property("flanneld", "NRestarts") === "1",
      10_000,
    );
    await until(
      "it to be ready",
      async () => await one.property("flanneld", "ActiveState") === "active",
      10_000,
    );
    assert.equal(await subnetOf(one), subnets[0]);

    await two.reboot();
    assert.equal(await two.property("flanneld", "ActiveState"), "active");
    assert.equal(await subnetOf(two), subnets[1]);
    await untilReached(one, two);
    await untilReached(two, one);
    assert.equal(
      (await lab.etcd.ctl("get", "--prefix", "--keys-only", "/coreos.com/network/subnets/")).match(/\S+/g)
        ?.length,
      2,
    );

    await two.sh("dpkg --purge flanneld");
    assert.equal(await two.sh("systemctl is-active flanneld || true"), "inactive");
  },
);

/** WireGuard in user space under the package's unit: the program outlives the daemon, and the key a reboot. */
import assert from "node:assert/strict";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { parsePing } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";
import { hostsTest } from "./hosts_test_case.ts";

/** The address of a host's device. */
async function deviceAddress(host: SystemdHost): Promise<string> {
  return (await host.sh(". /run/flannel/subnet.env; echo $FLANNEL_SUBNET")).replace(/\.1\/\d+$/, ".0");
}

async function untilReached(from: SystemdHost, address: string): Promise<void> {
  const ping = ["ping", "-n", "-c", "1", "-W", "1", address];
  await until(
    `an answer from ${address}`,
    async () => (await from.exec(ping, { mayFail: true })).code === 0,
    10_000,
  );
}

const PROGRAM = "pgrep -x wireguard-go";

// With systemd's own KillMode, control-group, a stop of the unit ended the program, and with it all tunnels.
hostsTest(
  "wireguard: the program outlives restart, stop and kill of the unit without a lost packet",
  async (hosts) => {
    const { lab, one, two, both } = hosts;
    await lab.store.writeConfig(JSON.stringify(networkConfig(["ipv4"], { Type: "wireguard" })));
    await Promise.all(both.map((host) => host.sh("systemctl enable --now flanneld")));
    const address = await deviceAddress(two);
    await untilReached(one, address);
    const program = await one.sh(PROGRAM);
    assert.match(program, /^\d+$/);

    const pinging = one.exec(["ping", "-n", "-q", "-i", "0.02", "-c", "500", "-W", "2", address], {
      mayFail: true,
    });
    await one.sh("systemctl restart flanneld");
    await one.sh("kill -9 $(systemctl show --value -p MainPID flanneld)");
    await until("a restart", async () => await one.property("flanneld", "NRestarts") === "1", 10_000);
    await until("readiness", async () => await one.property("flanneld", "ActiveState") === "active", 10_000);
    await one.sh("systemctl stop flanneld");
    const { stdout, stderr } = await pinging;
    const { sent, received } = parsePing(stdout, stderr);
    assert.equal(sent - received, 0, `${sent - received} of ${sent} lost`);
    assert.equal(await one.sh(PROGRAM), program);
    await one.sh("systemctl start flanneld");
    assert.equal(await one.sh(PROGRAM), program, "it is adopted");

    const key = await one.sh("wg show flannel-wg public-key");
    await one.host.ip("link delete flannel-wg");
    await one.reboot();
    assert.equal(await one.sh("wg show flannel-wg public-key"), key, "the same key after a reboot");
    await untilReached(one, address);

    await one.sh(`systemctl stop flanneld; flanneld cleanup ${lab.store.args.join(" ")}`);
    assert.equal(
      await one.sh(`${PROGRAM} || true; ls -d /run/wireguard/* /run/flannel/wgkey 2>/dev/null || true`),
      "",
    );
  },
);

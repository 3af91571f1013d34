/** One daemon for one set of files. */
import assert from "node:assert/strict";
import { Daemon, flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

/** A network of running hosts. @returns Host 1 and its daemon. */
async function startFirst(lab: Lab): Promise<{ host: Host; first: Daemon }> {
  await lab.startAll();
  await lab.connect();
  return { host: lab.host(1), first: lab.host(1).daemon };
}

// The second one took the status socket away, and cleanup then removed the first one's lease, device and file.
labTest(
  "a second daemon on the same files ends, names the first and disturbs nothing",
  { hosts: 2 },
  async (lab) => {
    const { host, first } = await startFirst(lab);
    const second = host.start();
    const { code } = await second.ended();
    assert.equal(code, 1);
    assert.match(second.log, new RegExp(`flanneld \\(process ${first.pid}\\) uses the same files`));
    const status = await host.command(
      ["status", "-json", `-subnet-file=${host.subnetFile}`],
      flanneldCommand(),
    );
    assert.equal(JSON.parse(status.stdout).ready, true, status.stderr);
    const cleanup = await host.exec([...flanneldCommand(), "cleanup", ...host.commonArgs], { mayFail: true });
    assert.equal(cleanup.code, 1);
    assert.match(cleanup.stderr, new RegExp(`flanneld \\(process ${first.pid}\\) is running`));
    await lab.pingAll();
  },
);

// Both kept the same device and lease: each removed what the other one made, and neither said why.
labTest(
  "a second daemon on the same network with other files ends and names the first; another network is no matter",
  { hosts: 2 },
  async (lab) => {
    const { host, first } = await startFirst(lab);
    const others = [
      ...host.commonArgs.filter((arg) => !arg.startsWith("-subnet-file")),
      `-subnet-file=${lab.folder}/other/subnet.env`,
    ];
    const command = (...words: string[]) => host.exec([...flanneldCommand(), ...words], { mayFail: true });
    const second = await command(...others);
    assert.equal(second.code, 1);
    assert.match(
      second.stderr,
      new RegExp(`flanneld \\(process ${first.pid}\\) runs network /coreos.com/network on this host already`),
    );
    const cleanup = await command("cleanup", ...others);
    assert.equal(cleanup.code, 1);
    assert.match(cleanup.stderr, new RegExp(`flanneld \\(process ${first.pid}\\) is running`));
    const elsewhere = new Daemon(host, [...others, "-etcd-prefix=/blue/network"]);
    await until(
      "the other network's daemon to wait for its config",
      () => Promise.resolve(/no network config/.test(elsewhere.log)),
      10_000,
    );
    assert.equal((await elsewhere.stop()).code, 0);
    assert.ok(first.isRunning);
    await lab.pingAll();
  },
);

labTest(
  "a daemon takes over at once from one that was killed, and from one that still ends",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    await host.daemon.kill();
    await host.startReady();
    const before = host.daemon;
    const ended = before.stop();
    await host.startReady();
    assert.equal((await ended).code, 0);
  },
);

labTest("cleanup refuses while a daemon waits for its config", { hosts: 1, config: null }, async (lab) => {
  const host = lab.host(1);
  const daemon = host.start();
  await until("the daemon to wait", () => Promise.resolve(/no network config/.test(daemon.log)), 10_000);
  const { code, stderr } = await host.exec([...flanneldCommand(), "cleanup", ...host.commonArgs], {
    mayFail: true,
  });
  assert.equal(code, 1);
  assert.match(stderr, /flanneld \(process \d+\) is running and would recreate everything: stop it first/);
  assert.equal((await daemon.stop()).code, 0);
});

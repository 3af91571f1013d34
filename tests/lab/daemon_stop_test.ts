/** SIGTERM ends the daemon within a second, whatever it waits for. */
import assert from "node:assert/strict";
import type { Daemon } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { delay, until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";
import { assertOrderly } from "./orderly_end.ts";

/** Takes connections, keeps them, says nothing. */
const SILENT =
  'const held = []; for await (const c of Deno.listen({ hostname: "127.0.0.1", port: 2379 })) held.push(c);';

async function waitFor(daemon: Daemon, pattern: RegExp): Promise<void> {
  await until(`${pattern} in the log`, () => Promise.resolve(daemon.count(pattern) > 0), 15_000);
}

/** A folder with firewall programs that never end, nor do their children. */
async function hangingPrograms(lab: Lab): Promise<string> {
  const folder = `${lab.folder}/bin`;
  await Deno.mkdir(folder);
  const script = "#!/bin/sh\nsleep 999 &\nwait\n";
  for (const name of ["nft", "iptables", "iptables-nft", "iptables-legacy"]) {
    for (const action of ["", "-save", "-restore"]) {
      await Deno.writeTextFile(`${folder}/${name}${action}`, script, { mode: 0o755 });
    }
  }
  return folder;
}

async function programs(host: Host): Promise<string> {
  const { stdout } = await host.exec(["sh", "-c", `ip netns pids ${host.name} | xargs -r ps -o args= -p`], {
    mayFail: true,
  });
  return stdout.split("\n").filter((line) => /sleep 999|nft|iptables/.test(line) && !/xargs|sh -c/.test(line))
    .join("\n");
}

labTest("stops in a second: no config yet", { hosts: 1, config: null }, async (lab) => {
  const daemon = lab.host(1).start();
  await waitFor(daemon, /no network config/);
  assertOrderly(daemon, await daemon.stop());
});

labTest("stops in a second: an etcd that takes connections and says nothing", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  const silent = host.spawn([Deno.execPath(), "eval", SILENT]);
  const daemon = host.start({ args: ["-etcd-endpoints=http://127.0.0.1:2379"] });
  await waitFor(daemon, /flanneld starts/);
  await delay(700);
  assertOrderly(daemon, await daemon.stop());
  silent.kill("SIGKILL");
  await Promise.all([silent.stdout.cancel(), silent.stderr.cancel()]);
});

labTest("stops in a second: an etcd whose packets go nowhere", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  await host.ip(
    "route add 192.0.2.0/24 via 172.30.0.253 dev eth0",
    "neigh add 172.30.0.253 lladdr 02:00:00:00:00:01 dev eth0",
  );
  const daemon = host.start({ args: ["-etcd-endpoints=http://192.0.2.1:2379"] });
  await waitFor(daemon, /flanneld starts/);
  await delay(700);
  assertOrderly(daemon, await daemon.stop());
});

labTest("stops in a second: an etcd that stops between config and lease", { hosts: 1 }, async (lab) => {
  const daemon = lab.host(1).start();
  await waitFor(daemon, /Interface eth0: taken/);
  lab.etcd.pause();
  await delay(300);
  assertOrderly(daemon, await daemon.stop());
  lab.etcd.resume();
});

labTest("stops in a second: a cloud that doesn't answer", {
  hosts: 1,
  config: { Network: "10.5.0.0/16", Backend: { Type: "aws-vpc" } },
}, async (lab) => {
  const host = lab.host(1);
  await host.ip(
    "neigh add 172.30.0.253 lladdr 02:00:00:00:00:01 dev eth0",
    "route add 169.254.169.254/32 via 172.30.0.253 dev eth0",
  );
  const daemon = host.start();
  await waitFor(daemon, /Interface eth0: taken/);
  await delay(500);
  assertOrderly(daemon, await daemon.stop());
});

for (
  const [what, config] of [
    ["rules", { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } }],
    ["peer filter", { Network: "10.5.0.0/16", PeerFilter: true, Backend: { Type: "vxlan" } }],
  ] as const
) {
  labTest(`stops in a second, with all programs: a firewall program that hangs (${what})`, {
    hosts: 1,
    config,
  }, async (lab) => {
    const host = lab.host(1);
    const folder = await hangingPrograms(lab);
    const daemon = host.start({ args: ["-ip-masq"], env: { PATH: `${folder}:${Deno.env.get("PATH")}` } });
    await until("the program to hang", async () => /sleep 999/.test(await programs(host)), 15_000);
    assertOrderly(daemon, await daemon.stop());
    assert.equal(await programs(host), "");
  });
}

labTest("stops in a second: another daemon has its files", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const daemon = host.start();
  await waitFor(daemon, /flanneld starts/);
  await delay(200);
  assertOrderly(daemon, await daemon.stop());
});

labTest("a second signal ends the daemon at once", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  const folder = await hangingPrograms(lab);
  const daemon = host.start({ args: ["-ip-masq"], env: { PATH: `${folder}:${Deno.env.get("PATH")}` } });
  await until("the program to hang", async () => /sleep 999/.test(await programs(host)), 15_000);
  const first = daemon.stop();
  await waitFor(daemon, /Got SIGTERM/);
  const second = await daemon.stop();
  await first;
  assert.equal(second.code, 1, daemon.log);
  assert.doesNotMatch(daemon.log, /parts still at work/, "the second signal doesn't wait");
  // Killed with the daemon; who takes over its children collects them a moment later.
  await until("no program to be left", async () => await programs(host) === "", 5_000);
});

labTest("stops in a second, at any moment of the start", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  for (let wait = 60; wait < 500; wait += 20) {
    const daemon = host.start();
    await delay(wait);
    const end = await daemon.stop();
    // Before the program takes signals the kernel ends it.
    if (end.code === 143) assert.equal(daemon.count(/Got SIGTERM/), 0);
    else assertOrderly(daemon, end);
  }
});

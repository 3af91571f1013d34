/** The daemon's files: deleted under it, and what status says before there are any. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

async function status(host: Host): Promise<Record<string, unknown>> {
  const words = ["status", "-json", `-subnet-file=${host.subnetFile}`];
  const { stdout, stderr } = await host.command(words, flanneldCommand());
  assert.notEqual(stdout, "", stderr);
  return JSON.parse(stdout);
}

// Container runtimes failed from then on, until somebody restarted flanneld.
labTest("files that are deleted at run time come back", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  const before = await Deno.readTextFile(host.subnetFile);
  await Deno.remove(host.subnetFile);
  await until("the subnet file", () => Deno.stat(host.subnetFile), 5_000);
  assert.equal(await Deno.readTextFile(host.subnetFile), before);
  assert.equal(host.daemon.count(/is gone, writing it again/), 1);
  await Deno.remove(host.folder, { recursive: true });
  await until("the subnet file", () => Deno.stat(host.subnetFile), 5_000);
  await until("flanneld status", async () => (await status(host))["ready"] === true, 10_000);
  await until("the lease file", () => Deno.stat(host.subnetFile.replace(".env", ".lease")), 5_000);
});

labTest(
  "a subnet file that cannot be written again: not ready, with the reason",
  { hosts: 1 },
  async (lab) => {
    const host = lab.host(1);
    await host.startReady();
    await Deno.remove(host.folder, { recursive: true });
    await Deno.writeTextFile(host.folder, "in the way");
    await until("not ready", async () => await host.probe("/readyz") === 503, 10_000);
    assert.match(await host.fetchText("/readyz"), /subnet file: Cannot write subnet file /);
    await Deno.remove(host.folder);
    await until("ready", async () => await host.probe("/readyz") === 200, 10_000);
    assert.match(await Deno.readTextFile(host.subnetFile), /FLANNEL_SUBNET=/);
  },
);

labTest("status says what a daemon waits for", { hosts: 1, config: null }, async (lab) => {
  const host = lab.host(1);
  const daemon = host.start();
  await until("the wait", () => Promise.resolve(daemon.count(/no network config/) > 0), 10_000);
  const waiting = await status(host);
  assert.equal(waiting["ready"], false);
  assert.match(String(waiting["notReady"]), /config: There is no network config yet/);
});

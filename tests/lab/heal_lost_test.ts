/** Notifications that the kernel drops (ENOBUFS): the daemon finds the changes all the same. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { until } from "../../scripts/lab/process.ts";
import { DUAL, firstPeer, HEAL_LIMIT, startNetwork, untilOverlay } from "./heal_network.ts";

/** Routes whose notifications fill the daemon's buffer: it takes some 20,000. */
const BURST = 30_000;

async function overruns(host: Host): Promise<number> {
  const text = await host.fetchText("/metrics");
  return Number(/^flannel_netlink_overruns_total\S* (\d+)$/m.exec(text)?.[1] ?? 0);
}

labTest("a burst of foreign routes swallows the news of ours: healed within 2 s", {
  families: DUAL.families,
  hosts: 2,
}, async (lab) => {
  const wanted = (await startNetwork(lab)).get(lab.host(1))!;
  const host = lab.host(1);
  assert.equal(await overruns(host), 0);
  const peers = [await firstPeer(host, "ipv4"), await firstPeer(host, "ipv6")];
  await host.ip("link add far type bridge", "link set far up");

  Deno.kill(host.daemon.pid, "SIGSTOP");
  const burst = Array.from({ length: BURST }, (_, i) => `route add 10.99.${i >> 8}.${i & 255}/32 dev far`);
  await host.ip(...burst);
  for (const { subnet, gateway, mac, device } of peers) {
    await host.ip(`route del ${subnet}`, `neigh del ${gateway} dev ${device}`);
    await host.exec(["bridge", "fdb", "del", mac, "dev", device]);
  }
  Deno.kill(host.daemon.pid, "SIGCONT");

  await untilOverlay(host, wanted, "what was deleted unheard to be back", HEAL_LIMIT);
  assert.ok(await overruns(host) > 0, "notifications were lost");
  await lab.pingAll(1_000);
});

labTest("notifications without an end: the daemon keeps up and heals within 2 s", {
  families: DUAL.families,
  hosts: 2,
}, async (lab) => {
  const wanted = (await startNetwork(lab)).get(lab.host(1))!;
  const host = lab.host(1);
  await host.ip("link add far type bridge", "link set far up");
  const flood = host.spawn([
    "sh",
    "-c",
    "while :; do ip link set far up; ip addr add 10.98.0.1/32 dev far; ip addr del 10.98.0.1/32 dev far; done",
  ]);
  try {
    for (const family of DUAL.families) {
      const { subnet, device } = await firstPeer(host, family);
      await host.ip(`route del ${subnet} dev ${device}`);
      await untilOverlay(host, wanted, `the ${family} route to be back amid the flood`, HEAL_LIMIT);
    }
    await until("flanneld to answer", async () => await host.probe("/readyz") === 200, HEAL_LIMIT);
  } finally {
    flood.kill("SIGKILL");
    await Promise.all([flood.status, flood.stdout.cancel(), flood.stderr.cancel()]);
  }
});

/** A wire that is slower than what containers send: packets are lost there, and nothing else suffers. */
import assert from "node:assert/strict";
import { IS_ROOT } from "./lab_test_case.ts";
import { until } from "../../scripts/lab/process.ts";
import { UdpRig } from "./udp_rig.ts";
import { tool } from "./udp_traffic.ts";

Deno.test({
  name:
    "on a slow wire packets are dropped and counted; receiving, new peers and the end don't wait (needs root)",
  ignore: !IS_ROOT,
  async fn() {
    await using rig = await UdpRig.make();
    const [one, two] = rig.hosts;
    const [daemon] = await rig.startBoth();
    // A queue that is longer than any send buffer, so that it's the socket that fills up.
    await one.namespace.exec("tc qdisc add dev eth0 root tbf rate 20mbit burst 32kb limit 100mb".split(" "));
    const flood = one.container.spawn(tool("flood", two.inner, "9", "1400"));
    try {
      await until(
        "the send buffer to be full",
        async () => (await daemon.status()).dropped["out_send_buffer_full"]! > 1000,
        10_000,
      );
      const received = (await daemon.status()).receivedPackets;
      // The queue is as long as 40 s: nothing may stand behind it.
      await two.container.exec(tool("forge", "any", "0", one.inner, "9", "00"));
      await until("the packet", async () => (await daemon.status()).receivedPackets > received, 5000);
      await daemon.peers([]);
      await until("no peer", async () => (await daemon.status()).dropped["out_no_route"]! > 0, 5000);
      await daemon.peers([rig.peer(two.n)]);
      const sent = (await daemon.status()).sentBytes;
      await until("the peer again", async () => (await daemon.status()).sentBytes > sent, 5000);
      const stopped = await daemon.stop();
      assert.ok(stopped < 2000, `the end took ${stopped.toFixed(0)} ms`);
    } finally {
      flood.kill("SIGKILL");
      await Promise.allSettled([flood.status, flood.stdout.cancel(), flood.stderr.cancel()]);
    }
  },
});

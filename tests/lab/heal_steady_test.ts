/** Where nothing changes nothing is written, and next to nothing is spent (flannel-io/flannel #2055, #1913). */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { delay } from "../../scripts/lab/process.ts";
import { DEVICES, DUAL, overlayOf, startNetwork } from "./heal_network.ts";
import { Watcher } from "./heal_watcher.ts";

/** How long is watched; LAB_STEADY_SECONDS=60 is an hour of the passes that come every minute. */
const SECONDS = Number(Deno.env.get("LAB_STEADY_SECONDS") || 8);
/** How often a full pass is provoked, in milliseconds. */
const PASS_EVERY = 1_000;
/** The daemon's share of one core that is allowed. */
const CPU_LIMIT = 0.02;

/** Processor time that a process has used, in seconds (proc_pid_stat(5): fields 14 and 15, 100 a second). */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Changes something of our devices that doesn't matter to us: the kernel reports it, and the daemon looks. */
async function provokePasses(host: Host, milliseconds: number): Promise<number> {
  const end = performance.now() + milliseconds;
  let count = 0;
  // An even number of times: the last one puts the kernel's default back.
  while (performance.now() < end || count % 2 === 1) {
    const length = 1000 + (count + 1) % 2;
    await host.ip(...Object.values(DEVICES).map((device) => `link set ${device} txqueuelen ${length}`));
    count++;
    await delay(PASS_EVERY);
  }
  return count;
}

/** The daemon's and the kernel's work of watching and writing, without what the provocations are. */
function isWrite(line: string): boolean {
  return /flannel|proto 70/.test(line) && !/^(\[LINK\])?\d+: flannel/.test(line);
}

for (const enableNFTables of [false, true]) {
  labTest(
    `${enableNFTables ? "nftables" : "iptables"}: ${SECONDS} s of passes write nothing and cost < 2 %`,
    {
      families: DUAL.families,
      hosts: 2,
      config: {
        Network: "10.5.0.0/16",
        EnableIPv6: true,
        IPv6Network: "fc00::/48",
        EnableNFTables: enableNFTables,
        Backend: { Type: "vxlan" },
      },
    },
    async (lab) => {
      await startNetwork(lab, ["-ip-masq", "-iptables-resync=1", "-ip-blackhole-route"]);
      const host = lab.host(1);
      const before = await overlayOf(host);
      const { mtime } = await Deno.stat(host.subnetFile);
      // What starting has left to do (just-in-time compilation, the first resyncs) isn't part of the steady state.
      await delay(1_000);
      const kernel = new Watcher(host, ["ip", "monitor", "link", "address", "route", "neigh", "nexthop"]);
      const firewall = new Watcher(host, ["nft", "monitor"]);
      const lines = host.daemon.log.split("\n").length;
      const [began, cpu] = [performance.now(), await cpuSeconds(host.daemon.pid)];
      const provoked = await provokePasses(host, SECONDS * 1000);
      const share = (await cpuSeconds(host.daemon.pid) - cpu) / ((performance.now() - began) / 1000);
      const [changes, rules] = [await kernel.lines(), await firewall.lines()];

      assert.ok(changes.length >= provoked, "the monitor has seen the provocations");
      assert.deepEqual(changes.filter(isWrite), [], "nothing of ours is written");
      assert.deepEqual(rules, [], "no rule is written");
      assert.deepEqual(await overlayOf(host), before);
      assert.deepEqual((await Deno.stat(host.subnetFile)).mtime, mtime, "the subnet file isn't written");
      assert.equal(host.daemon.log.split("\n").length, lines, "nothing is logged");
      assert.ok(share < CPU_LIMIT, `${(share * 100).toFixed(2)} % of a core`);
      if (Deno.env.has("LAB_STEADY_SECONDS")) {
        console.log(`${provoked} passes provoked, ${(share * 100).toFixed(2)} % of a core`);
      }
      await lab.pingAll(500);
    },
  );
}

/**
 * Keeps rules and a peer filter in this process's network namespace and says what that cost.
 *
 *     deno run -A firewall_steady.ts MODE SECONDS [FOLDER_WITH_PROGRAMS]
 *
 * @module
 */
import { memoryUsage } from "node:process";
import { type CommandRunner, systemRunner } from "../../lib/firewall/command.ts";
import { Firewall, type FirewallMode } from "../../lib/firewall/firewall.ts";
import { systemProbe } from "../../lib/firewall/host_probe.ts";
import { PeerFilter } from "../../lib/firewall/peer_filter.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { ipOf } from "../../lib/net/ip.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { NETWORK_ID, RULES } from "./firewall_lab.ts";

/** What a steady time came to. */
export interface SteadyReport {
  readonly description: string;
  /** Passes are this far apart, in milliseconds. */
  readonly interval: number;
  readonly seconds: number;
  /** Processor time of the process and of the programs that it ran, in seconds. */
  readonly cpuSeconds: number;
  /** Programs that were run. */
  readonly commands: number;
  /** Of these, programs that were given something to write. */
  readonly writes: number;
  /** Changes of nftables by whomever. */
  readonly changes: number;
  readonly heapMegabytes: number;
}

const INTERVAL = 200;
/** Clock ticks a second in /proc: USER_HZ is 100 on every Linux that Deno runs on. */
const TICKS = 100;

/** Processor time so far, that of finished children included, in seconds. */
function cpuSeconds(): number {
  const stat = Deno.readTextFileSync("/proc/self/stat");
  // After the name in parentheses: utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS;
}

async function main(mode: FirewallMode, seconds: number, path: string | undefined): Promise<SteadyReport> {
  let [commands, writes] = [0, 0];
  const inner = systemRunner(path === undefined ? {} : { path });
  const run: CommandRunner = (command, args, stdin) => {
    commands++;
    if (stdin !== undefined) writes++;
    return inner(command, args, stdin);
  };
  const probe = systemProbe();
  const common = { networkId: NETWORK_ID, log: silentLog, run, probe };
  using firewall = await Firewall.open({ mode, ...common });
  await firewall.apply(RULES);
  const hasNft = (await run("nft", ["--version"])).code === 0;
  const filter = hasNft
    ? await PeerFilter.open({ tunnel: { udpPorts: [8472], vni: 1 }, ...common })
    : undefined;
  await filter?.setPeers({
    addresses: Array.from({ length: 500 }, (_, i) => ipOf(IPV4, 0x0a000000n + BigInt(i))),
  });
  // The first pass finds out that what was just written is right.
  await firewall.resync();
  await filter?.resync();

  [commands, writes] = [0, 0];
  const before = { cpu: cpuSeconds(), time: performance.now(), generation: probe.generation() ?? 0 };
  const signal = AbortSignal.timeout(seconds * 1000);
  await Promise.all([firewall.keep(signal, INTERVAL), filter?.keep(signal, INTERVAL)]);
  return {
    description: firewall.description,
    interval: INTERVAL,
    seconds: (performance.now() - before.time) / 1000,
    cpuSeconds: cpuSeconds() - before.cpu,
    commands,
    writes,
    changes: (probe.generation() ?? 0) - before.generation,
    heapMegabytes: memoryUsage().heapUsed / 2 ** 20,
  };
}

if (import.meta.main) {
  const [mode, seconds, path] = Deno.args;
  console.log(JSON.stringify(await main(mode as FirewallMode, Number(seconds), path)));
}

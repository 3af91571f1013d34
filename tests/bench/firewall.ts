/**
 * What a check of the firewall costs: one pass over rules that are right, by way of keeping them and by how
 * many rules of others there are; and the peer filter's work with 20,000 peers.
 *
 *     deno run -A scripts/bench.ts firewall [--steady SECONDS]
 *
 * `--steady` also keeps rules for that long with a pass every 200 ms, and says what that cost. Needs root.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { systemRunner } from "../../lib/firewall/command.ts";
import { Firewall, type FirewallMode } from "../../lib/firewall/firewall.ts";
import { blindProbe, type HostProbe, systemProbe } from "../../lib/firewall/host_probe.ts";
import { PeerFilter } from "../../lib/firewall/peer_filter.ts";
import { ruleset } from "../../lib/firewall/rules.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { ipOf } from "../../lib/net/ip.ts";
import { silentLog } from "../../lib/observe/types.ts";
import { FirewallHost, folderWith, INPUT, NETWORK_ID, RULES } from "../lab/firewall_lab.ts";
import type { SteadyReport } from "../lab/firewall_steady.ts";

const SELF = fileURLToPath(import.meta.url);
const STEADY = fileURLToPath(new URL("../lab/firewall_steady.ts", import.meta.url));

/** A way of keeping rules: the mode, and the programs that the host has. */
interface Way {
  readonly name: string;
  readonly mode: FirewallMode;
  readonly programs: readonly string[];
}

const iptables = (variant: string) =>
  ["iptables", "ip6tables"].flatMap((name) => ["", "-save", "-restore"].map((what) => name + variant + what));

const WAYS: readonly Way[] = [
  { name: "nftables", mode: "nftables", programs: ["nft"] },
  { name: "nftables, iptables beside it", mode: "nftables", programs: ["nft", ...iptables("")] },
  { name: "iptables (nf_tables)", mode: "iptables", programs: iptables("") },
  { name: "iptables (legacy)", mode: "iptables", programs: iptables("-legacy") },
];

const FOREIGN_RULES = [0, 10_000] as const;
const PEERS = 20_000;

/** Median times in milliseconds. */
interface PassTimes {
  /** A pass when the kernel says that nftables hasn't changed. */
  readonly unchanged: number;
  /** A pass that reads everything. */
  readonly read: number;
  /** A pass that writes all rules. */
  readonly write: number;
}

/** Runs `work` so often and gives the median of its times, in milliseconds. */
async function median(times: number, work: (i: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const begin = performance.now();
    await work(i);
    taken.push(performance.now() - begin);
  }
  return taken.sort((a, b) => a - b)[times >> 1]!;
}

/** Measures in this process's namespace. */
async function measurePasses(mode: FirewallMode, path: string): Promise<PassTimes> {
  const run = systemRunner({ path });
  const open = (probe: HostProbe) =>
    Firewall.open({ mode, networkId: NETWORK_ID, log: silentLog, run, probe });
  using watching = await open(systemProbe());
  using reading = await open(blindProbe);
  await watching.apply(RULES);
  await reading.apply(RULES);
  await watching.resync();
  const other = ruleset({ ...INPUT, fullyRandom: false });
  return {
    unchanged: await median(200, () => watching.resync()),
    read: await median(20, () => reading.resync()),
    write: await median(10, (i) => reading.apply(i % 2 === 0 ? other : RULES)),
  };
}

/** Rules such as kube-proxy's: a chain for each service. */
function foreignRules(count: number): string {
  const chains: string[] = [], rules: string[] = [];
  for (let i = 0; i < count; i++) {
    const chain = `KUBE-SVC-${i}`;
    const address = `10.96.${(i >> 8) & 255}.${i & 255}/32`;
    chains.push(`:${chain} - [0:0]`);
    rules.push(
      `-A ${chain} -d ${address} -p tcp -m comment --comment "a service" -m tcp --dport 80 -j RETURN`,
    );
  }
  return ["*nat", ...chains, ...rules, "COMMIT", ""].join("\n");
}

async function benchPasses(): Promise<void> {
  console.log("| rules kept in | rules of others | nothing changed | everything read | everything written |");
  console.log("| --- | --- | --- | --- | --- |");
  for (const foreign of FOREIGN_RULES) {
    for (const way of WAYS) {
      await using host = await FirewallHost.make(await folderWith(way.programs));
      if (foreign > 0) {
        const restore = way.programs.includes("iptables-legacy")
          ? "iptables-legacy-restore"
          : "iptables-restore";
        await host.exec(`${restore} --noflush`, foreignRules(foreign));
      }
      const command = `${Deno.execPath()} run -A ${SELF} --inside ${way.mode} ${host.path}`;
      const times = JSON.parse(await host.exec(command)) as PassTimes;
      console.log(
        `| ${way.name} | ${foreign} | ${inUnits(times.unchanged)} | ${inUnits(times.read)} | ${
          inUnits(times.write)
        } |`,
      );
    }
  }
}

/** Milliseconds in a unit that fits. */
function inUnits(milliseconds: number): string {
  if (milliseconds < 1) return `${(milliseconds * 1000).toFixed(0)} µs`;
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

async function benchPeerFilter(): Promise<void> {
  await using host = await FirewallHost.make();
  const peers = Array.from(
    { length: PEERS },
    (_, i) => i % 2 === 0 ? ipOf(IPV4, 0x0a000000n + BigInt(i)) : ipOf(IPV6, (0xfd00n << 112n) + BigInt(i)),
  );
  const open = () =>
    PeerFilter.open({
      networkId: NETWORK_ID,
      tunnel: { udpPorts: [8472], vni: 1 },
      log: silentLog,
      run: host.run,
    });
  using filter = await open();
  const first = await median(1, () => filter.setPeers({ addresses: peers }));
  const one = await median(20, (i) => filter.setPeers({ addresses: peers.slice(i % 2) }));
  const hundred = await median(10, (i) => filter.setPeers({ addresses: peers.slice(i % 2 === 0 ? 100 : 0) }));
  const check = await median(20, () => filter.resync());
  using next = await open();
  const takeOver = await median(1, () => next.setPeers({ addresses: peers }));
  console.log(`\n| peer filter, ${PEERS} peers | time |\n| --- | --- |`);
  const rows = { "put in place": first, "taken over by a new process": takeOver, "1 peer more or less": one };
  for (
    const [name, time] of Object.entries({ ...rows, "100 peers more or less": hundred, "one check": check })
  ) {
    console.log(`| ${name} | ${inUnits(time)} |`);
  }
}

async function benchSteady(seconds: number): Promise<void> {
  console.log(
    `\n| ${seconds} s, a pass every 200 ms | of a core | programs run | changes of nftables | heap |`,
  );
  console.log("| --- | --- | --- | --- | --- |");
  const ways = WAYS.filter(({ name }) => !name.includes("beside"));
  const rows = await Promise.all(ways.map(async ({ name, mode, programs }) => {
    await using host = await FirewallHost.make(await folderWith(programs));
    const command = `${Deno.execPath()} run -A ${STEADY} ${mode} ${seconds} ${host.path}`;
    const report = JSON.parse(await host.exec(command)) as SteadyReport;
    const share = (100 * report.cpuSeconds / report.seconds).toFixed(2);
    const heap = `${report.heapMegabytes.toFixed(0)} MiB`;
    return `| ${name} | ${share} % | ${report.commands} | ${report.changes} | ${heap} |`;
  }));
  console.log(rows.join("\n"));
}

/** Prints its tables in Markdown. */
export async function main(args: readonly string[]): Promise<void> {
  const steady = args.indexOf("--steady");
  await benchPasses();
  await benchPeerFilter();
  if (steady >= 0) await benchSteady(Number(args[steady + 1] ?? 60));
}

if (import.meta.main) {
  if (Deno.args[0] === "--inside") {
    console.log(JSON.stringify(await measurePasses(Deno.args[1] as FirewallMode, Deno.args[2]!)));
  } else {
    await main(Deno.args);
  }
}

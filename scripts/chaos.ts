/**
 * A fault run: four hosts on one switch, one to three random faults at a time, checks after each round.
 *
 *     deno run -A scripts/chaos.ts [SECONDS] [SEED] [BACKEND] [-ipv6]
 *
 * The faults, their order, their hosts and their lengths follow from the seed. All of it is taken away at the end,
 * also when the run is killed.
 *
 * @module
 */
import { ChaosNetwork } from "./chaos/network.ts";
import { CHAOS_USAGE, type ChaosOptions, ChaosUsageError, parseChaosOptions } from "./chaos/options.ts";
import { faultsFor, Planner } from "./chaos/plan.ts";
import { describeRound, resultTable } from "./chaos/report.ts";
import { isHealed, isPassed, type RoundResult, runRound } from "./chaos/round.ts";
import { removeLeftovers } from "./lab/leftovers.ts";
import { useFreshBuild } from "./lab/run_folder.ts";

/** After so many rounds etcd's state is saved anew: restores bring back what is up to so old. */
const ROUNDS_A_SNAPSHOT = 4;
/** The report names what recovered last where a state takes longer than this, in seconds. */
const SLOW = 3;
const SLOW_LINES = 3;
/** Lines that are printed of what a round left. */
const EVIDENCE_LINES = 30;

/** What the daemons logged since a time. */
function logsSince(network: ChaosNetwork, time: Date): string {
  const start = time.toISOString();
  return network.hosts.flatMap(({ host, label }) =>
    host.daemons.flatMap((daemon) =>
      daemon.log.split("\n").filter((line) => line >= start).map((line) => `    ${label} ${line}`)
    )
  ).sort((a, b) => a.slice(7) < b.slice(7) ? -1 : 1).join("\n");
}

function printEvidence(network: ChaosNetwork, result: RoundResult, began: Date): void {
  // A device that isn't there lacks a hundred settings, which say nothing more.
  const isDetail = (line: string) => /^h\d+: - (setting|feature) /.test(line);
  const faults = [...result.faults.filter((line) => !isDetail(line)), ...result.faults.filter(isDetail)];
  for (const line of faults.slice(0, EVIDENCE_LINES)) console.log(`    ${line}`);
  if (result.faults.length > EVIDENCE_LINES) console.log(`    … ${result.faults.length} in all`);
  for (const { host, code, lastLines } of result.ends) {
    console.log(
      `    ${host}: the daemon ended by itself with ${code}:\n${
        lastLines.map((line) => `      ${line}`).join("\n")
      }`,
    );
  }
  console.log(logsSince(network, began));
}

function printSlow(lines: readonly string[]): void {
  const more = lines.length > SLOW_LINES ? ` and ${lines.length - SLOW_LINES} more` : "";
  console.log(`     last: ${lines.slice(0, SLOW_LINES).join("; ")}${more}`);
}

async function runRounds(network: ChaosNetwork, options: ChaosOptions): Promise<RoundResult[]> {
  const planner = new Planner(faultsFor(options.backend), network.hosts.length, options.seed);
  const end = performance.now() + options.seconds * 1000;
  const results: RoundResult[] = [];
  while (performance.now() < end) {
    if (results.length % ROUNDS_A_SNAPSHOT === 0) await network.saveSnapshot();
    const began = new Date();
    const result = await runRound(network, planner.next());
    results.push(result);
    console.log(describeRound(results.length, result));
    if (!isPassed(result)) printEvidence(network, result, began);
    else if ((result.stateSeconds ?? 0) > SLOW) printSlow(result.lastWrong);
    if (!isHealed(result)) {
      console.log("    starting over");
      await network.startOver();
    }
  }
  return results;
}

/** @returns The exit status. */
async function main(args: readonly string[]): Promise<number> {
  let options: ChaosOptions | undefined;
  try {
    options = parseChaosOptions(args, () => crypto.getRandomValues(new Uint32Array(1))[0]!);
  } catch (error) {
    if (!(error instanceof ChaosUsageError)) throw error;
    console.error(`${error.message}\n\n${CHAOS_USAGE}`);
    return 2;
  }
  if (options === undefined) {
    console.log(CHAOS_USAGE);
    return 0;
  }
  if (Deno.uid() !== 0) {
    console.error("The fault run makes network namespaces, and that needs root.");
    return 1;
  }
  const { seconds, seed, backend, dualStack } = options;
  console.log(`chaos: ${seconds} s, seed ${seed}, ${backend}${dualStack ? ", IPv4 and IPv6" : ""}`);
  await removeLeftovers();
  await using _build = await useFreshBuild();
  await using network = await ChaosNetwork.create(options);
  const results = await runRounds(network, options);
  const passed = results.filter(isPassed).length;
  console.log(`\n${resultTable(faultsFor(backend).map(({ name }) => name), results)}\n`);
  console.log(`${passed} of ${results.length} rounds passed (seed ${seed})`);
  return passed === results.length && results.length > 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

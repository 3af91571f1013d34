/**
 * Runs the benchmarks.
 *
 *     deno run -A scripts/bench.ts [join|kube|throughput|tunnels|firewall|udp] [options of that benchmark]
 *
 * Without a name all of them, one after the other.
 *
 * @module
 */
import { removeLeftovers } from "./lab/leftovers.ts";

/** A benchmark's file. */
interface Benchmark {
  /** Runs it and prints its tables in Markdown. */
  main(args: readonly string[]): Promise<void>;
}

/** Loaded when chosen. */
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  join: () => import("../tests/bench/join.ts"),
  kube: () => import("../tests/bench/kube.ts"),
  throughput: () => import("../tests/bench/throughput.ts"),
  tunnels: () => import("../tests/bench/tunnels.ts"),
  firewall: () => import("../tests/bench/firewall.ts"),
  udp: () => import("../tests/bench/udp.ts"),
};

const USAGE = `deno task bench [${Object.keys(BENCHMARKS).join("|")}] [options]`;

/** @returns The exit status. */
async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const names = name === undefined ? Object.keys(BENCHMARKS) : [name];
  if (name !== undefined && BENCHMARKS[name] === undefined) {
    console.error(`There is no benchmark ${JSON.stringify(name)}. ${USAGE}`);
    return 2;
  }
  if (Deno.uid() !== 0) {
    console.error("The benchmarks make network namespaces, and that needs root.");
    return 1;
  }
  await removeLeftovers();
  for (const each of names) {
    console.log(`# ${each}\n`);
    const { main: run } = await BENCHMARKS[each]!();
    await run(rest);
    console.log("");
  }
  return 0;
}

Deno.exit(await main(Deno.args));

/**
 * Random and mutated inputs for every decoder.
 *
 *     deno task fuzz [DECODER|all] [COUNT, or 60s] [SEED]
 *
 * DECODER may be the beginning of a name. COUNT is a number of inputs for each decoder (1000000 by default, fewer for
 * those whose inputs are dear), `30s` a time. The same seed gives the same inputs. What is found is kept in
 * tests/fuzz/corpus, and `deno task fuzz DECODER 0` gives the corpus alone. Status 1 if anything is found.
 *
 * @module
 */
import { TARGETS } from "../tests/fuzz/targets.ts";
import type { FuzzTarget } from "../tests/fuzz/target.ts";
import { fuzzWatched, type WatchedResult } from "../tests/fuzz/watched.ts";

const COUNT = 1_000_000;
/** A decoder whose inputs cost a request each gets fewer of them, but no fewer than this. */
const LEAST = 5_000;
/** Longest time for one decoder where a number of inputs is asked for, in seconds. */
const LONGEST = 3_600;

const USAGE = "usage: deno task fuzz [DECODER|all] [COUNT, or 60s] [SEED]";

function chosen(word: string): readonly FuzzTarget[] {
  const exact = TARGETS.filter(({ name }) => name === word);
  const found = word === "all"
    ? TARGETS
    : exact.length > 0
    ? exact
    : TARGETS.filter(({ name }) => name.startsWith(word));
  if (found.length === 0) {
    console.error(`${word}: no such decoder; there are ${TARGETS.map(({ name }) => name).join(", ")}`);
    Deno.exit(2);
  }
  return found;
}

function limitsOf(
  amount: string,
  seed: number,
): (target: FuzzTarget) => { count: number; seconds: number; seed: number } {
  const [, digits, unit] = /^(\d+)(s?)$/.exec(amount) ?? [];
  if (digits === undefined || !Number.isInteger(seed)) {
    console.error(USAGE);
    Deno.exit(2);
  }
  const number = Number(digits);
  if (unit === "s") return () => ({ count: Infinity, seconds: number, seed });
  return ({ cost = 1 }) => {
    const fewer = cost >= 100 ? Math.max(Math.ceil(number / cost), Math.min(number, LEAST)) : number;
    return { count: fewer, seconds: LONGEST, seed };
  };
}

function print(result: WatchedResult, seed: number): void {
  const { target, inputs, seconds, slowest, heapGrowth, finding } = result;
  const heap = heapGrowth === undefined ? "" : `, heap +${(heapGrowth / 2 ** 20).toFixed(1)} MiB`;
  const figures = `${inputs} inputs in ${seconds.toFixed(1)} s, slowest ${slowest.toFixed(1)} ms${heap}`;
  console.log(`${finding ? "FOUND" : "ok   "} ${target.padEnd(22)} ${figures}`);
  if (!finding) return;
  console.log(`      ${finding.what.replaceAll("\n", "\n      ")}`);
  if (result.kept) console.log(`      input: ${result.kept}; seed ${seed}`);
}

const [word = "all", amount = String(COUNT), seedText] = Deno.args;
const seed = seedText === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(seedText);
const limits = limitsOf(amount, seed);
console.log(`seed ${seed}`);
let found = 0;
await fuzzWatched(
  chosen(word).map((target) => ({ target: target.name, limits: limits(target) })),
  (result) => {
    if (result.finding) found++;
    print(result, seed);
  },
);
console.log(found === 0 ? "nothing found" : `${found} decoders with a finding`);
Deno.exit(found === 0 ? 0 : 1);

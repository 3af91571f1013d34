/**
 * The short part of fuzzing: for every decoder the whole corpus and some thousand inputs made from it, the same in
 * each run. `deno task fuzz` goes on from there.
 */
import assert from "node:assert/strict";
import { readCorpus } from "../fuzz/corpus.ts";
import { makeInput } from "../fuzz/mutate.ts";
import { TARGETS } from "../fuzz/targets.ts";
import { fuzzWatched, type WatchedResult } from "../fuzz/watched.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** Inputs for a decoder of cost 1. */
const COUNT = 2_000;
const SEED = 5;

const worker = { sanitizeOps: false, sanitizeResources: false };

async function run(targets: readonly { name: string; cost?: number }[], count: number, inputLimit?: number) {
  const results: WatchedResult[] = [];
  const jobs = targets.map(({ name, cost = 1 }) => ({
    target: name,
    limits: { count: Math.ceil(count / cost), seconds: 60, seed: SEED },
  }));
  const options = { keep: false, ...inputLimit === undefined ? {} : { inputLimit } };
  await fuzzWatched(jobs, (result) => results.push(result), options);
  return results;
}

Deno.test({
  name: "fuzz: no decoder crashes, hangs or breaks a promise on its corpus and some thousand inputs like it",
  ...worker,
  async fn() {
    const results = await run(TARGETS, COUNT);
    assert.equal(results.length, TARGETS.length);
    const found = results.flatMap(({ finding, target }) =>
      finding
        ? [`${target}: ${finding.what}\ninput: ${JSON.stringify(new TextDecoder().decode(finding.input))}`]
        : []
    );
    assert.deepEqual(found, []);
  },
});

Deno.test({
  name: "fuzz: a decoder that hangs, throws what it doesn't declare or breaks a property is found",
  ...worker,
  async fn() {
    const names = ["self-test-throw", "self-test-hang", "self-test-property"];
    const results = await run(names.map((name) => ({ name })), 100_000, 500);
    const what = results.map(({ finding }) => finding?.what.split("\n")[0]);
    assert.match(what[0]!, /^TypeError/);
    assert.equal(what[1], "an input takes more than 0.5 s");
    assert.equal(new TextDecoder().decode(results[1]!.finding!.input), "hang");
    assert.equal(what[2], "PropertyError: a 5 in it");
  },
});

Deno.test("fuzz: one seed gives the same inputs, another one others", async () => {
  const corpus = (await readCorpus("lease-key")).map(({ bytes }) => bytes);
  const material = { corpus, dictionary: [new Uint8Array([1, 2])], maxLength: 100 };
  const inputs = (seed: number) => {
    const random = randomSource(seed);
    return Array.from({ length: 200 }, () => makeInput(random, material));
  };
  assert.deepEqual(inputs(7), inputs(7));
  assert.notDeepEqual(inputs(7), inputs(8));
  assert.ok(inputs(7).every(({ length }) => length <= 100));
});

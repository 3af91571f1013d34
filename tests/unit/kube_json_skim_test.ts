import assert from "node:assert/strict";
import { JsonSkimmer, type Pick, SkimError, type SkimmedJson } from "../../lib/kube/json_skim.ts";
import { randomSource } from "../../scripts/lab/random.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** What is kept of a stream that comes in chunks of `size` bytes. */
function skim(pick: Pick, text: string, size = Infinity): SkimmedJson[] {
  const values: SkimmedJson[] = [];
  const skimmer = new JsonSkimmer(pick, (value) => values.push(value));
  const all = bytes(text);
  for (let at = 0; at < all.length; at += size) skimmer.push(all.subarray(at, at + size));
  skimmer.end();
  return values;
}

const PICK: Pick = { keys: { a: "all", b: { keys: { c: "all" } } } };

Deno.test("skimmer: keeps what was asked for, and skips the rest whatever is in it", () => {
  const table: [string, SkimmedJson][] = [
    ['{"a":1,"x":{"a":2,"b":[1,{"c":3}]},"b":{"c":"}\\"]","d":[]}}', { a: 1, b: { c: '}"]' } }],
    ['{"x":"\\\\","a":"é\\u00e9\\\\\\""}', { a: 'éé\\"' }],
    ["{}", {}],
    ['{ "a" : [ 1 , {"z":null} ] , "b" : 5 }', { a: [1, { z: null }] }],
    ['{"b":{},"a":-1.5e3}', { b: {}, a: -1500 }],
    ["7", null],
  ];
  for (const [text, expected] of table) {
    for (const size of [Infinity, 1, 2, 3, 7]) {
      assert.deepEqual(skim(PICK, text, size), [expected], `${text} by ${size}`);
    }
  }
});

Deno.test("skimmer: values follow each other with anything or nothing between them", () => {
  assert.deepEqual(skim(PICK, '{"a":1}\n{"a":2}{"a":3}\n\n', 4), [{ a: 1 }, { a: 2 }, { a: 3 }]);
});

Deno.test("skimmer: the elements of an array are handed over one by one", () => {
  const seen: SkimmedJson[] = [];
  const pick: Pick = { keys: { items: { each: PICK, onElement: (value) => seen.push(value) }, n: "all" } };
  assert.deepEqual(skim(pick, '{"items":[{"a":1},{"x":2},5,{"b":{"c":[]}}],"n":9}', 5), [{ n: 9 }]);
  assert.deepEqual(seen, [{ a: 1 }, {}, null, { b: { c: [] } }]);
  assert.deepEqual(skim(pick, '{"items":[],"n":1}'), [{ n: 1 }]);
});

Deno.test("skimmer: agrees with JSON.parse on random objects in random chunks", () => {
  const source = randomSource(7);
  const next = () => source.below(1 << 20) / (1 << 20);
  const value = (depth: number): SkimmedJson => {
    const kind = Math.floor(next() * (depth > 3 ? 4 : 6));
    if (kind === 0) return null;
    if (kind === 1) return next() < 0.5;
    if (kind === 2) return Math.floor(next() * 1e9) / 1000 - 1e5;
    if (kind === 3) {
      return Array.from({ length: next() * 9 }, () => '"\\{}[]:,é𝄞 \n\tab'.at(next() * 16)!).join("");
    }
    if (kind === 4) return Array.from({ length: next() * 4 }, () => value(depth + 1));
    const keys = ["a", "b", "c", 'q"', "é"];
    return Object.fromEntries(
      Array.from({ length: next() * 5 }, () => [keys[Math.floor(next() * 5)]!, value(depth + 1)]),
    );
  };
  for (let round = 0; round < 2_000; round++) {
    const object = { a: value(0), x: value(0), b: { c: value(1), d: value(1) } };
    const indent = next() < 0.3 ? 2 : undefined;
    const expected = { a: object.a, b: { c: object.b.c } };
    assert.deepEqual(skim(PICK, JSON.stringify(object, null, indent), 1 + Math.floor(next() * 40)), [
      expected,
    ]);
  }
});

Deno.test("skimmer: a text that isn't JSON or ends early is an error, not a wrong value", () => {
  for (
    const text of ["<html>", '{"a":1', '{"a" 1}', '{"a":}', "{a:1}", '{"a":1]', '{"a":tru}', '{"b":{"c":"x}}']
  ) {
    assert.throws(() => skim(PICK, text, 2), SkimError, text);
  }
  assert.throws(() => skim({ keys: {} }, "[".repeat(2_000)), /nested/);
});

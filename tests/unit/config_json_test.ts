import assert from "node:assert/strict";
import { JsonSyntaxError, parseJson } from "../../lib/config/json_text.ts";
import { didYouMean, nearest } from "../../lib/config/suggest.ts";
import { FieldReader } from "../../lib/config/fields.ts";
import { OptionReader } from "../../lib/backend/option_reader.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** What JSON.parse makes of the text; undefined where it refuses. */
function oracle(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

Deno.test("JSON reader: takes and refuses what JSON.parse does, on 20,000 damaged texts", () => {
  const random = randomSource(1);
  const seeds = [
    '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":1,"GBP":false},"a":[1,-2.5e+3,null,[],{}]}',
    '[true,"\\u00e9\\n\\"",0,-0,1e9,""]',
    ' { "k" : [ 1 , { } ] } ',
  ];
  const alphabet = "{}[],:\"\\ \n\t0123456789.-+eEtrufalsn'x";
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const chars = [...seeds[random.below(seeds.length)]!];
    for (let edits = random.below(4); edits > 0; edits--) {
      const at = random.below(chars.length);
      chars.splice(at, random.below(2), ...alphabet[random.below(alphabet.length)]!);
    }
    const text = chars.join("");
    const expected = oracle(text);
    if (expected) {
      assert.deepEqual(parseJson(text), expected.value, text);
      continue;
    }
    refused++;
    assert.throws(() => parseJson(text), JsonSyntaxError, text);
  }
  assert(refused > 5_000, `only ${refused} texts were broken`);
});

Deno.test("suggestions: near words are found, far ones are not", () => {
  const known = ["Network", "SubnetLen", "SubnetMin", "etcd-endpoints"];
  const table: [string, string | undefined][] = [
    ["Netwrok", "Network"],
    ["subnetlen", "SubnetLen"],
    ["SubnetLne", "SubnetLen"],
    ["etcd-endpoint", "etcd-endpoints"],
    ["zzz", undefined],
    ["", undefined],
  ];
  for (const [word, expected] of table) assert.equal(nearest(word, known), expected, word);
  assert.equal(didYouMean("Netwrk", known), " (did you mean Network?)");
  assert.equal(didYouMean("zzz", known), "");
});

Deno.test("field reader: values, defaults, faults and what is complete", () => {
  const reader = new OptionReader({ vni: 16777216, PORT: 8472, gbp: "true", MTU: 0, Secret: "hush", x: 1 });
  const vni = reader.integer("VNI", { min: 1, max: 0xffffff }, 1);
  const port = reader.integer("Port", { min: 0, max: 65535 }, 0);
  const gbp = reader.boolean("GBP", false);
  const mtu = reader.integer("MTU", { min: 576, max: 65535, zeroIsUnset: true });
  const secret = reader.string("Secret", { secret: true });
  const mode = reader.string("Mode", { oneOf: ["auto", "on"] }, "auto");
  const outcome = reader.finish({ vni, port, gbp, mtu, secret, mode });
  assert.deepEqual(outcome.options, {
    vni: 1,
    port: 8472,
    gbp: false,
    mtu: undefined,
    secret: "hush",
    mode: "auto",
  });
  assert.deepEqual(outcome.complete, { VNI: 1, Port: 8472, GBP: false, Secret: "***", Mode: "auto" });
  assert.deepEqual(outcome.faults, [
    { key: "Backend.VNI", message: "Backend.VNI 16777216: must be between 1 and 16777215" },
    { key: "Backend.GBP", message: 'Backend.GBP "true": must be true or false without quotes' },
  ]);
  assert.deepEqual(outcome.unknownKeys, ["x"]);
});

Deno.test("field reader: strings, lists and secrets", () => {
  const read = (value: unknown) => new FieldReader(JSON.parse(JSON.stringify({ k: value })));
  assert.equal(read("ON").string("K", { oneOf: ["auto", "on"] }, "auto"), "on");
  assert.deepEqual(read("a").strings("K"), ["a"]);
  assert.deepEqual(read(["a", "b"]).strings("K"), ["a", "b"]);
  assert.deepEqual(read("").strings("K"), []);
  for (const bad of [[1], ["a", ""], 1, { a: 1 }]) {
    const reader = read(bad);
    assert.deepEqual(reader.strings("K"), []);
    assert.equal(reader.faults.length, 1);
  }
  const off = read("up");
  off.string("K", { oneOf: ["auto", "on"] });
  assert.deepEqual(off.faults.map((fault) => fault.message), ['K "up": must be one of auto, on']);
  const secret = read(12345);
  secret.string("K", { secret: true });
  assert.deepEqual(secret.faults.map((fault) => fault.message), ["K: must be a string in double quotes"]);
});

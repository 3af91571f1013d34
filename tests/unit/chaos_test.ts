import assert from "node:assert/strict";
import { difference, symbolise } from "../../scripts/chaos/kernel_state.ts";
import { type ChaosOptions, ChaosUsageError, parseChaosOptions } from "../../scripts/chaos/options.ts";
import { faultsFor, Planner } from "../../scripts/chaos/plan.ts";
import { describeRound, median, resultTable } from "../../scripts/chaos/report.ts";
import { isPassed, type RoundResult } from "../../scripts/chaos/round.ts";

const RANDOM_SEED = 7;

function parse(...args: string[]): ChaosOptions | undefined {
  return parseChaosOptions(args, () => RANDOM_SEED);
}

Deno.test("chaos: options have defaults, and come in any order of numbers and names", () => {
  assert.deepEqual(parse(), { seconds: 300, seed: RANDOM_SEED, backend: "vxlan", dualStack: false });
  const all = { seconds: 60, seed: 12, backend: "host-gw", dualStack: true } as const;
  assert.deepEqual(parse("60", "12", "host-gw", "-ipv6"), all);
  assert.deepEqual(parse("-ipv6", "host-gw", "60", "12"), all);
  assert.equal(parse("--help"), undefined);
});

Deno.test("chaos: a wrong word is refused with what would be right", () => {
  const cases: readonly [args: string[], message: RegExp][] = [
    [["60s"], /SECONDS must be a whole number/],
    [["60", "4294967296"], /SEED must be .* 4294967295/],
    [["ipip"], /BACKEND must be vxlan, host-gw, udp/],
    [["-v6"], /no option -v6/],
    [["1", "2", "3"], /Too many/],
  ];
  for (const [args, message] of cases) assert.throws(() => parse(...args), message);
  assert.throws(() => parse("x"), ChaosUsageError);
});

/** The first rounds of a seed, as text. */
function rounds(seed: number, count: number): string {
  const planner = new Planner(faultsFor("vxlan"), 4, seed);
  return JSON.stringify(Array.from({ length: count }, () => planner.next()));
}

Deno.test("chaos: the same seed gives the same faults, another one others", () => {
  assert.equal(rounds(5, 30), rounds(5, 30));
  assert.notEqual(rounds(5, 30), rounds(6, 30));
});

Deno.test("chaos: every fault comes about equally often, and no two of a round take hold of the same thing", () => {
  for (const backend of ["vxlan", "host-gw", "udp", "wireguard"] as const) {
    const faults = faultsFor(backend);
    const planner = new Planner(faults, 4, 1);
    const counts = new Map<string, number>();
    for (let round = 0; round < 500; round++) {
      const planned = planner.next();
      assert.ok(planned.length >= 1 && planned.length <= 3);
      const held = planned.flatMap(({ fault, host }) => {
        if (fault.claims === "store") return ["store"];
        if (fault.claims === "every daemon") return [0, 1, 2, 3].map((each) => `daemon ${each}`);
        return [`${fault.claims} ${host}`];
      });
      assert.equal(new Set(held).size, held.length);
      for (const { fault, lasts } of planned) {
        counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1);
        const [least, most] = fault.lasts ?? [0, 0];
        assert.ok(lasts >= least && lasts <= most);
      }
    }
    assert.deepEqual([...counts.keys()].sort(), faults.map(({ name }) => name).sort());
    const each = [...counts.values()];
    assert.ok(Math.max(...each) - Math.min(...each) <= 2, `${backend}: ${each}`);
  }
});

Deno.test("chaos: backends have no faults of what they don't have", () => {
  const names = faultsFor("host-gw").map(({ name }) => name);
  assert.ok(!names.some((name) => /device|neighbours|forwarding/.test(name)), names.join());
  assert.ok(names.includes("routes flushed"));
});

Deno.test("chaos: values get names, and only whole values", () => {
  const symbols = new Map([["10.5.1.0", "h1 subnet"], ["172.30.0.1", "h1 address"], [
    "fc00:0:0:5::",
    "h1 v6",
  ]]);
  assert.equal(
    symbolise("route 10.5.1.0/24 via 172.30.0.1", symbols),
    "route <h1 subnet>/24 via <h1 address>",
  );
  assert.equal(symbolise("172.30.0.12 10.5.1.0.9", symbols), "172.30.0.12 10.5.1.0.9");
  assert.equal(symbolise("fc00:0:0:5::/64 fc00:0:0:5::1", symbols), "<h1 v6>/64 fc00:0:0:5::1");
  // A key with a plus sign ended the run: "Invalid regular expression".
  const key = "+Lfay6vuhLxZYJjfEd8rn+PHcYEuFD+63gGBxpJDdWI=";
  assert.equal(symbolise(`peer ${key} off`, new Map([[key, "h2 key"]])), "peer <h2 key> off");
  assert.equal(symbolise('{"local":"fe80::1:2ff:fe3"}', symbols), '{"local":"<link-local>"}');
});

Deno.test("chaos: a difference names what is missing and what is too much, doubles too", () => {
  assert.deepEqual(difference(["a", "b"], ["b", "a"]), []);
  assert.deepEqual(difference(["a", "b"], ["b", "b", "c"]), ["- a", "+ b", "+ c"]);
});

function result(values: Partial<RoundResult>): RoundResult {
  const [fault] = faultsFor("vxlan");
  return {
    planned: [{ fault: fault!, host: 1, after: 0, lasts: 1500, seed: 0 }],
    pingSeconds: 0.5,
    stateSeconds: 1,
    lastWrong: [],
    gapSeconds: 0.2,
    faults: [],
    ends: [],
    ...values,
  };
}

Deno.test("chaos: the table shows times, median, worst and what was lost", () => {
  const end = { host: "h2", code: 1, lastLines: [] };
  const results = [
    result({ pingSeconds: 0.5 }),
    result({ pingSeconds: 1.5 }),
    result({ pingSeconds: undefined, stateSeconds: undefined, faults: ["x"], ends: [end] }),
  ];
  assert.deepEqual(results.map(isPassed), [true, true, false]);
  const [, , row] = resultTable(["daemon SIGTERM", "etcd killed"], results).split("\n");
  const cells = row!.split("|").map((cell) => cell.trim()).slice(1, -1);
  assert.deepEqual(cells, [
    ...["daemon SIGTERM", "3", "1.5", "never", "0.2"],
    "never healed: 1, daemons ended: 1",
  ]);
  assert.match(describeRound(3, results[0]!), /^ok {3}3: h2 daemon SIGTERM 1\.5 s: pings 0\.5 s/);
  assert.equal(median([]), undefined);
});

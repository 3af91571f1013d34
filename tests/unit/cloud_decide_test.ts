import assert from "node:assert/strict";
import { backoffDelay, resyncDelay } from "../../backends/cloud/delays.ts";
import { decide, routeKey, type Situation } from "../../backends/cloud/decide.ts";
import type { CloudErrorKind } from "../../backends/cloud/errors.ts";
import type { CloudRoute } from "../../backends/cloud/route_table.ts";
import { formatPrefix, parsePrefix, prefixesOverlap } from "../../lib/net/prefix.ts";
import { randomSource } from "../../scripts/lab/random.ts";

/** From 0 up to 1, the same for a seed in every run: a failure names its seed. */
function randomOf(seed: number): () => number {
  const { below } = randomSource(seed);
  return () => below(2 ** 32) / 2 ** 32;
}

const PREFIXES = [
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.20.0.0/16",
  "10.20.1.0/24",
  "10.20.2.0/24",
  "10.20.2.0/25",
  "10.20.3.0/24",
  "10.20.4.0/22",
  "10.20.7.0/24",
  "10.99.0.0/24",
  "::/0",
  "fd00:20:0:7::/64",
  "fd00:20:0:8::/64",
].map(parsePrefix);

function randomSituation(random: () => number): Situation<CloudRoute> {
  const pick = () => PREFIXES[Math.floor(random() * PREFIXES.length)]!;
  const routes = Array.from({ length: Math.floor(random() * 12) }, (_, index): CloudRoute => {
    const own = random() < 0.4;
    const blackhole = random() < 0.3 ? true : random() < 0.2 ? undefined : false;
    return {
      table: random() < 0.7 ? "t1" : random() < 0.5 ? "t2" : "t3",
      destination: pick(),
      id: `r${index}`,
      hop: own ? "me" : "other",
      own,
      blackhole,
      upToDate: own && !blackhole && random() < 0.8,
      removable: random() < 0.9,
    };
  });
  return {
    networks: [parsePrefix("10.20.0.0/16"), parsePrefix("fd00:20::/48")],
    own: [parsePrefix("10.20.7.0/24"), parsePrefix("fd00:20:0:7::/64")],
    leased: [parsePrefix("10.20.1.0/24"), parsePrefix("10.20.2.0/24")].filter(() => random() < 0.7),
    tables: ["t1", "t2"],
    routes,
  };
}

/** The table after the decision, as an obedient cloud would show it. */
function apply(situation: Situation<CloudRoute>): Situation<CloudRoute> {
  const { puts, rivals, leftovers } = decide(situation);
  const removals = [...rivals, ...leftovers];
  const gone = new Set([...puts.map((put) => put.existing), ...removals.map((removal) => removal.route)]);
  const made = puts.map(({ table, destination }): CloudRoute => ({
    table,
    destination,
    id: `new ${formatPrefix(destination)}`,
    hop: "me",
    own: true,
    upToDate: true,
    blackhole: false,
    removable: true,
  }));
  return { ...situation, routes: [...situation.routes.filter((route) => !gone.has(route)), ...made] };
}

Deno.test("cloud decide: nothing is touched but what is ours, whatever the table holds", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const situation = randomSituation(randomOf(seed));
    const { puts, rivals, leftovers } = decide(situation);
    const same = (a: string) => situation.own.some((own) => formatPrefix(own) === a);
    for (const put of puts) {
      assert.ok(same(formatPrefix(put.destination)), `seed ${seed}`);
      assert.ok(put.existing === undefined || put.existing.table === put.table, `seed ${seed}`);
    }
    for (const { route, reason, unsure } of [...rivals, ...leftovers]) {
      const text = `seed ${seed}: ${routeKey(route)} ${reason}`;
      assert.ok(route.removable && situation.tables.includes(route.table), text);
      assert.ok(route.own || route.blackhole || unsure || reason === "rival", text);
      assert.ok(
        !["0.0.0.0/0", "10.0.0.0/8", "10.20.0.0/16", "10.99.0.0/24", "::/0"]
          .includes(formatPrefix(route.destination)),
        text,
      );
      assert.ok(!situation.leased.some((leased) => prefixesOverlap(leased, route.destination)), text);
    }
  }
});

Deno.test("cloud decide: a corrected table needs at most its rivals removed, then nothing", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    const once = apply(randomSituation(randomOf(seed)));
    assert.deepEqual(decide(once).puts, [], `seed ${seed}`);
    const twice = apply(once);
    assert.deepEqual(decide(twice), { puts: [], rivals: [], leftovers: [] }, `seed ${seed}`);
  }
});

Deno.test("cloud back-off: grows, is jittered, has an end, and people's faults are slow", () => {
  const kinds: CloudErrorKind[] = ["throttled", "conflict", "unavailable", "denied", "quota", "config"];
  for (const kind of kinds) {
    let before = 0;
    for (let failures = 1; failures <= 40; failures++) {
      const least = backoffDelay(kind, failures, 120_000, () => 0);
      const most = backoffDelay(kind, failures, 120_000, () => 0.999999);
      assert.ok(least >= before && most > least && most <= 120_000, `${kind} ${failures}`);
      before = least;
    }
  }
  assert.ok(backoffDelay("quota", 1, 120_000, () => 0) > backoffDelay("throttled", 1, 120_000, () => 0.99));
  assert.equal(backoffDelay("credentials", 1, 120_000, () => 0.5), 0);
  assert.ok(backoffDelay("credentials", 2, 120_000, () => 0.5) > 0);
  assert.equal(resyncDelay(120_000, () => 0), 108_000);
  assert.ok(resyncDelay(120_000, () => 0.999) < 132_001);
});

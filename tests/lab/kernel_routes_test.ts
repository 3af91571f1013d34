/** Routes of others: a lease may name any prefix, and the host's own routes stay whatever it says. */
import assert from "node:assert/strict";
import type { Entry } from "../../lib/kernel/entries.ts";
import { DEVICE, ip, KernelHost, tunnelRoute, wireRoute } from "./kernel_host.ts";
import { namespaceTest } from "./netns.ts";

/** What a stranger has, the lease that would take its place, and what the host must show after it. */
interface Conflict {
  readonly what: string;
  readonly before: readonly string[];
  readonly entry: Entry;
  /** What `ip -4|-6 route show DESTINATION` begins with, a line each. */
  readonly after: readonly string[];
  /** What the failure names; undefined: ours is written. */
  readonly reason?: RegExp;
}

const CONFLICTS: readonly Conflict[] = [
  {
    what: "the kernel's route to a connected prefix",
    before: ["address add 10.5.7.1/24 dev eth0"],
    entry: wireRoute("10.5.7.0/24", "172.30.0.7"),
    after: ["10.5.7.0/24 dev eth0 proto kernel scope link src 10.5.7.1"],
    reason: /it is the prefix of eth0 itself/,
  },
  {
    what: "the kernel's route to a connected prefix with a metric, as NetworkManager makes it",
    before: [
      "address add 10.5.7.1/24 dev eth0 noprefixroute",
      "route add 10.5.7.0/24 dev eth0 proto kernel metric 100",
    ],
    entry: wireRoute("10.5.7.0/24", "172.30.0.7"),
    after: ["10.5.7.0/24 dev eth0 proto kernel scope link metric 100"],
    reason: /it is the prefix of eth0 itself/,
  },
  {
    what: "a route of protocol kernel without an address",
    before: ["route add 10.5.7.0/24 via 172.30.0.9 proto kernel"],
    entry: wireRoute("10.5.7.0/24", "172.30.0.7"),
    after: ["10.5.7.0/24 via 172.30.0.9 dev eth0 proto kernel"],
    reason: /a route of its own there: 10\.5\.7\.0\/24 via 172\.30\.0\.9 dev eth0 proto kernel/,
  },
  {
    what: "an administrator's route",
    before: ["route add 10.5.7.0/24 via 172.30.0.9 proto static"],
    entry: tunnelRoute("10.5.7.0/24"),
    after: ["10.5.7.0/24 via 172.30.0.9 dev eth0 proto static"],
    reason: /proto static/,
  },
  {
    what: "a blackhole of nobody's",
    before: ["route add blackhole 10.5.7.0/24"],
    entry: tunnelRoute("10.5.7.0/24"),
    after: ["blackhole 10.5.7.0/24"],
    reason: /proto boot/,
  },
  {
    what: "a routing daemon's IPv6 route, in the way of an onlink gateway",
    before: ["route add fc00:0:7::/64 via fd00:30::9 proto bird metric 1024"],
    entry: tunnelRoute("fc00:0:7::/64"),
    after: ["fc00:0:7::/64 via fd00:30::9 dev eth0 proto bird metric 1024"],
    reason: /proto bird/,
  },
  {
    what: "the original's host-gw route",
    before: ["route add 10.5.7.0/24 via 172.30.0.9"],
    entry: wireRoute("10.5.7.0/24", "172.30.0.7"),
    after: ["10.5.7.0/24 via 172.30.0.7 dev eth0 proto 70"],
  },
  {
    what: "the original's IPv6 host-gw route, where a tunnel is wanted now",
    before: ["route add fc00:0:7::/64 via fd00:30::9"],
    entry: tunnelRoute("fc00:0:7::/64"),
    after: [`fc00:0:7::/64 via fc00:0:7:: dev ${DEVICE} proto 70`],
  },
  {
    what: "a route of ours over another link",
    before: ["route add 10.5.7.0/24 via 172.30.0.9 proto 70"],
    entry: tunnelRoute("10.5.7.0/24"),
    after: [`10.5.7.0/24 via 10.5.7.0 dev ${DEVICE} proto 70 onlink`],
  },
  {
    what: "a route with a worse metric, which stays beside ours",
    before: ["route add 10.5.7.0/24 via 172.30.0.9 proto static metric 50"],
    entry: tunnelRoute("10.5.7.0/24"),
    after: [
      `10.5.7.0/24 via 10.5.7.0 dev ${DEVICE} proto 70 onlink`,
      "10.5.7.0/24 via 172.30.0.9 dev eth0 proto static metric 50",
    ],
  },
];

function shown(entry: Entry): string[] {
  if (entry.kind !== "route") throw new TypeError("no route");
  const { destination: { family, base } } = entry;
  const subnet = family.version === 4 ? "10.5.7.0/24" : "fc00:0:7::/64";
  assert.ok(base > 0n);
  return ip(`-${family.version} route show ${subnet}`);
}

for (const how of ["pass", "flush"] as const) {
  for (const { what, before, entry, after, reason } of CONFLICTS) {
    namespaceTest(import.meta, `${how}: ${what}`, async () => {
      using host = new KernelHost();
      // A flush writes what changed since the first pass.
      if (how === "flush") await host.reconciler.pass();
      for (const line of before) ip(/fc00|fd00/.test(line) ? `-6 ${line}` : line);
      host.reconciler.set("peer", [entry]);
      for (let round = 0; round < 2; round++) {
        await host.reconciler[round === 0 ? how : "retry"]();
        assert.deepEqual(shown(entry).map((line, index) => line.slice(0, after[index]?.length)), after);
        const errors = host.failures.map(({ error }) => error);
        assert.equal(errors.length, reason ? 1 : 0, errors.join());
        if (reason) assert.match(errors[0]!, reason);
      }
      const [first, ...others] = before;
      for (const line of [first!, ...others].toReversed()) ip(undo(line));
      await host.reconciler.pass();
      assert.deepEqual(host.failures, [], "ours is written once the stranger is gone");
      host.reconciler.set("peer", []);
      await host.reconciler.flush();
      assert.deepEqual(shown(entry).filter((line) => line.includes("proto 70")), []);
    });
  }
}

/** The command that takes back one of the table; what ours replaced is gone already. */
function undo(line: string): string {
  const family = /fc00|fd00/.test(line) ? "-6 " : "";
  if (line.startsWith("address")) return line.replace(" add ", " del ").replace(" noprefixroute", "");
  return `${family}route flush ${/\S+\/\d+/.exec(line)![0]} ${/proto \w+/.exec(line)?.[0] ?? "proto boot"}`;
}

namespaceTest(import.meta, "a destination outside of the network is never a route", async () => {
  using host = new KernelHost();
  const outside = ["172.30.0.0/24", "128.0.0.0/1", "0.0.0.0/0"].map((each) => wireRoute(each, "172.30.0.7"));
  const before = ip("route show");
  host.reconciler.set("peer", outside);
  await host.reconciler.pass();
  assert.deepEqual(ip("route show"), before);
  assert.equal(host.failures.length, outside.length);
  assert.match(host.failures[0]!.error, /outside of the network 10\.0\.0\.0\/8 and fc00::\/32/);
});

namespaceTest(import.meta, "a flush retries nothing of what failed before it", async () => {
  using host = new KernelHost();
  ip("route add 10.5.7.0/24 via 172.30.0.9 proto static");
  host.reconciler.set("bad", [tunnelRoute("10.5.7.0/24")]);
  assert.deepEqual(await host.reconciler.pass(), { operations: 1, failures: 1 });
  host.reconciler.set("good", [tunnelRoute("10.5.8.0/24")]);
  assert.deepEqual(await host.reconciler.flush(), { operations: 1, failures: 0 });
  assert.equal(host.failures.length, 1);
  const first = host.reconciler.retryAt;
  assert.ok(first > performance.now() && first < performance.now() + 1_000);
  assert.deepEqual(await host.reconciler.retry(), { operations: 0, failures: 0 }, "not before it is due");
  await new Promise((resolve) => setTimeout(resolve, first - performance.now() + 1));
  const again = performance.now();
  assert.deepEqual(await host.reconciler.retry(), { operations: 1, failures: 1 });
  assert.ok(host.reconciler.retryAt - again > 900, "the second wait is longer");
});

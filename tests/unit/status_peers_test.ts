import assert from "node:assert/strict";
import type { LivePeer } from "../../lib/backend/types.ts";
import { PeerChangeTimes } from "../../lib/daemon/peer_changes.ts";
import { type PeerSources, peerTable, SMALL_NETWORK } from "../../lib/daemon/status_peers.ts";
import type { Lease } from "../../lib/leases/types.ts";
import type { PeerStatus } from "../../lib/status/document.ts";
import { parseHostNames } from "../../lib/status/host_names.ts";
import { peer } from "./backend_fixtures.ts";

function sources(keys: readonly string[], changes: Partial<PeerSources> = {}): PeerSources {
  const peers = new Map(
    keys.map((key, index): [string, Lease] => [
      key,
      peer(key, { PublicIP: `172.30.0.${index % 250 + 3}`, BackendType: "vxlan" }),
    ]),
  );
  return {
    peers,
    plan: { forPeer: () => ({ entries: [], paths: ["vxlan"] }) },
    live: undefined,
    isAwaited: () => false,
    changedAt: () => undefined,
    probes: undefined,
    names: new Map(),
    keysAreHosts: false,
    ...changes,
  };
}

const keysOf = (count: number) =>
  Array.from({ length: count }, (_, i) => `10.${5 + (i >> 8)}.${i & 255}.0-24`);
const subnetsOf = (rows: readonly PeerStatus[]) => rows.map(({ subnets }) => subnets.join());

Deno.test("status: peers are sorted by number, IPv6 too, and have all that is known", async () => {
  const keys = ["10.5.100.0-24", "10.5.9.0-24", "10.5.20.0-24&fc00:0:0:1::-64"];
  const table = await peerTable(
    sources(keys, {
      names: parseHostNames(
        "127.0.0.1 localhost\n172.30.0.4\thost-9 alias # by hand\n172.30.0.4 other\nnonsense\n",
      ),
      changedAt: (key) => key === keys[0] ? Date.UTC(2026, 0, 2, 3, 4, 5) : undefined,
      probes: {
        resultOf: (key) =>
          key === keys[1] ? { at: "2026-01-02T03:04:05.000Z", rttMs: 0.4, loss: 0 } : undefined,
      },
    }),
    "summary",
  );
  assert.deepEqual(subnetsOf(table.rows), ["10.5.9.0/24", "10.5.20.0/24,fc00:0:0:1::/64", "10.5.100.0/24"]);
  assert.deepEqual(table.rows[0], {
    key: "10.5.9.0-24",
    host: "host-9",
    subnets: ["10.5.9.0/24"],
    publicIps: ["172.30.0.4"],
    backendType: "vxlan",
    paths: ["vxlan"],
    changedAt: null,
    problem: null,
    probe: { at: "2026-01-02T03:04:05.000Z", rttMs: 0.4, loss: 0 },
  });
  assert.equal(table.rows[2]!.changedAt, "2026-01-02T03:04:05.000Z");
  assert.equal(table.rows[2]!.probe, null);
  assert.deepEqual([table.paths, table.withProblem, table.probed, table.omitted], [{ vxlan: 3 }, 0, 1, 0]);
});

Deno.test("status: a large network's summary lists the peers with a problem, all lists everything", async () => {
  const keys = keysOf(SMALL_NETWORK + 1);
  const bad = (lease: Lease) => lease.attributes.publicIps.ipv4!.value % 20n === 0n;
  const from = sources(keys, {
    plan: {
      forPeer: (lease) =>
        bad(lease) ? { entries: [], paths: [], problem: "no VtepMAC" } : { entries: [], paths: ["vxlan"] },
    },
  });
  const summary = await peerTable(from, "summary");
  assert(summary.rows.length > 0 && summary.rows.every(({ problem }) => problem === "no VtepMAC"));
  assert.equal(summary.withProblem, summary.rows.length);
  assert.equal(summary.omitted, keys.length - summary.rows.length);
  assert.deepEqual(summary.paths, { vxlan: keys.length - summary.rows.length });
  const all = await peerTable(from, "all");
  assert.equal(all.rows.length, keys.length);
  assert.equal(all.omitted, 0);
});

Deno.test("status: 20,000 peers that all fail make a short summary, and other work gets its turn", async () => {
  const keys = keysOf(20_000);
  const from = sources(keys, { plan: { forPeer: () => ({ entries: [], paths: [], problem: "away" }) } });
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  try {
    const table = await peerTable(from, "summary");
    assert.equal(table.withProblem, 20_000);
    assert.equal(table.rows.length + table.omitted, 20_000);
    assert(table.rows.length <= 100);
    assert(turns >= 3, `${turns} turns`);
  } finally {
    clearInterval(timer);
  }
});

Deno.test("status: what a running backend sees: handshakes, and who doesn't answer", async () => {
  const [first, second, third] = keysOf(3) as [string, string, string];
  const seen = new Map<string, LivePeer>([
    [first, { lastHandshake: Date.UTC(2026, 0, 1) }],
    [second, { lastHandshake: 0, problem: "it doesn't answer" }],
  ]);
  const { rows } = await peerTable(sources([first, second, third], { live: (key) => seen.get(key) }), "all");
  assert.deepEqual(rows.map(({ lastHandshake }) => lastHandshake), [
    "2026-01-01T00:00:00.000Z",
    null,
    undefined,
  ]);
  assert.deepEqual(rows.map(({ problem }) => problem), [null, "it doesn't answer", null]);
});

Deno.test("status: in a cluster the key is the host's name", async () => {
  const { rows } = await peerTable(sources(keysOf(1), { keysAreHosts: true }), "all");
  assert.equal(rows[0]!.host, rows[0]!.key);
});

Deno.test("status: a peer's last change, and nothing of peers that are gone", () => {
  let notify: (changes: ReadonlyMap<string, Lease | undefined>) => void = () => {};
  let now = 1000;
  const lease = peer("10.5.9.0-24", { PublicIP: "172.30.0.3" });
  using times = new PeerChangeTimes({
    peers: new Map(),
    subscribe: (listener) => {
      notify = listener;
      return { [Symbol.dispose]() {} };
    },
  }, () => now);
  assert.equal(times.of("a"), undefined);
  notify(new Map([["a", lease]]));
  now = 2000;
  notify(new Map([["b", lease]]));
  assert.deepEqual([times.of("a"), times.of("b")], [1000, 2000]);
  notify(new Map([["a", undefined]]));
  assert.equal(times.of("a"), undefined);
});

// Each reservation made in advance was a problem on every host until its host came.
Deno.test("status: a subnet that is reserved for a host yet to come is no problem", async () => {
  const forPeer = () => ({ entries: [], paths: [], problem: "its lease has no backend type, not vxlan" });
  const from = sources(keysOf(2), { plan: { forPeer }, isAwaited: (key) => key === keysOf(1)[0] });
  const table = await peerTable(from, "all");
  assert.deepEqual(table.rows.map(({ awaited }) => awaited), [true, undefined]);
  assert.deepEqual(table.rows.map(({ problem }) => problem === null), [true, false]);
  assert.equal(table.withProblem, 1);
});

/** What readiness, metrics and status say of the own lease. */
import assert from "node:assert/strict";
import { LeaseHealth, type LeaseHealthParts } from "../../lib/daemon/lease_health.ts";
import type { FollowHealth } from "../../lib/leases/contract.ts";
import type { LeaseTrouble } from "../../lib/leases/keeper_types.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";

const OWN = { key: "10.5.1.0-24", value: "{}", since: 1n, subnets: {}, expires: true };

function make() {
  const problems = new Problems();
  const metrics = new MetricsRegistry();
  const health: FollowHealth = { connected: true, sinceMs: 0, version: "17", resyncs: 0 };
  const state = { remaining: 3600, trouble: {} as LeaseTrouble, health };
  const parts: LeaseHealthParts = {
    membership: {
      own: OWN,
      get remaining() {
        return state.remaining;
      },
      trouble: () => state.trouble,
      health: () => state.health,
    },
    peers: { countHosts: () => 0, malformed: 0, refused: new Map() },
    metrics,
    problems,
  };
  const leaseHealth = new LeaseHealth(parts);
  const look = (change: Partial<typeof state>) => {
    Object.assign(state, change);
    leaseHealth.look();
    return problems.notReady();
  };
  return { problems, look, metrics, state, leaseHealth };
}

Deno.test("a renewal that fails for ten seconds makes the host not ready, one that is under way doesn't", () => {
  const { look } = make();
  assert.deepEqual(look({}), []);
  assert.deepEqual(look({ trouble: { overdueMs: 9_000, error: "permission denied" } }), []);
  assert.deepEqual(look({ trouble: { overdueMs: 10_000, error: "permission denied" } }), [
    "lease: 10.5.1.0-24 cannot be renewed, retrying: permission denied",
  ]);
  assert.deepEqual(look({ trouble: {} }), []);
});

Deno.test("a lease that has expired makes the host not ready at once", () => {
  const { look } = make();
  assert.deepEqual(look({ remaining: -1, trouble: { overdueMs: 1, error: "connection refused" } }), [
    "lease: 10.5.1.0-24 has expired and cannot be renewed, retrying: connection refused",
  ]);
  assert.deepEqual(look({ remaining: Infinity, trouble: {} }), []);
});

Deno.test("another host that overwrote the lease is a problem for a minute; the host stays ready", () => {
  const { look, problems } = make();
  assert.deepEqual(look({ trouble: { conflict: { agoMs: 0, value: '{"PublicIP":"172.30.0.2"}' } } }), []);
  assert.match(problems.list()[0]!.text, /another host overwrote the lease 10\.5\.1\.0-24.*172\.30\.0\.2/);
  look({ trouble: { conflict: { agoMs: 61_000, value: "" } } });
  assert.deepEqual(problems.list(), []);
});

// In a cluster there was no such metric, and the alert on it never fired.
Deno.test("whether the store is followed is a metric, whatever the store", async () => {
  const { metrics, state, leaseHealth } = make();
  const stop = new AbortController();
  const watching = leaseHealth.watch(stop.signal);
  const now = () => {
    metrics.render();
    return [metrics.value("flannel_store_connected"), metrics.value("flannel_store_revision")];
  };
  try {
    assert.deepEqual(now(), [1, 17]);
    state.health = { ...state.health, connected: false, version: "" };
    assert.deepEqual(now(), [0, 17]);
  } finally {
    stop.abort();
    await watching;
  }
});

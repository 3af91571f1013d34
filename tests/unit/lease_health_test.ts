/** What readiness, metrics and status say of the own lease. */
import assert from "node:assert/strict";
import { LeaseHealth, type LeaseHealthParts } from "../../lib/daemon/lease_health.ts";
import type { LeaseTrouble } from "../../lib/leases/keeper_types.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { noMetrics } from "../../lib/observe/types.ts";

const OWN = { key: "10.5.1.0-24", value: "{}", since: 1n, subnets: {}, expires: true };

function make() {
  const problems = new Problems();
  const state = { remaining: 3600, trouble: {} as LeaseTrouble };
  const parts: LeaseHealthParts = {
    membership: {
      own: OWN,
      get remaining() {
        return state.remaining;
      },
      trouble: () => state.trouble,
    },
    peers: { peers: new Map(), malformed: 0, refused: new Map() },
    metrics: noMetrics,
    problems,
  };
  const health = new LeaseHealth(parts);
  const look = (change: Partial<typeof state>) => {
    Object.assign(state, change);
    health.look();
    return problems.notReady();
  };
  return { problems, look };
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

/**
 * A sync on a real store, in the time of the test.
 *
 * @module
 */
import assert from "node:assert/strict";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { decodeLeaseKey } from "../../lib/leases/codec.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import { RecordFeed } from "../../lib/leases/record_feed.ts";
import { LeaseSync, type OwnLeaseObserver } from "../../lib/leases/sync.ts";
import {
  type LeaseEvent,
  type LeaseEventBatch,
  type LeaseSnapshot,
  type LeaseStore,
  type StoreCursor,
} from "../../lib/leases/types.ts";
import type { PartLog } from "../../lib/observe/log.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { CONFIG4, FakeClock, host, RecordedLog, scripted, settle, withStore } from "./lease_fixtures.ts";

export const OWN = "10.5.1.0-24";
export const VALUE = encodeLeaseValue(host("172.30.0.9"));

/** A list that the keeper was shown, and whether the store was called replaced. */
export type SeenSnapshot = LeaseSnapshot & { readonly replaced: boolean };

export interface Scene {
  readonly store: LeaseStore;
  readonly clock: FakeClock;
  readonly log: RecordedLog;
  readonly problems: Problems;
  readonly metrics: MetricsRegistry;
  readonly configs: (string | undefined)[];
  readonly peers: PeerSet;
  readonly sync: LeaseSync;
  readonly own: { events: LeaseEvent[]; snapshots: SeenSnapshot[] };
  start(snapshot?: LeaseSnapshot): void;
}

export type Watch = (revision: bigint, signal: AbortSignal | undefined) => AsyncIterable<LeaseEventBatch>;

/** A sync on a real store; `watch` and `list` replace its methods for failures at chosen points. */
export function scene(
  play: (scene: Scene) => Promise<void>,
  script: (
    store: LeaseStore,
    clock: FakeClock,
  ) => { watch?: Watch; list?: (signal?: AbortSignal) => Promise<LeaseSnapshot> } = () => ({}),
): () => Promise<void> {
  return async () => {
    const clock = new FakeClock();
    await withStore(clock, async (store) => {
      const { watch, list } = script(store, clock);
      const used = scripted(store, {
        ...watch ? { watchLeases: (from, options) => watch(revisionOf(from), options?.signal) } : {},
        ...list ? { listLeases: (options) => list(options?.signal) } : {},
      });
      const log = new RecordedLog();
      const problems = new Problems({ log: withParts(log), now: () => clock.now() });
      const configs: (string | undefined)[] = [];
      const peers = new PeerSet({
        networks: [CONFIG4.network],
        own: { key: OWN, subnets: decodeLeaseKey(OWN)!, since: 0n },
      });
      const own = { events: [] as LeaseEvent[], snapshots: [] as SeenSnapshot[] };
      const observer: OwnLeaseObserver = {
        observe: (event) => own.events.push(event),
        observeSnapshot: (snapshot, replaced) => own.snapshots.push({ ...snapshot, replaced }),
      };
      const metrics = new MetricsRegistry();
      const sync = new LeaseSync({
        ...{ store: used, records: new RecordFeed(peers, OWN), own: observer, clock, problems, metrics },
        onConfig: (config) => configs.push(config?.text),
      });
      const stop = new AbortController();
      let running = Promise.resolve();
      const start = (snapshot?: LeaseSnapshot) => running = sync.run(snapshot, stop.signal);
      try {
        await play({ store, clock, log, problems, metrics, configs, peers, sync, own, start });
      } finally {
        stop.abort();
        await running;
      }
    });
  };
}

function revisionOf(from: StoreCursor | bigint): bigint {
  return typeof from === "bigint" ? from : from.revision;
}

/** The registry's log has parts; here their names don't matter. */
function withParts(log: RecordedLog): PartLog {
  const parts: PartLog = { ...log, child: () => parts };
  return parts;
}

/** As a call to an etcd that keeps silent. */
export async function failAfter(
  clock: FakeClock,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<never> {
  await clock.sleep(ms, signal);
  signal?.throwIfAborted();
  throw new Error("etcd at http://a: no leader");
}

/** Lets the sync run until `done`; it has no time to wait for. */
export async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !done(); i++) await settle();
  assert.ok(done(), "didn't come about");
}

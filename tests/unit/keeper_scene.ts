/**
 * A lease keeper on a real store, in the test's own time.
 *
 * @module
 */
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { LeaseKeeper } from "../../lib/leases/keeper.ts";
import type { LeaseEvent, LeaseStore, StoredLease } from "../../lib/leases/types.ts";
import { FakeClock, host, RecordedLog, scripted, withStore } from "./lease_fixtures.ts";

/** The own key. */
export const KEY = "10.5.1.0-24";
/** The value that this host publishes. */
export const OURS = encodeLeaseValue(host("172.30.0.2"));
/** Seconds that the lease lives. */
export const TTL = 3600;
/** Seconds before its end at which it is renewed. */
export const MARGIN = 600;
/** In milliseconds. */
export const SECOND = 1000;

/** A keeper at work, and what it works with. */
export interface Scene {
  readonly store: LeaseStore;
  readonly clock: FakeClock;
  readonly log: RecordedLog;
  readonly keeper: LeaseKeeper;
  /** What run() ended with. */
  ended(): Promise<unknown>;
  /** The key as it stands. */
  now(): Promise<StoredLease | undefined>;
}

/** A keeper that runs on a real store whose time is the test's; `script` replaces methods that it uses. */
export function scene(
  play: (scene: Scene) => Promise<void>,
  setup: {
    ttl?: number | undefined;
    /** What earlier runs published. */
    former?: readonly string[];
    script?: (store: LeaseStore) => Partial<LeaseStore>;
  } = {},
): () => Promise<void> {
  return async () => {
    const clock = new FakeClock();
    await withStore(clock, async (store) => {
      const ttl = "ttl" in setup ? setup.ttl : TTL;
      const held = (await store.createLease(KEY, OURS, ttl))!;
      const log = new RecordedLog();
      const used = scripted(store, setup.script?.(store) ?? {});
      const attributes = host("172.30.0.2");
      const keeper = new LeaseKeeper({
        store: used,
        held,
        attributes,
        former: setup.former ?? [],
        ttl: TTL,
        margin: MARGIN,
        clock,
        log,
        isNetwork: (config) => config === "mine",
      });
      const stop = new AbortController();
      const running = keeper.run(stop.signal).then(() => undefined, (error) => error);
      const find = async () => (await store.listLeases()).leases.find(({ key }) => key === KEY);
      await play({ store, clock, log, keeper, ended: () => running, now: find });
      stop.abort();
      await running;
    });
  };
}

/** The event of a write. */
export const putOf = (lease: StoredLease): LeaseEvent => ({ kind: "put", lease });

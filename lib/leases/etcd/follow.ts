/**
 * Leases and config followed from a cursor, at the first endpoint that can be trusted with it.
 *
 * @module
 */
import type { CallOptions, LeaseEventBatch, StoreCursor, StoredConfig } from "../types.ts";
import type { Endpoint } from "./endpoints.ts";
import { type History, proveHistory } from "./history.ts";
import { configOf, type NetworkKeys } from "./keys.ts";
import { patienceOf } from "./limits.ts";
import type { Attempt, EtcdPool } from "./pool.ts";
import { type RawBatch, WatchCursor, WatchGroup } from "./watch.ts";

/** A watch that stands, and the config as it was when it began. */
interface Following {
  readonly group: WatchGroup;
  readonly leases: WatchCursor;
  readonly config: StoredConfig | undefined;
}

/**
 * Batches until the signal fires, the first (an empty one) when the watch stands; throws when it ends.
 * As {@link LeaseStore.watchLeases}.
 */
export async function* follow(
  pool: EtcdPool,
  keys: NetworkKeys,
  from: StoreCursor,
  options: CallOptions,
): AsyncIterable<LeaseEventBatch> {
  const { signal } = options;
  let stop = () => {};
  let endpoint: Endpoint | undefined;
  try {
    const opened = await pool.use(opening(pool, keys, from), patienceOf(options));
    endpoint = opened.endpoint;
    const { group, leases, config } = opened.value;
    stop = () => group.stream.cancel();
    signal?.addEventListener("abort", stop, { once: true });
    yield { ...cursorOf(leases), events: [], config: config ?? null };
    while (!signal?.aborted) {
      const { cursor, batch } = await group.next();
      const events = batch.events.map((event) => keys.event(event));
      if (cursor === leases) yield { ...cursorOf(leases), events };
      else if (events.length > 0) yield { ...cursorOf(leases), events: [], config: configIn(batch) };
    }
  } catch (error) {
    if (!signal?.aborted) throw endpoint ? pool.asError(error, endpoint) : error;
  } finally {
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

/**
 * At one endpoint: makes sure of the history, reads the config, and watches both from there. The endpoint has
 * answered through its quorum then.
 */
function opening(pool: EtcdPool, keys: NetworkKeys, { revision, history }: StoreCursor): Attempt<Following> {
  const known = history as History | undefined;
  return async (client, limits) => {
    const [config] = await Promise.all([
      client.call("KV.range", keys.config, limits),
      proveHistory(client, keys.leases, revision, known, limits),
    ]);
    const leases = new WatchCursor(revision, known);
    const specs = [
      { range: keys.leases, cursor: leases },
      { range: keys.config, cursor: new WatchCursor(BigInt(config.header.revision)) },
    ];
    const group = await client.watch((stream) => {
      pool.track(stream);
      return WatchGroup.start(stream, specs, limits);
    }, limits);
    return { group, leases, config: configOf(config.kvs[0]) };
  };
}

function cursorOf({ revision, history }: WatchCursor): StoreCursor {
  return history ? { revision, history } : { revision };
}

/** What the last of the config's changes made it. */
function configIn({ events }: RawBatch): StoredConfig | null {
  const { type, kv } = events.at(-1)!;
  return type === "Delete" ? null : configOf(kv)!;
}

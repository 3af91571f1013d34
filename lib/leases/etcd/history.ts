/**
 * Recognizes whether an etcd still has the history that this host knows.
 *
 * Revisions are counters: an etcd that was wiped, or restored from an older snapshot, counts from there again,
 * and may have passed the revision that a client knows before the client comes back. A watch from that revision
 * on then misses whatever happened in between. Cluster and member ids don't show it: etcd derives them from the
 * members' URLs and the cluster's token. So a client that comes back asks for the leases as they were at the
 * revision that it knows, in three numbers: how many, which was the newest, and what became of the last change.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ReplacedError } from "../types.ts";
import type { EtcdClient } from "./client.ts";
import type { KeyRange } from "./keys.ts";
import type { CallLimits } from "./limits.ts";
import type { Header, KeyValue, RangeRequest, RangeResponse, WatchEvent } from "./messages.ts";

/** What is known of a range at a revision. */
export interface History {
  readonly clusterId: string;
  readonly term: bigint;
  /** Keys in the range. */
  readonly count: number;
  /** The range's last change that is known; absent where it never held a key. */
  readonly last?: LastChange;
}

interface LastChange {
  readonly key: Buffer;
  readonly revision: string;
  /** The etcd lease of what was put, "0" for none: a number that no other history has. Absent: it was deleted. */
  readonly lease?: string;
}

/** From a list of the whole range: how many keys it holds, and which was put last. */
export function historyOf(
  { cluster_id, raft_term }: Header,
  count: number,
  newest: KeyValue | undefined,
): History {
  const history = { clusterId: cluster_id, term: BigInt(raft_term), count };
  return newest ? { ...history, last: lastPut(newest) } : history;
}

/** Which of these was put last. */
export function newestOf(kvs: readonly KeyValue[], earlier: KeyValue | undefined): KeyValue | undefined {
  let newest = earlier;
  for (const kv of kvs) {
    if (!newest || BigInt(kv.mod_revision) > BigInt(newest.mod_revision)) newest = kv;
  }
  return newest;
}

/** The history with these events of the range, in their order. */
export function extend(history: History, events: readonly WatchEvent[]): History {
  let { count, last } = history;
  for (const { type, kv } of events) {
    if (type === "Delete") count--;
    else if (kv.create_revision === kv.mod_revision) count++;
    last = type === "Delete" ? { key: copy(kv.key), revision: kv.mod_revision } : lastPut(kv);
  }
  return { ...history, count, ...last ? { last } : {} };
}

/**
 * Makes sure that this endpoint reaches a quorum, has caught up, and has the history that is known.
 *
 * @param revision Everything in the range is known up to here.
 * @param history What is known; undefined: only the revision must exist.
 * @throws {ReplacedError} If it is another history. @throws {CallError} As calls do.
 */
export async function proveHistory(
  client: EtcdClient,
  range: KeyRange,
  revision: bigint,
  history: History | undefined,
  limits: CallLimits,
): Promise<void> {
  const ask = (request: RangeRequest) =>
    client.call("KV.range", { ...request, revision: String(revision), keys_only: true }, limits);
  const newest = { ...range, limit: "1", sort_order: "Descend", sort_target: "Mod" } as const;
  const [set, single] = await Promise.all([
    ask(newest),
    history?.last ? ask({ key: history.last.key }) : undefined,
  ]);
  const doubt = history && difference(history, set, single?.kvs[0]);
  if (doubt) throw new ReplacedError(`etcd's data was replaced: ${doubt}`);
}

/** What shows that the answers are of another history, as a half sentence. */
function difference(known: History, set: RangeResponse, now: KeyValue | undefined): string | undefined {
  const { clusterId, term, count, last } = known;
  const { header } = set;
  if (header.cluster_id !== clusterId) return `its cluster id was ${clusterId} and is ${header.cluster_id}`;
  if (BigInt(header.raft_term) < term) return `its term was ${term} and is ${header.raft_term}`;
  if (Number(set.count) !== count) return `it held ${count} leases, and now says that it held ${set.count}`;
  const newest = BigInt(set.kvs[0]?.mod_revision ?? 0);
  if (newest > BigInt(last?.revision ?? 0)) {
    return `it has a change at revision ${newest} that its watch didn't report`;
  }
  if (!last) return undefined;
  const same = now
    ? now.mod_revision === last.revision && now.lease === last.lease
    : last.lease === undefined;
  return same ? undefined : `the change at revision ${last.revision} isn't there any more`;
}

function lastPut({ key, mod_revision, lease }: KeyValue): LastChange {
  return { key: copy(key), revision: mod_revision, lease };
}

/** A Buffer of a message keeps the whole message. */
function copy(key: Buffer): Buffer {
  return Buffer.from(key);
}

/**
 * etcd's answers: protobuf, then leases, events and the config as our code makes them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CallError } from "../../../lib/leases/etcd/faults.ts";
import { extend, type History, historyOf, newestOf } from "../../../lib/leases/etcd/history.ts";
import { configOf, NetworkKeys } from "../../../lib/leases/etcd/keys.ts";
import { METHODS, WATCH } from "../../../lib/leases/etcd/layouts.ts";
import type { Layout } from "../../../lib/leases/etcd/protobuf.ts";
import { WatchCursor } from "../../../lib/leases/etcd/watch.ts";
import { decodeLease } from "../../../lib/leases/codec.ts";
import { CompactedError } from "../../../lib/leases/types.ts";
import { type FuzzOne, type FuzzTarget, property } from "../target.ts";

/** Bytes that aren't protobuf. */
class NotProtobufError extends Error {}

const WORDS = [
  "/coreos.com/network/subnets/10.5.88.0-24",
  "/coreos.com/network/config",
  "\x0a\x00",
  "\x12\x00",
];

export const ETCD_TARGETS: readonly FuzzTarget[] = [
  {
    name: "etcd-range",
    what: "etcd's answer to a range",
    errors: [NotProtobufError],
    dictionary: WORDS,
    cost: 2,
    open: openRange,
  },
  {
    name: "etcd-watch",
    what: "what comes from etcd's watch stream",
    errors: [NotProtobufError, CallError, CompactedError],
    dictionary: WORDS,
    cost: 2,
    open: openWatch,
  },
];

function read<T extends object>(layout: Layout<T>, input: Uint8Array): T {
  try {
    return layout.decode(Buffer.from(input));
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new NotProtobufError("not protobuf", { cause });
  }
}

function openRange(): FuzzOne {
  const keys = new NetworkKeys("/coreos.com/network");
  return (input) => {
    const { header, kvs, count } = read(METHODS["KV.range"].response, input);
    for (const kv of kvs) {
      decodeLease(keys.lease(kv));
      configOf(kv);
    }
    if (header) historyOf(header, Number(count), newestOf(kvs, undefined));
  };
}

function openWatch(): FuzzOne {
  const keys = new NetworkKeys("/coreos.com/network");
  return (input) => {
    const response = read(WATCH.response, input);
    const history: History = { clusterId: response.header?.cluster_id ?? "0", term: 1n, count: 3 };
    const cursor = new WatchCursor(7n, history);
    const batch = cursor.take(response);
    property(cursor.revision >= 7n, "the cursor goes back");
    for (const event of batch?.events ?? []) {
      const known = keys.event(event);
      if (known.kind === "put") decodeLease(known.lease);
    }
    if (batch) extend(history, batch.events);
  };
}
